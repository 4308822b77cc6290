-- Virtual keys, teams, alerts of budgets, answers of the Responses API, jobs, what webhooks are told, and what was
-- learned of how long orders take. Any gateway of the fleet may change any of them at any time.

-- A number for each subject, which grows with every change of it. Who changes holds the row until it commits, so that a
-- change which is seen has none before it that is not. Gateways ask what is newer than the number they know.
CREATE TABLE versions (
    subject TEXT PRIMARY KEY,
    value BIGINT NOT NULL DEFAULT 0
);

INSERT INTO versions (subject) VALUES ('keys'), ('durations');

-- Virtual keys. Only keyed hashes of them are kept: HMAC-SHA256 under a pepper that is not in this database.
-- A name is given once: the ledger's rows carry it, so a later key of that name would inherit the history of the first.
-- model_budgets: {"gpt-4o*": {"amount": 5000000000, "period": "day"}}, nano-dollars. alert: [50, 80].
-- version: of 'keys' when this one was last changed.
CREATE TABLE keys (
    name TEXT COLLATE "C" PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64),
    digest BYTEA NOT NULL UNIQUE CHECK (length(digest) = 32),
    team TEXT CHECK (length(team) > 0),
    models JSON NOT NULL CHECK (json_typeof(models) = 'array'),
    rpm BIGINT CHECK (rpm > 0),
    tpm BIGINT CHECK (tpm > 0),
    parallel BIGINT CHECK (parallel > 0),
    budget_nano BIGINT CHECK (budget_nano >= 0),
    budget_period TEXT CHECK (budget_period IN ('day', 'week', 'month', 'total')),
    expires_at_ns BIGINT,
    note TEXT NOT NULL,
    model_budgets JSON NOT NULL CHECK (json_typeof(model_budgets) = 'object'),
    alert JSON NOT NULL CHECK (json_typeof(alert) = 'array'),
    created_at_ns BIGINT NOT NULL,
    revoked_at_ns BIGINT,
    old_digest BYTEA UNIQUE CHECK (length(old_digest) = 32),
    old_until_ns BIGINT,
    version BIGINT NOT NULL,
    CHECK ((budget_nano IS NULL) = (budget_period IS NULL)),
    CHECK ((old_digest IS NULL) = (old_until_ns IS NULL))
);

CREATE INDEX keys_by_version ON keys (version);

CREATE FUNCTION keys_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        RAISE EXCEPTION 'a revoked key stays as it is';
    END IF;
    RAISE EXCEPTION 'a key is revoked, never deleted';
END
$$;

CREATE TRIGGER keys_keep_delete BEFORE DELETE ON keys FOR EACH ROW EXECUTE FUNCTION keys_keep();
CREATE TRIGGER keys_keep_revoked BEFORE UPDATE ON keys FOR EACH ROW
WHEN (OLD.revoked_at_ns IS NOT NULL) EXECUTE FUNCTION keys_keep();

CREATE FUNCTION keys_count_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE versions SET value = value + 1 WHERE subject = 'keys' RETURNING value INTO NEW.version;
    RETURN NEW;
END
$$;

CREATE TRIGGER keys_version BEFORE INSERT OR UPDATE ON keys FOR EACH ROW EXECUTE FUNCTION keys_count_version();

-- What rotations promised to keys from before the one that the row of a key has.
CREATE TABLE older_keys (
    digest BYTEA PRIMARY KEY CHECK (length(digest) = 32),
    name TEXT COLLATE "C" NOT NULL,
    until_ns BIGINT NOT NULL
);

CREATE INDEX older_keys_by_name ON older_keys (name);

-- Tells whether a pepper is the one the keys were hashed with; says nothing about the pepper itself. One row at most.
CREATE TABLE pepper (
    mark BYTEA NOT NULL CHECK (length(mark) = 32)
);

