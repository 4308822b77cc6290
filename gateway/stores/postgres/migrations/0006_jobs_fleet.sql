-- What gateways know of one another's paid work, responses and messages. Times are the database's.

-- gateway: whose the job is; empty for one that was handed over. delivered: a re-send had its answer.
-- forgotten: its client wants to hear no more of it; the row stays until it is aged out, as its gateway writes it still.
-- cancel_asked: its client asked another gateway to cancel it. queued: nothing was sent for it yet, though it runs.
ALTER TABLE jobs ADD COLUMN gateway TEXT NOT NULL DEFAULT '',
    ADD COLUMN delivered BOOLEAN NOT NULL DEFAULT false,
    ADD COLUMN forgotten BOOLEAN NOT NULL DEFAULT false,
    ADD COLUMN cancel_asked BOOLEAN NOT NULL DEFAULT false,
    ADD COLUMN queued BOOLEAN NOT NULL DEFAULT false;

CREATE INDEX jobs_of_gateway ON jobs (gateway) WHERE state IN ('reserved', 'running');
CREATE INDEX jobs_by_fingerprint ON jobs (key, fingerprint);
CREATE INDEX jobs_by_idempotency ON jobs (key, idempotency) WHERE idempotency IS NOT NULL;
CREATE INDEX jobs_by_exchange ON jobs (exchange) WHERE state IN ('failed', 'unknown');

-- The re-sends that wait for a job, each at its gateway.
CREATE TABLE job_waiters (
    job TEXT NOT NULL,
    waiter TEXT NOT NULL,
    gateway TEXT NOT NULL,
    PRIMARY KEY (job, waiter)
);

CREATE INDEX job_waiters_by_gateway ON job_waiters (gateway);

-- gateway: the one that wrote it last; one that is under way is made there.
ALTER TABLE responses ADD COLUMN gateway TEXT NOT NULL DEFAULT '';

-- What clients want of responses that another gateway makes.
CREATE TABLE response_wishes (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    wish TEXT NOT NULL CHECK (wish IN ('cancel', 'forget')),
    at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);

-- claimed_by: the gateway that sends a message, until then.
ALTER TABLE deliveries ADD COLUMN claimed_by TEXT NOT NULL DEFAULT '',
    ADD COLUMN claimed_until TIMESTAMPTZ NOT NULL DEFAULT '-infinity';

-- Work that one gateway does for all of them.
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    gateway TEXT NOT NULL,
    until TIMESTAMPTZ NOT NULL
);

-- The gateways that keep files in the folder of images that all of them share.
CREATE TABLE image_folders (
    gateway TEXT PRIMARY KEY
);
