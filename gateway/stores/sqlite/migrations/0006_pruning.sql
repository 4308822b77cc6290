-- Old rows may leave, their sums stay. Only what is over may leave, and only from before a moment written down first.

-- One row a batch: what it took away. All before the newest 'before_ns' is known by its sums only.
CREATE TABLE prunes (
    at_ns INTEGER NOT NULL,
    before_ns INTEGER NOT NULL CHECK (before_ns % 3600000000000 = 0),
    settled INTEGER NOT NULL CHECK (settled >= 0),
    released INTEGER NOT NULL CHECK (released >= 0)
) STRICT;

CREATE INDEX prunes_by_moment ON prunes (before_ns);

CREATE TRIGGER prunes_keep_update BEFORE UPDATE ON prunes
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER prunes_keep_delete BEFORE DELETE ON prunes
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- The exchanges that leave in the transaction under way; empty in between.
CREATE TABLE pruning (
    id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TRIGGER pruning_what_is_over BEFORE INSERT ON pruning
WHEN NOT EXISTS (
    SELECT 1 FROM intents AS i
    JOIN settlements AS s ON s.id = i.id
    LEFT JOIN corrections AS c ON c.id = i.id
    WHERE i.id = NEW.id AND coalesce(c.state, s.state) <> 'unknown'
    AND i.at_ns < (SELECT max(before_ns) FROM prunes)
)
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

DROP TRIGGER intents_keep_delete;
CREATE TRIGGER intents_keep_delete BEFORE DELETE ON intents
WHEN NOT EXISTS (SELECT 1 FROM pruning WHERE id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

DROP TRIGGER settlements_keep_delete;
CREATE TRIGGER settlements_keep_delete BEFORE DELETE ON settlements
WHEN NOT EXISTS (SELECT 1 FROM pruning WHERE id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

DROP TRIGGER corrections_keep_delete;
CREATE TRIGGER corrections_keep_delete BEFORE DELETE ON corrections
WHEN NOT EXISTS (SELECT 1 FROM pruning WHERE id = OLD.id)
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

DROP TRIGGER tasks_keep_delete;
CREATE TRIGGER tasks_keep_delete BEFORE DELETE ON tasks
WHEN NOT EXISTS (SELECT 1 FROM pruning WHERE id = OLD.exchange)
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
