-- The books: what was about to be bought (intents) and how it ended (settlements). Amounts are nano-dollars, times Unix
-- nanoseconds. The two large tables are partitioned by the month (UTC) in which a request came in, so that old months
-- leave at once. A settlement lies in the month of its intent: intent_ns is the intent's at_ns.

CREATE TABLE intents (
    id text COLLATE "C" NOT NULL,
    at_ns bigint NOT NULL,
    key text NOT NULL,
    team text,
    route text NOT NULL,
    model text NOT NULL,
    request_id text NOT NULL,
    reserved bigint NOT NULL CHECK (reserved >= 0),
    paid boolean NOT NULL,
    pieces integer NOT NULL CHECK (pieces >= 1),
    paid_by text COLLATE "C",
    gateway text NOT NULL,
    PRIMARY KEY (id, at_ns)
) PARTITION BY RANGE (at_ns);

-- Rows come in the order of time, near enough: a few pages of index for a month of them, almost free to keep.
CREATE INDEX intents_by_time ON intents USING brin (at_ns) WITH (pages_per_range = 32, autosummarize = on);

-- What runs, and at which gateway: a row from the intent until the settlement, deleted by the statement that settles,
-- which thereby is the only one that does. Small, so that who takes over for a dead gateway need not search the books.
CREATE TABLE open_intents (
    id text COLLATE "C" PRIMARY KEY,
    at_ns bigint NOT NULL,
    gateway text NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- No REFERENCES intents: a settlement is never refused because its intent is missing. Verification looks for those.
-- left_by: NULL for what its own gateway settled, else the gateway that died and left it open, settled as unknown by
-- another one; only such a row is corrected by a settlement that comes after all.
-- price: the number of a row of booked_prices; NULL where nothing was booked at any.
-- answered_model: what the upstream said it was, if not what it was asked for.
CREATE TABLE settlements (
    id text COLLATE "C" NOT NULL,
    intent_ns bigint NOT NULL,
    at_ns bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('settled', 'released', 'unknown')),
    upstream text,
    endpoint text,
    credential text,
    attempts jsonb NOT NULL CHECK (jsonb_typeof(attempts) = 'array'),
    input_tokens bigint NOT NULL CHECK (input_tokens >= 0),
    cached_input_tokens bigint NOT NULL CHECK (cached_input_tokens >= 0),
    output_tokens bigint NOT NULL CHECK (output_tokens >= 0),
    images bigint NOT NULL CHECK (images >= 0),
    charged bigint NOT NULL CHECK (charged >= 0),
    upstream_cost bigint NOT NULL CHECK (upstream_cost >= 0),
    confidence text NOT NULL CHECK (confidence IN ('measured', 'estimated', 'unknown')),
    status integer NOT NULL,
    task_id text,
    price bigint,
    answered_model text,
    cache_write_tokens bigint NOT NULL CHECK (cache_write_tokens >= 0),
    reasoning_tokens bigint NOT NULL CHECK (reasoning_tokens >= 0),
    left_by text,
    PRIMARY KEY (id, intent_ns)
) PARTITION BY RANGE (intent_ns);

CREATE INDEX settlements_unknown ON settlements (intent_ns) WHERE state = 'unknown';

-- The tasks that upstreams were paid to do: whose they are, and with which key they can be asked for. Few beside the
-- requests, and unique by their upstream's id whatever the month: one table. number: in order of recording.
CREATE TABLE tasks (
    task_id text COLLATE "C" NOT NULL,
    upstream text NOT NULL,
    credential text NOT NULL,
    exchange text COLLATE "C" NOT NULL,
    key text NOT NULL,
    model text NOT NULL,
    at_ns bigint NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (task_id, upstream)
);

CREATE INDEX tasks_by_exchange ON tasks (exchange);

-- What became of exchanges whose outcome was unknown: one correction each, written once. A correction takes the place
-- of the settlement's amounts; the settlement stays as it was written. NULL leaves a figure to what the settlement says.
CREATE TABLE corrections (
    id text COLLATE "C" PRIMARY KEY,
    intent_ns bigint NOT NULL,
    at_ns bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('settled', 'released')),
    charged bigint NOT NULL CHECK (charged >= 0),
    upstream_cost bigint NOT NULL CHECK (upstream_cost >= 0),
    images bigint NOT NULL CHECK (images >= 0),
    upstream text,
    credential text,
    reason text NOT NULL,
    confidence text NOT NULL CHECK (confidence IN ('measured', 'estimated', 'unknown')),
    price bigint,
    input_tokens bigint CHECK (input_tokens >= 0),
    cached_input_tokens bigint CHECK (cached_input_tokens >= 0),
    output_tokens bigint CHECK (output_tokens >= 0),
    CHECK (state = 'settled' OR charged = 0)
);