-- The teams of the configurations that were in force, with the budgets they had in the last that named them.
CREATE TABLE teams (
    name TEXT COLLATE "C" PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64),
    budget_nano BIGINT CHECK (budget_nano >= 0),
    budget_period TEXT CHECK (budget_period IN ('day', 'week', 'month', 'total')),
    since_ns BIGINT NOT NULL,
    CHECK ((budget_nano IS NULL) = (budget_period IS NULL))
);

-- id: the webhook-id. holder: a JSON array. cause: '80' for a percentage, or the reason of a refusal.
-- body: what is sent; empty where there was no webhook to tell. What one gateway has raised no other raises again.
-- gateway: the one that tells it. taken_at: when that took it over from another that is gone.
CREATE TABLE alerts (
    number BIGINT GENERATED ALWAYS AS IDENTITY,
    id TEXT PRIMARY KEY,
    at_ns BIGINT NOT NULL,
    holder TEXT NOT NULL CHECK (json_typeof(holder::json) = 'array'),
    cause TEXT NOT NULL,
    budget_nano BIGINT NOT NULL,
    period TEXT NOT NULL CHECK (period IN ('day', 'week', 'month', 'total')),
    period_start_ns BIGINT NOT NULL,
    body BYTEA NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'told', 'failed')),
    gateway TEXT NOT NULL,
    taken_at TIMESTAMPTZ
);

CREATE INDEX alerts_by_time ON alerts (at_ns);
CREATE INDEX alerts_by_subject ON alerts (holder, cause, budget_nano, period, period_start_ns);

-- Answers of the Responses API that are kept for their clients. They hold what people wrote.
-- used_ns: when it was made, or last gone on from. previous: the one that it goes on from.
-- answer: the response object. input: an array of the items of its own input. events: of one that was made in the
-- background, the events of its stream. size: bytes of these three.
CREATE TABLE responses (
    number BIGINT GENERATED ALWAYS AS IDENTITY,
    id TEXT PRIMARY KEY CHECK (length(id) > 0),
    key TEXT NOT NULL,
    at_ns BIGINT NOT NULL,
    used_ns BIGINT NOT NULL,
    previous TEXT,
    answer BYTEA NOT NULL,
    input BYTEA NOT NULL,
    events BYTEA NOT NULL,
    size BIGINT NOT NULL
);

CREATE INDEX responses_by_use ON responses (used_ns);
CREATE INDEX responses_by_key ON responses (key, used_ns);

-- Which response an item of an input or output is in, so that a later request may name it.
CREATE TABLE response_items (
    key TEXT NOT NULL,
    id TEXT NOT NULL,
    response TEXT NOT NULL,
    PRIMARY KEY (key, id)
);

CREATE INDEX response_items_by_response ON response_items (response);

-- Where an upstream keeps what an answer of the Responses API named to a virtual key: a response, an item of it, a
-- conversation. credential: the name of the upstream's key. at_ns: when the id was made, or last gone on from.
CREATE TABLE response_places (
    key TEXT NOT NULL,
    id TEXT NOT NULL CHECK (length(id) > 0),
    upstream TEXT NOT NULL,
    credential TEXT NOT NULL,
    at_ns BIGINT NOT NULL,
    PRIMARY KEY (key, id)
);

CREATE INDEX response_places_by_age ON response_places (at_ns);
CREATE INDEX response_places_by_key ON response_places (key, at_ns);

