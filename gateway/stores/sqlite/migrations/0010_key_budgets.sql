-- Budgets of a week, budgets by model, and percentages that are told. The table is made anew, since a check of a column
-- cannot be changed.
-- model_budgets: {"gpt-4o*": {"amount": 5000000000, "period": "day"}}, nano-dollars. alert: [50, 80].

DROP TRIGGER keys_keep_delete;
DROP TRIGGER keys_keep_revoked;

CREATE TABLE keys_now (
    name TEXT PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64),
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    team TEXT CHECK (length(team) > 0),
    models TEXT NOT NULL CHECK (json_valid(models) AND json_type(models) = 'array'),
    rpm INTEGER CHECK (rpm > 0),
    tpm INTEGER CHECK (tpm > 0),
    parallel INTEGER CHECK (parallel > 0),
    budget_nano INTEGER CHECK (budget_nano >= 0),
    budget_period TEXT CHECK (budget_period IN ('day', 'week', 'month', 'total')),
    expires_at_ns INTEGER,
    note TEXT NOT NULL,
    model_budgets TEXT NOT NULL DEFAULT '{}'
        CHECK (json_valid(model_budgets) AND json_type(model_budgets) = 'object'),
    alert TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(alert) AND json_type(alert) = 'array'),
    created_at_ns INTEGER NOT NULL,
    revoked_at_ns INTEGER,
    old_digest BLOB UNIQUE CHECK (length(old_digest) = 32),
    old_until_ns INTEGER,
    CHECK ((budget_nano IS NULL) = (budget_period IS NULL)),
    CHECK ((old_digest IS NULL) = (old_until_ns IS NULL))
) STRICT;

INSERT INTO keys_now
SELECT
    name, digest, team, models, rpm, tpm, parallel, budget_nano, budget_period, expires_at_ns, note, '{}', '[]',
    created_at_ns, revoked_at_ns, old_digest, old_until_ns
FROM keys;

DROP TABLE keys;
ALTER TABLE keys_now RENAME TO keys;

CREATE TRIGGER keys_keep_delete BEFORE DELETE ON keys
BEGIN SELECT RAISE(ABORT, 'a key is revoked, never deleted'); END;
CREATE TRIGGER keys_keep_revoked BEFORE UPDATE ON keys WHEN OLD.revoked_at_ns IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a revoked key stays as it is'); END;
