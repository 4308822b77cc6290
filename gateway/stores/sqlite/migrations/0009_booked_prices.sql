-- The price a row was booked at, and how sure its charge is, kept in the roll-up as well: a price that changes never
-- rewrites the past, and what has no price is told from what is free.

-- What requests were booked at: at which upstream, for which of its models, in which service tier, at which price. A
-- row each, written by the first settlement that needs it.
-- at_ns: when that was. tier: '' for none. price: JSON, US dollars under the configuration's names; '' for unknown.
CREATE TABLE booked_prices (
    id INTEGER PRIMARY KEY CHECK (id > 0),
    at_ns INTEGER NOT NULL,
    upstream TEXT NOT NULL,
    model TEXT NOT NULL,
    tier TEXT NOT NULL,
    price TEXT NOT NULL CHECK (price = '' OR json_valid(price)),
    UNIQUE (upstream, model, tier, price)
) STRICT;

CREATE TRIGGER booked_prices_keep_update BEFORE UPDATE ON booked_prices
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER booked_prices_keep_delete BEFORE DELETE ON booked_prices
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- price: NULL where nothing was booked at any, and in what earlier versions wrote.
-- answered_model: what the upstream said it was, if not what it was asked for.
ALTER TABLE settlements ADD COLUMN price INTEGER;
ALTER TABLE settlements ADD COLUMN answered_model TEXT;
-- One check for two columns: each reads the whole table once, seconds for a million rows.
ALTER TABLE settlements ADD COLUMN cache_write_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE settlements ADD COLUMN reasoning_tokens INTEGER NOT NULL DEFAULT 0
CHECK (reasoning_tokens >= 0 AND cache_write_tokens >= 0);

-- confidence: NULL in what earlier versions wrote, which had a word about it among the reasons.
ALTER TABLE corrections ADD COLUMN price INTEGER;
ALTER TABLE corrections ADD COLUMN confidence TEXT CHECK (confidence IN ('measured', 'estimated', 'unknown'));

-- price: 0 for none. certainty: of the charge: measured, estimated, unpriced (done, but at no known price), unknown (it
-- is not known whether anything was done).
DROP VIEW booked;
CREATE VIEW booked AS
SELECT
    i.id,
    i.at_ns,
    i.key,
    coalesce(i.team, '') AS team,
    i.model,
    coalesce(c.upstream, s.upstream, '') AS upstream,
    coalesce(c.price, s.price, 0) AS price,
    CASE
        WHEN coalesce(c.state, s.state) = 'unknown' THEN 'unknown'
        ELSE replace(
            CASE
                WHEN c.id IS NULL THEN s.confidence
                WHEN c.confidence IS NOT NULL THEN c.confidence
                WHEN c.reason LIKE '%price unknown' THEN 'unknown'
                ELSE 'measured'
            END,
            'unknown',
            'unpriced'
        )
    END AS certainty,
    1 AS requests,
    s.input_tokens,
    s.cached_input_tokens,
    s.output_tokens,
    coalesce(c.images, s.images) AS images,
    coalesce(c.charged, s.charged) AS charged,
    coalesce(c.upstream_cost, s.upstream_cost) AS upstream_cost
FROM intents AS i
JOIN settlements AS s ON s.id = i.id
LEFT JOIN corrections AS c ON c.id = i.id
WHERE coalesce(c.state, s.state) <> 'released';

-- The roll-up again, by price and certainty too. certainty: as above, or '' where an earlier version had pruned the
-- rows that could tell.
CREATE TABLE spent_by_certainty (
    span INTEGER NOT NULL,
    start INTEGER NOT NULL,
    key TEXT NOT NULL,
    team TEXT NOT NULL,
    model TEXT NOT NULL,
    upstream TEXT NOT NULL,
    price INTEGER NOT NULL,
    certainty TEXT NOT NULL,
    requests INTEGER NOT NULL CHECK (requests >= 0),
    input_tokens INTEGER NOT NULL CHECK (input_tokens >= 0),
    cached_input_tokens INTEGER NOT NULL CHECK (cached_input_tokens >= 0),
    output_tokens INTEGER NOT NULL CHECK (output_tokens >= 0),
    images INTEGER NOT NULL CHECK (images >= 0),
    charged INTEGER NOT NULL CHECK (charged >= 0),
    upstream_cost INTEGER NOT NULL CHECK (upstream_cost >= 0),
    PRIMARY KEY (span, start, key, team, model, upstream, price, certainty)
) STRICT, WITHOUT ROWID;