-- Paid work that has a life of its own, apart from the connections that wait for it.
-- number: in which order they were kept first. fingerprint: of the route and the canonical body. idempotency: the digest
-- of the client's Idempotency-Key, NULL without one. exchange: the id of the intent it is bought under. "left": none
-- waits for it, or got its answer. told: that its outcome is unknown was told to the client. purchased: whether it came
-- to a purchase. client_order: JSON, what an answer needs that is made after a restart. error: JSON. headers: JSON.
-- body: of a small answer; place: the name of the file of a large one. size: bytes of the answer.
CREATE TABLE jobs (
    number BIGINT GENERATED ALWAYS AS IDENTITY,
    id TEXT PRIMARY KEY CHECK (length(id) > 0),
    key TEXT NOT NULL,
    team TEXT,
    route TEXT NOT NULL,
    model TEXT NOT NULL,
    fingerprint BYTEA NOT NULL,
    idempotency BYTEA,
    exchange TEXT NOT NULL,
    request_id TEXT NOT NULL,
    stream BOOLEAN NOT NULL,
    created_ns BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('reserved', 'running', 'completed', 'failed', 'unknown', 'cancelled')),
    ended_ns BIGINT,
    "left" BOOLEAN NOT NULL,
    told BOOLEAN NOT NULL,
    purchased BOOLEAN NOT NULL,
    cost TEXT,
    client_order BYTEA NOT NULL,
    error BYTEA,
    status INTEGER NOT NULL DEFAULT 0,
    headers BYTEA,
    body BYTEA,
    place TEXT,
    size BIGINT NOT NULL DEFAULT 0
);

CREATE INDEX jobs_by_key ON jobs (key, created_ns, number);
CREATE INDEX jobs_by_end ON jobs (ended_ns);
CREATE INDEX jobs_under_way ON jobs (created_ns) WHERE state IN ('reserved', 'running');

-- What is told to the operator's webhooks of jobs, from when a job was begun that is to be told of.
-- id: the webhook-id. webhook: its name in the configuration. state: waiting for the job's end, pending (to be sent at
-- next_ns), told, failed. type and body: what is sent; empty while it waits. tries: made so far; status and reason: of
-- the last, 0 and empty for none. changed_ns: when its state was last written.
CREATE TABLE deliveries (
    id TEXT PRIMARY KEY CHECK (length(id) > 0),
    webhook TEXT NOT NULL,
    job TEXT NOT NULL,
    key TEXT NOT NULL,
    at_ns BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'pending', 'told', 'failed')),
    type TEXT NOT NULL,
    body BYTEA NOT NULL,
    tries BIGINT NOT NULL,
    next_ns BIGINT NOT NULL,
    status INTEGER NOT NULL,
    reason TEXT NOT NULL,
    changed_ns BIGINT NOT NULL,
    UNIQUE (job, webhook)
);

CREATE INDEX deliveries_to_send ON deliveries (next_ns, at_ns) WHERE state = 'pending';
CREATE INDEX deliveries_over ON deliveries (changed_ns) WHERE state IN ('told', 'failed');
CREATE INDEX deliveries_by_time ON deliveries (at_ns, id);

-- How long orders take, as it was learned by all gateways: one row for each kind of order. Nothing of it is needed to
-- serve. at: Unix seconds, until when the weights are decayed. seen: how many orders it was told of.
-- ended, censored: JSON, the number of a bucket → the weight of orders that took so long, or at least so long.
-- version: of 'durations' when this row was last written.
CREATE TABLE learned_durations (
    upstream TEXT NOT NULL,
    operation TEXT NOT NULL,
    model TEXT NOT NULL,
    size TEXT NOT NULL,
    quality TEXT NOT NULL,
    pieces BIGINT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    seen BIGINT NOT NULL,
    ended JSON NOT NULL,
    censored JSON NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (upstream, operation, model, size, quality, pieces)
);

CREATE INDEX learned_durations_by_version ON learned_durations (version);

-- The SQLite store that these books were carried over from: one at most. source: its identity. position: what told
-- whether it has changed since. progress: table → [rows, the key of the last one, whether it is whole]. No gateway
-- serves before it has ended.
CREATE TABLE migrated_books (
    source TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    position TEXT NOT NULL,
    progress JSON NOT NULL DEFAULT '{}',
    began_ns BIGINT NOT NULL,
    ended_ns BIGINT
);

CREATE UNIQUE INDEX migrated_books_once ON migrated_books ((true));