-- A settlement that breaks a rule above is a defect of the program, but still money of some key: it is kept here.
CREATE TABLE unbookable (
    id text COLLATE "C" PRIMARY KEY,
    settlement text NOT NULL,
    problem text NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY
);

-- Written to learn whether the store can be written again after an error.
CREATE TABLE probe (
    beats bigint NOT NULL
);
INSERT INTO probe VALUES (0);

-- The books are append-only. Triggers on changes cost nothing where rows are only added. What pruning removes, it
-- removes in a transaction that says so.
CREATE FUNCTION ledger_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('gateway.pruning', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the ledger is append-only';
END $$;

CREATE TRIGGER intents_keep BEFORE UPDATE OR DELETE ON intents FOR EACH ROW EXECUTE FUNCTION ledger_keep();
CREATE TRIGGER settlements_keep BEFORE UPDATE OR DELETE ON settlements FOR EACH ROW EXECUTE FUNCTION ledger_keep();
CREATE TRIGGER tasks_keep BEFORE UPDATE OR DELETE ON tasks FOR EACH ROW EXECUTE FUNCTION ledger_keep();
CREATE TRIGGER corrections_keep BEFORE UPDATE OR DELETE ON corrections FOR EACH ROW EXECUTE FUNCTION ledger_keep();
CREATE TRIGGER intents_keep_all BEFORE TRUNCATE ON intents EXECUTE FUNCTION ledger_keep();
CREATE TRIGGER settlements_keep_all BEFORE TRUNCATE ON settlements EXECUTE FUNCTION ledger_keep();
CREATE TRIGGER tasks_keep_all BEFORE TRUNCATE ON tasks EXECUTE FUNCTION ledger_keep();
CREATE TRIGGER corrections_keep_all BEFORE TRUNCATE ON corrections EXECUTE FUNCTION ledger_keep();

CREATE FUNCTION corrections_of_unknown() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM settlements AS s WHERE s.id = NEW.id AND s.intent_ns = NEW.intent_ns AND s.state = 'unknown'
    ) THEN
        RAISE EXCEPTION 'only an unknown outcome can be corrected';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER corrections_of_unknown BEFORE INSERT ON corrections
FOR EACH ROW EXECUTE FUNCTION corrections_of_unknown();

-- The month's number: 0 for January 1970.
CREATE FUNCTION ledger_month(moment_ns bigint) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT (date_part('year', at) * 12 + date_part('month', at) - 23641)::integer
    FROM (
        SELECT timestamp '1970-01-01' + make_interval(
            secs => (moment_ns - ((moment_ns % 1000000000) + 1000000000) % 1000000000) / 1000000000
        )
    ) AS t (at)
$$;

-- Make the partitions from one moment's month to another's, those that are missing; returns how many months were.
-- They are made apart and attached then, which keeps no reader and no writer of the other months waiting.
CREATE FUNCTION make_ledger_months(first_ns bigint, last_ns bigint) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    begins timestamp;
    lower_ns bigint;
    upper_ns bigint;
    parent text;
    part text;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('gateway.make_ledger_months'));
    FOR month IN ledger_month(first_ns)..ledger_month(last_ns) LOOP
        begins := timestamp '1970-01-01' + make_interval(months => month);
        lower_ns := extract(epoch FROM begins)::bigint * 1000000000;
        upper_ns := extract(epoch FROM begins + interval '1 month')::bigint * 1000000000;
        IF to_regclass('intents' || to_char(begins, '_YYYY_MM')) IS NULL THEN
            made := made + 1;
        END IF;
        FOREACH parent IN ARRAY ARRAY['intents', 'settlements'] LOOP
            part := parent || to_char(begins, '_YYYY_MM');
            CONTINUE WHEN to_regclass(part) IS NOT NULL;
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', part, parent);
            EXECUTE format(
                'CREATE TRIGGER keep_all BEFORE TRUNCATE ON %I EXECUTE FUNCTION ledger_keep()', part
            );
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', parent, part, lower_ns, upper_ns);
        END LOOP;
    END LOOP;
    RETURN made;
END $$;
