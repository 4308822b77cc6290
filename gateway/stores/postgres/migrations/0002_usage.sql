-- What was used, as sums; the prices that rows were booked at; what was pruned, what accounts had left, what admins did.

-- What requests were booked at: at which upstream, for which of its models, in which service tier, at which price. A
-- row each, written before the first settlement that needs it.
-- at_ns: when that was. tier: '' for none. price: JSON, US dollars under the configuration's names; '' for unknown.
CREATE TABLE booked_prices (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ns bigint NOT NULL,
    upstream text NOT NULL,
    model text NOT NULL,
    tier text NOT NULL,
    price text NOT NULL CHECK (price = '' OR jsonb_typeof(price::jsonb) IS NOT NULL)
);

-- By the digest, since a price with a table of sizes may be longer than an index takes.
CREATE UNIQUE INDEX booked_prices_once ON booked_prices (upstream, model, tier, md5(price));

-- What counts as used: exchanges that were not released, at the time they came in, corrections applied.
-- '' stands for no team, and for no upstream; price: 0 for none. certainty: of the charge: measured, estimated,
-- unpriced (done, but at no known price), unknown (it is not known whether anything was done).
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
        WHEN coalesce(c.confidence, s.confidence) = 'unknown' THEN 'unpriced'
        ELSE coalesce(c.confidence, s.confidence)
    END AS certainty,
    1 AS requests,
    coalesce(c.input_tokens, s.input_tokens) AS input_tokens,
    coalesce(c.cached_input_tokens, s.cached_input_tokens) AS cached_input_tokens,
    coalesce(c.output_tokens, s.output_tokens) AS output_tokens,
    coalesce(c.images, s.images) AS images,
    coalesce(c.charged, s.charged) AS charged,
    coalesce(c.upstream_cost, s.upstream_cost) AS upstream_cost
FROM intents AS i
JOIN settlements AS s ON s.id = i.id AND s.intent_ns = i.at_ns
LEFT JOIN corrections AS c ON c.id = i.id
WHERE coalesce(c.state, s.state) <> 'released';

-- The roll-up: what was used in every hour and every day of UTC, so that a month, or years, are summed up quickly. It
-- counts what the view 'booked' counts. Hours serve every time zone: where one is off by half an hour, rows fill the gap.
-- span: seconds, 3600 or 86400. start: Unix seconds at which the hour or the day begins. Sums are whole numbers,
-- numeric so that no amount is too large to be added, and never below 0, which a CHECK could not hold: it would be asked
-- of a change before that is added.
CREATE TABLE spent (
    span integer NOT NULL,
    start bigint NOT NULL,
    key text NOT NULL,
    team text NOT NULL,
    model text NOT NULL,
    upstream text NOT NULL,
    price bigint NOT NULL,
    certainty text NOT NULL,
    requests bigint NOT NULL,
    input_tokens numeric NOT NULL,
    cached_input_tokens numeric NOT NULL,
    output_tokens numeric NOT NULL,
    images numeric NOT NULL,
    charged numeric NOT NULL,
    upstream_cost numeric NOT NULL,
    PRIMARY KEY (span, start, key, team, model, upstream, price, certainty)
) WITH (fillfactor = 80);

