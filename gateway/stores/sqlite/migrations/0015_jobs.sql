-- Paid work that has a life of its own, apart from the connections that wait for it.

-- The row that paid for what this request was given; NULL for a request of its own.
ALTER TABLE intents ADD COLUMN paid_by TEXT;

-- fingerprint: of the route and the canonical body. idempotency: the digest of the client's Idempotency-Key, NULL
-- without one. exchange: the id of the intent it is bought under. "left": none waits for it, or got its answer.
-- told: that its outcome is unknown was told to the client. purchased: whether it came to a purchase.
-- client_order: JSON, what an answer needs that is made after a restart. error: JSON. headers: JSON.
-- body: of a small answer; place: the name of the file of a large one. size: bytes of the answer.
CREATE TABLE jobs (
    id TEXT PRIMARY KEY CHECK (length(id) > 0),
    key TEXT NOT NULL,
    team TEXT,
    route TEXT NOT NULL,
    model TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    idempotency BLOB,
    exchange TEXT NOT NULL,
    request_id TEXT NOT NULL,
    stream INTEGER NOT NULL CHECK (stream IN (0, 1)),
    created_ns INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('reserved', 'running', 'completed', 'failed', 'unknown', 'cancelled')),
    ended_ns INTEGER,
    "left" INTEGER NOT NULL CHECK ("left" IN (0, 1)),
    told INTEGER NOT NULL CHECK (told IN (0, 1)),
    purchased INTEGER NOT NULL CHECK (purchased IN (0, 1)),
    cost TEXT,
    client_order BLOB NOT NULL,
    error BLOB,
    status INTEGER NOT NULL DEFAULT 0,
    headers BLOB,
    body BLOB,
    place TEXT,
    size INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX jobs_by_key ON jobs (key, created_ns);
CREATE INDEX jobs_by_end ON jobs (ended_ns);
