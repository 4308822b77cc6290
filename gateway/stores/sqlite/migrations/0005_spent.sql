-- The roll-up: what was used in every hour and every day of UTC, so that a month, or years, are summed up quickly.
-- It is kept by triggers, in the very statement that writes a settlement or a correction, whoever writes it. It counts
-- what the view 'booked' counts. Hours serve every time zone: where one is off by half an hour, rows fill the gap.
-- span: seconds, 3600 or 86400. start: Unix seconds at which the hour or the day begins.

CREATE TABLE spent (
    span INTEGER NOT NULL,
    start INTEGER NOT NULL,
    key TEXT NOT NULL,
    team TEXT NOT NULL,
    model TEXT NOT NULL,
    upstream TEXT NOT NULL,
    requests INTEGER NOT NULL CHECK (requests >= 0),
    input_tokens INTEGER NOT NULL CHECK (input_tokens >= 0),
    cached_input_tokens INTEGER NOT NULL CHECK (cached_input_tokens >= 0),
    output_tokens INTEGER NOT NULL CHECK (output_tokens >= 0),
    images INTEGER NOT NULL CHECK (images >= 0),
    charged INTEGER NOT NULL CHECK (charged >= 0),
    upstream_cost INTEGER NOT NULL CHECK (upstream_cost >= 0),
    PRIMARY KEY (span, start, key, team, model, upstream)
) STRICT, WITHOUT ROWID;

CREATE VIEW spans AS SELECT 3600 AS seconds UNION ALL SELECT 86400;

INSERT INTO spent
SELECT
    seconds, at_ns / 1000000000 / seconds * seconds AS start, key, team, model, upstream,
    sum(requests), sum(input_tokens), sum(cached_input_tokens), sum(output_tokens), sum(images), sum(charged),
    sum(upstream_cost)
FROM spans CROSS JOIN booked GROUP BY seconds, start, key, team, model, upstream;

-- Runs for every request, hence two plain statements: a join with 'spans' costs half as much again.
CREATE TRIGGER settlements_count AFTER INSERT ON settlements WHEN NEW.state <> 'released'
BEGIN
    INSERT INTO spent
    SELECT
        3600, at_ns / 1000000000 / 3600 * 3600, key, coalesce(team, ''), model, coalesce(NEW.upstream, ''),
        1, NEW.input_tokens, NEW.cached_input_tokens, NEW.output_tokens, NEW.images, NEW.charged, NEW.upstream_cost
    FROM intents WHERE id = NEW.id
    ON CONFLICT DO UPDATE SET
        requests = requests + excluded.requests,
        input_tokens = input_tokens + excluded.input_tokens,
        cached_input_tokens = cached_input_tokens + excluded.cached_input_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        images = images + excluded.images,
        charged = charged + excluded.charged,
        upstream_cost = upstream_cost + excluded.upstream_cost;
    INSERT INTO spent
    SELECT
        86400, at_ns / 1000000000 / 86400 * 86400, key, coalesce(team, ''), model, coalesce(NEW.upstream, ''),
        1, NEW.input_tokens, NEW.cached_input_tokens, NEW.output_tokens, NEW.images, NEW.charged, NEW.upstream_cost
    FROM intents WHERE id = NEW.id
    ON CONFLICT DO UPDATE SET
        requests = requests + excluded.requests,
        input_tokens = input_tokens + excluded.input_tokens,
        cached_input_tokens = cached_input_tokens + excluded.cached_input_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        images = images + excluded.images,
        charged = charged + excluded.charged,
        upstream_cost = upstream_cost + excluded.upstream_cost;
END;

-- Out with what the settlement had added, in with what is known now.
CREATE TRIGGER corrections_count AFTER INSERT ON corrections
BEGIN
    UPDATE spent SET
        requests = requests - 1,
        input_tokens = spent.input_tokens - s.input_tokens,
        cached_input_tokens = spent.cached_input_tokens - s.cached_input_tokens,
        output_tokens = spent.output_tokens - s.output_tokens,
        images = spent.images - s.images,
        charged = spent.charged - s.charged,
        upstream_cost = spent.upstream_cost - s.upstream_cost
    FROM intents AS i JOIN settlements AS s ON s.id = i.id
    WHERE i.id = NEW.id AND span IN (3600, 86400) AND start = i.at_ns / 1000000000 / span * span
    AND spent.key = i.key AND spent.team = coalesce(i.team, '') AND spent.model = i.model
    AND spent.upstream = coalesce(s.upstream, '');
    INSERT INTO spent
    SELECT
        seconds, at_ns / 1000000000 / seconds * seconds, key, team, model, upstream,
        requests, input_tokens, cached_input_tokens, output_tokens, images, charged, upstream_cost
    FROM spans CROSS JOIN booked WHERE id = NEW.id
    ON CONFLICT DO UPDATE SET
        requests = requests + excluded.requests,
        input_tokens = input_tokens + excluded.input_tokens,
        cached_input_tokens = cached_input_tokens + excluded.cached_input_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        images = images + excluded.images,
        charged = charged + excluded.charged,
        upstream_cost = upstream_cost + excluded.upstream_cost;
END;

CREATE TRIGGER spent_keep_delete BEFORE DELETE ON spent
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
