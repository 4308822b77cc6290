-- The tasks that upstreams were paid to do: whose they are, and with which key they can be asked for.
-- No REFERENCES intents, for the reason given at settlements.

CREATE TABLE tasks (
    task_id TEXT NOT NULL,
    upstream TEXT NOT NULL,
    credential TEXT NOT NULL,
    exchange TEXT NOT NULL,
    key TEXT NOT NULL,
    model TEXT NOT NULL,
    at_ns INTEGER NOT NULL,
    PRIMARY KEY (task_id, upstream)
) STRICT;

CREATE INDEX tasks_by_exchange ON tasks (exchange);

CREATE TRIGGER tasks_keep_update BEFORE UPDATE ON tasks
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER tasks_keep_delete BEFORE DELETE ON tasks
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
