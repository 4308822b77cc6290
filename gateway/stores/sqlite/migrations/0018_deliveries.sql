-- What is told to the operator's webhooks of jobs, from when a job was begun that is to be told of.

-- id: the webhook-id. webhook: its name in the configuration. state: waiting for the job's end, pending (to be sent at
-- next_ns), told, failed. type and body: what is sent; empty while it waits. tries: made so far; status and reason: of
-- the last, 0 and empty for none. changed_ns: when its state was last written.
CREATE TABLE deliveries (
    id TEXT PRIMARY KEY CHECK (length(id) > 0),
    webhook TEXT NOT NULL,
    job TEXT NOT NULL,
    key TEXT NOT NULL,
    at_ns INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'pending', 'told', 'failed')),
    type TEXT NOT NULL,
    body BLOB NOT NULL,
    tries INTEGER NOT NULL,
    next_ns INTEGER NOT NULL,
    status INTEGER NOT NULL,
    reason TEXT NOT NULL,
    changed_ns INTEGER NOT NULL,
    UNIQUE (job, webhook)
) STRICT;

CREATE INDEX deliveries_to_send ON deliveries (next_ns) WHERE state = 'pending';
CREATE INDEX deliveries_over ON deliveries (changed_ns) WHERE state IN ('told', 'failed');
CREATE INDEX deliveries_by_time ON deliveries (at_ns, id);
