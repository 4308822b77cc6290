-- The books: what was about to be bought (intents) and how it ended (settlements). Amounts are nano-dollars.
-- Run once, inside one transaction together with its row in schema_version.

PRAGMA application_id = 0x50694777;

CREATE TABLE schema_version (
    version INTEGER PRIMARY KEY,
    at_ns INTEGER NOT NULL
) STRICT;

CREATE TABLE intents (
    id TEXT PRIMARY KEY,
    at_ns INTEGER NOT NULL,
    key TEXT NOT NULL,
    team TEXT,
    route TEXT NOT NULL,
    model TEXT NOT NULL,
    request_id TEXT NOT NULL,
    reserved INTEGER NOT NULL CHECK (reserved >= 0),
    paid INTEGER NOT NULL CHECK (paid IN (0, 1))
) STRICT;

CREATE INDEX intents_by_time ON intents (at_ns);

-- No REFERENCES intents: a settlement is never refused because its intent is missing. Verification looks for those.
CREATE TABLE settlements (
    id TEXT PRIMARY KEY,
    at_ns INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('settled', 'released', 'unknown')),
    upstream TEXT,
    endpoint TEXT,
    credential TEXT,
    attempts TEXT NOT NULL,
    input_tokens INTEGER NOT NULL CHECK (input_tokens >= 0),
    cached_input_tokens INTEGER NOT NULL CHECK (cached_input_tokens >= 0),
    output_tokens INTEGER NOT NULL CHECK (output_tokens >= 0),
    images INTEGER NOT NULL CHECK (images >= 0),
    charged INTEGER NOT NULL CHECK (charged >= 0),
    upstream_cost INTEGER NOT NULL CHECK (upstream_cost >= 0),
    confidence TEXT NOT NULL CHECK (confidence IN ('measured', 'estimated', 'unknown')),
    status INTEGER NOT NULL,
    task_id TEXT
) STRICT;

-- A settlement that breaks a rule above is a defect of the program, but still somebody's money: it is kept here.
CREATE TABLE unbookable (
    id TEXT PRIMARY KEY,
    settlement TEXT NOT NULL,
    problem TEXT NOT NULL
) STRICT;

-- Written to learn whether the store can be written again after an error.
CREATE TABLE probe (
    beats INTEGER NOT NULL
) STRICT;
INSERT INTO probe VALUES (0);

CREATE TRIGGER intents_keep_update BEFORE UPDATE ON intents
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER intents_keep_delete BEFORE DELETE ON intents
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER settlements_keep_update BEFORE UPDATE ON settlements
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER settlements_keep_delete BEFORE DELETE ON settlements
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
