-- What rotations promised to keys from before the one that the row of a key has, what admins did, and which alerts of
-- budgets were raised and told.

CREATE TABLE older_keys (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    name TEXT NOT NULL,
    until_ns INTEGER NOT NULL
) STRICT;

CREATE INDEX older_keys_by_name ON older_keys (name);

-- details: a JSON object, without any key.
CREATE TABLE audit (
    at_ns INTEGER NOT NULL,
    who TEXT NOT NULL CHECK (length(who) > 0),
    act TEXT NOT NULL CHECK (length(act) > 0),
    subject TEXT NOT NULL,
    reason TEXT NOT NULL,
    details TEXT NOT NULL CHECK (json_valid(details) AND json_type(details) = 'object')
) STRICT;

CREATE INDEX audit_by_time ON audit (at_ns);

CREATE TRIGGER audit_keep_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_keep_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

-- id: the webhook-id. holder: a JSON array. cause: '80' for a percentage, or the reason of a refusal.
-- body: what is sent; empty where there was no webhook to tell.
CREATE TABLE alerts (
    id TEXT PRIMARY KEY,
    at_ns INTEGER NOT NULL,
    holder TEXT NOT NULL CHECK (json_valid(holder) AND json_type(holder) = 'array'),
    cause TEXT NOT NULL,
    budget_nano INTEGER NOT NULL,
    period TEXT NOT NULL CHECK (period IN ('day', 'week', 'month', 'total')),
    period_start_ns INTEGER NOT NULL,
    body BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'told', 'failed'))
) STRICT;

CREATE INDEX alerts_by_time ON alerts (at_ns);

-- Present in a store that served before alerts were kept: what its budgets have reached by now was told then.
CREATE TABLE alerts_told_before (
    at_ns INTEGER NOT NULL
) STRICT;

INSERT INTO alerts_told_before SELECT at_ns FROM intents LIMIT 1;