-- Almost every row is measured: only the others are looked up one by one, and what is left of a sum is measured.
INSERT INTO spent_by_certainty
SELECT
    3600, at_ns / 1000000000 / 3600 * 3600 AS start, key, team, model, upstream, 0, certainty,
    sum(requests), sum(input_tokens), sum(cached_input_tokens), sum(output_tokens), sum(images), sum(charged),
    sum(upstream_cost)
FROM booked
WHERE id IN (SELECT id FROM settlements WHERE confidence <> 'measured' OR state = 'unknown')
AND certainty <> 'measured'
GROUP BY start, key, team, model, upstream, certainty;

INSERT INTO spent_by_certainty
SELECT
    3600, o.start, o.key, o.team, o.model, o.upstream, 0,
    CASE WHEN o.start >= (SELECT coalesce(max(before_ns), 0) / 1000000000 FROM prunes) THEN 'measured' ELSE '' END,
    o.requests - coalesce(sum(n.requests), 0),
    o.input_tokens - coalesce(sum(n.input_tokens), 0),
    o.cached_input_tokens - coalesce(sum(n.cached_input_tokens), 0),
    o.output_tokens - coalesce(sum(n.output_tokens), 0),
    o.images - coalesce(sum(n.images), 0),
    o.charged - coalesce(sum(n.charged), 0),
    o.upstream_cost - coalesce(sum(n.upstream_cost), 0)
FROM spent AS o
LEFT JOIN spent_by_certainty AS n ON n.span = 3600 AND n.start = o.start AND n.key = o.key AND n.team = o.team
AND n.model = o.model AND n.upstream = o.upstream
WHERE o.span = 3600
GROUP BY o.start, o.key, o.team, o.model, o.upstream
HAVING o.requests > coalesce(sum(n.requests), 0);

INSERT INTO spent_by_certainty
SELECT
    86400, start / 86400 * 86400 AS day, key, team, model, upstream, price, certainty,
    sum(requests), sum(input_tokens), sum(cached_input_tokens), sum(output_tokens), sum(images), sum(charged),
    sum(upstream_cost)
FROM spent_by_certainty WHERE span = 3600
GROUP BY day, key, team, model, upstream, price, certainty;

DROP TRIGGER settlements_count;
DROP TRIGGER corrections_count;
DROP TABLE spent;
ALTER TABLE spent_by_certainty RENAME TO spent;

CREATE TRIGGER spent_keep_delete BEFORE DELETE ON spent
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- Runs for every request, hence two plain statements: a join with 'spans' costs half as much again.
CREATE TRIGGER settlements_count AFTER INSERT ON settlements WHEN NEW.state <> 'released'
BEGIN
    INSERT INTO spent
    SELECT
        3600, at_ns / 1000000000 / 3600 * 3600, key, coalesce(team, ''), model, coalesce(NEW.upstream, ''),
        coalesce(NEW.price, 0),
        CASE
            WHEN NEW.state = 'unknown' THEN 'unknown'
            WHEN NEW.confidence = 'unknown' THEN 'unpriced'
            ELSE NEW.confidence
        END,
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
        coalesce(NEW.price, 0),
        CASE
            WHEN NEW.state = 'unknown' THEN 'unknown'
            WHEN NEW.confidence = 'unknown' THEN 'unpriced'
            ELSE NEW.confidence
        END,
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

-- Out with what the settlement had added, in with what is known now. What is corrected was unknown.
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
    AND spent.upstream = coalesce(s.upstream, '') AND spent.price = coalesce(s.price, 0)
    AND spent.certainty = 'unknown';
    INSERT INTO spent
    SELECT
        seconds, at_ns / 1000000000 / seconds * seconds, key, team, model, upstream, price, certainty,
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