-- What is still to be added to it. Every statement that writes settlements or corrections leaves its own sums here, by
-- hour: rows are only added, so that no gateway waits for another one's sum of the same key. They are folded into the
-- roll-up now and then (folding.py); a reader adds up both. A correction takes back what the settlement had added.
CREATE TABLE spent_changes (
    start bigint NOT NULL,
    key text NOT NULL,
    team text NOT NULL,
    model text NOT NULL,
    upstream text NOT NULL,
    price bigint NOT NULL,
    certainty text NOT NULL,
    requests bigint NOT NULL,
    input_tokens numeric NOT NULL,
    cached_input_tokens numeric NOT NULL,
    output_tokens numeric NOT NULL,
    images numeric NOT NULL,
    charged numeric NOT NULL,
    upstream_cost numeric NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

-- The settings of both functions: rows are looked up one by one by their key, however large or unmeasured the tables, and
-- no plan is worth being compiled.
CREATE FUNCTION count_settlements() RETURNS trigger LANGUAGE plpgsql
SET jit = off SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    INSERT INTO spent_changes
    SELECT
        i.at_ns / 3600000000000 * 3600, i.key, coalesce(i.team, ''), i.model, coalesce(n.upstream, ''),
        coalesce(n.price, 0),
        CASE
            WHEN n.state = 'unknown' THEN 'unknown'
            WHEN n.confidence = 'unknown' THEN 'unpriced'
            ELSE n.confidence
        END,
        count(*), sum(n.input_tokens), sum(n.cached_input_tokens), sum(n.output_tokens), sum(n.images),
        sum(n.charged), sum(n.upstream_cost)
    FROM added AS n
    JOIN intents AS i ON i.id = n.id AND i.at_ns = n.intent_ns
    WHERE n.state <> 'released'
    GROUP BY 1, 2, 3, 4, 5, 6, 7;
    RETURN NULL;
END $$;

CREATE TRIGGER settlements_count AFTER INSERT ON settlements
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_settlements();

-- Out with what the settlement had added, in with what is known now. What is corrected was unknown.
CREATE FUNCTION count_corrections() RETURNS trigger LANGUAGE plpgsql
SET jit = off SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    INSERT INTO spent_changes
    SELECT
        i.at_ns / 3600000000000 * 3600, i.key, coalesce(i.team, ''), i.model, coalesce(s.upstream, ''),
        coalesce(s.price, 0), 'unknown',
        -count(*), -sum(s.input_tokens), -sum(s.cached_input_tokens), -sum(s.output_tokens), -sum(s.images),
        -sum(s.charged), -sum(s.upstream_cost)
    FROM added AS n
    JOIN intents AS i ON i.id = n.id AND i.at_ns = n.intent_ns
    JOIN settlements AS s ON s.id = n.id AND s.intent_ns = n.intent_ns
    GROUP BY 1, 2, 3, 4, 5, 6;
    INSERT INTO spent_changes
    SELECT
        i.at_ns / 3600000000000 * 3600, i.key, coalesce(i.team, ''), i.model, coalesce(n.upstream, s.upstream, ''),
        coalesce(n.price, s.price, 0), CASE WHEN n.confidence = 'unknown' THEN 'unpriced' ELSE n.confidence END,
        count(*), sum(coalesce(n.input_tokens, s.input_tokens)),
        sum(coalesce(n.cached_input_tokens, s.cached_input_tokens)),
        sum(coalesce(n.output_tokens, s.output_tokens)), sum(n.images), sum(n.charged), sum(n.upstream_cost)
    FROM added AS n
    JOIN intents AS i ON i.id = n.id AND i.at_ns = n.intent_ns
    JOIN settlements AS s ON s.id = n.id AND s.intent_ns = n.intent_ns
    WHERE n.state <> 'released'
    GROUP BY 1, 2, 3, 4, 5, 6, 7;
    RETURN NULL;
END $$;

CREATE TRIGGER corrections_count AFTER INSERT ON corrections
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_corrections();

CREATE INDEX corrections_by_month ON corrections (intent_ns);

-- One row a batch: what it took away. All before the newest 'before_ns' is known by its sums only.
CREATE TABLE prunes (
    at_ns bigint NOT NULL,
    before_ns bigint NOT NULL CHECK (before_ns % 3600000000000 = 0),
    settled bigint NOT NULL CHECK (settled >= 0),
    released bigint NOT NULL CHECK (released >= 0)
);

CREATE INDEX prunes_by_moment ON prunes (before_ns);

-- What an upstream said was left on the account of one of its keys, so that its bill can be held against the ledger.
CREATE TABLE balances (
    upstream text NOT NULL,
    credential text NOT NULL,
    at_ns bigint NOT NULL,
    balance_nano bigint NOT NULL,
    PRIMARY KEY (upstream, credential, at_ns)
);

-- details: a JSON object, without any key. number: in order of writing.
CREATE TABLE audit (
    at_ns bigint NOT NULL,
    who text NOT NULL CHECK (length(who) > 0),
    act text NOT NULL CHECK (length(act) > 0),
    subject text NOT NULL,
    reason text NOT NULL,
    details json NOT NULL CHECK (json_typeof(details) = 'object'),
    number bigint GENERATED ALWAYS AS IDENTITY
);

CREATE INDEX audit_by_time ON audit (at_ns, number);

-- Nothing of these leaves or changes, also when rows are pruned.
CREATE FUNCTION books_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only';
END $$;

CREATE TRIGGER booked_prices_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON booked_prices EXECUTE FUNCTION books_keep();
CREATE TRIGGER prunes_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON prunes EXECUTE FUNCTION books_keep();
CREATE TRIGGER balances_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON balances EXECUTE FUNCTION books_keep();
CREATE TRIGGER audit_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON audit EXECUTE FUNCTION books_keep();
CREATE TRIGGER spent_keep BEFORE DELETE OR TRUNCATE ON spent EXECUTE FUNCTION books_keep();
CREATE TRIGGER spent_changes_keep BEFORE UPDATE OR TRUNCATE ON spent_changes EXECUTE FUNCTION books_keep();

-- The months that there are tables of: its name (2026_11), its first nanosecond, and the first one after.
CREATE FUNCTION ledger_months() RETURNS TABLE (month text, first_ns bigint, end_ns bigint) LANGUAGE sql STABLE AS $$
    SELECT
        to_char(begins, 'YYYY_MM'),
        extract(epoch FROM begins)::bigint * 1000000000,
        extract(epoch FROM begins + interval '1 month')::bigint * 1000000000
    FROM (
        SELECT to_timestamp(right(c.relname, 7), 'YYYY_MM')::timestamp AS begins
        FROM pg_inherits AS h JOIN pg_class AS c ON c.oid = h.inhrelid
        WHERE h.inhparent = 'intents'::regclass
    ) AS parts
$$;

-- Take a month out of the books, which holds all of them up for a moment: its tables are put aside (gone_intents_…,
-- gone_settlements_…), what of it is open or unknown is laid into new ones, and corrections leave with what they
-- corrected; how many settled and released ones these were is returned, and written down. Settlements first: so does
-- what settles.
CREATE FUNCTION let_month_go(month text, before_ns bigint, now_ns bigint, OUT settled bigint, OUT released bigint)
LANGUAGE plpgsql SET jit = off SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    lower_ns bigint;
    upper_ns bigint;
    part text;
    parent text;
    kept bigint;
BEGIN
    SELECT m.first_ns, m.end_ns INTO STRICT lower_ns, upper_ns FROM ledger_months() AS m WHERE m.month = $1;
    PERFORM pg_advisory_xact_lock(hashtext('gateway.make_ledger_months'));
    LOCK TABLE ONLY settlements IN ACCESS EXCLUSIVE MODE;
    LOCK TABLE ONLY intents IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('LOCK TABLE %I, %I IN ACCESS EXCLUSIVE MODE', 'settlements_' || month, 'intents_' || month);
    FOREACH parent IN ARRAY ARRAY['settlements', 'intents'] LOOP
        part := parent || '_' || month;
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', 'kept_' || part, parent);
        EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, part);
        EXECUTE format('ALTER TABLE %I RENAME TO %I', part, 'gone_' || part);
    END LOOP;
    EXECUTE format(
        'WITH unknown AS (DELETE FROM %I AS s WHERE s.state = ''unknown'' '
        'AND NOT EXISTS (SELECT FROM corrections AS c WHERE c.id = s.id) RETURNING *) INSERT INTO %I SELECT * FROM unknown',
        'gone_settlements_' || month, 'kept_settlements_' || month
    );
    EXECUTE format(
        'WITH waiting AS (DELETE FROM %I AS i USING ('
        'SELECT id FROM open_intents WHERE at_ns >= $1 AND at_ns < $2 UNION SELECT id FROM %I) AS k '
        'WHERE i.id = k.id RETURNING i.*) INSERT INTO %I SELECT * FROM waiting',
        'gone_intents_' || month, 'kept_settlements_' || month, 'kept_intents_' || month
    ) USING lower_ns, upper_ns;
    GET DIAGNOSTICS kept = ROW_COUNT;
    FOREACH parent IN ARRAY ARRAY['settlements', 'intents'] LOOP
        part := parent || '_' || month;
        IF kept = 0 THEN
            EXECUTE format('DROP TABLE %I', 'kept_' || part);
        ELSE
            EXECUTE format('ALTER TABLE %I RENAME TO %I', 'kept_' || part, part);
            EXECUTE format('CREATE TRIGGER keep_all BEFORE TRUNCATE ON %I EXECUTE FUNCTION ledger_keep()', part);
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', parent, part, lower_ns, upper_ns);
        END IF;
    END LOOP;
    PERFORM set_config('gateway.pruning', 'on', true);
    WITH corrected AS (
        DELETE FROM corrections AS c WHERE c.intent_ns >= lower_ns AND c.intent_ns < upper_ns RETURNING c.state
    )
    SELECT count(*) FILTER (WHERE state = 'settled'), count(*) FILTER (WHERE state = 'released')
    INTO settled, released FROM corrected;
    INSERT INTO prunes VALUES (now_ns, before_ns, settled, released);
END $$;

CREATE FUNCTION months_gone() RETURNS TABLE (month text) LANGUAGE sql STABLE AS $$
    SELECT right(relname, 7) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = current_schema::regnamespace AND relname LIKE 'gone\_intents\_%' ORDER BY 1
$$;

-- Count what a month that left had, write that down, and drop its tables and its tasks. What was corrected is counted.
CREATE FUNCTION drop_month(month text, before_ns bigint, now_ns bigint, OUT settled bigint, OUT released bigint)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('gateway.pruning', 'on', true);
    EXECUTE format('DELETE FROM tasks AS t USING %I AS i WHERE i.id = t.exchange', 'gone_intents_' || month);
    EXECUTE format(
        'SELECT count(*) FILTER (WHERE state = ''settled''), count(*) FILTER (WHERE state = ''released'') FROM %I',
        'gone_settlements_' || month
    ) INTO settled, released;
    EXECUTE format('DROP TABLE %I, %I', 'gone_intents_' || month, 'gone_settlements_' || month);
    INSERT INTO prunes VALUES (now_ns, before_ns, settled, released);
END $$;
