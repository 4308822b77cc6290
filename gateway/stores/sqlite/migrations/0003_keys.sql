-- Virtual keys. Only keyed hashes of them are kept: HMAC-SHA256 under a pepper that is not in this file.
-- A name is given once: the ledger's rows carry it, so a later key of that name would inherit somebody's history.

CREATE TABLE keys (
    name TEXT PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64),
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    team TEXT CHECK (length(team) > 0),
    models TEXT NOT NULL CHECK (json_valid(models) AND json_type(models) = 'array'),
    rpm INTEGER CHECK (rpm > 0),
    tpm INTEGER CHECK (tpm > 0),
    parallel INTEGER CHECK (parallel > 0),
    budget_nano INTEGER CHECK (budget_nano >= 0),
    budget_period TEXT CHECK (budget_period IN ('day', 'month', 'total')),
    expires_at_ns INTEGER,
    note TEXT NOT NULL,
    created_at_ns INTEGER NOT NULL,
    revoked_at_ns INTEGER,
    old_digest BLOB UNIQUE CHECK (length(old_digest) = 32),
    old_until_ns INTEGER,
    CHECK ((budget_nano IS NULL) = (budget_period IS NULL)),
    CHECK ((old_digest IS NULL) = (old_until_ns IS NULL))
) STRICT;

CREATE TRIGGER keys_keep_delete BEFORE DELETE ON keys
BEGIN SELECT RAISE(ABORT, 'a key is revoked, never deleted'); END;
CREATE TRIGGER keys_keep_revoked BEFORE UPDATE ON keys WHEN OLD.revoked_at_ns IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a revoked key stays as it is'); END;

-- Tells whether a pepper is the one the keys were hashed with; says nothing about the pepper itself.
CREATE TABLE pepper (
    mark BLOB NOT NULL CHECK (length(mark) = 32)
) STRICT;
