-- The count of the books, kept in the very statement that writes them, so that what is missing later can be told: by the
-- rows themselves, and by the mark beside the store, which holds a copy of it.

-- Which store this is; a copy is the same one.
CREATE TABLE identity (
    id TEXT NOT NULL CHECK (length(id) = 32)
) STRICT;

INSERT INTO identity VALUES (lower(hex(randomblob(16))));

CREATE TRIGGER identity_keep_update BEFORE UPDATE ON identity
BEGIN SELECT RAISE(ABORT, 'a store stays the one it is'); END;
CREATE TRIGGER identity_keep_delete BEFORE DELETE ON identity
BEGIN SELECT RAISE(ABORT, 'a store stays the one it is'); END;

-- ever: rows that were written, whether they were pruned since or not. held: those there are now.
-- charged, upstream_cost: sums of those there are now, 0 where a table has no such column.
CREATE TABLE tally (
    name TEXT PRIMARY KEY,
    ever INTEGER NOT NULL,
    held INTEGER NOT NULL,
    charged INTEGER NOT NULL,
    upstream_cost INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was pruned before this version is in 'prunes'; tasks and corrections that went with it were not counted.
INSERT INTO tally SELECT 'intents', count(*) + (SELECT coalesce(sum(settled + released), 0) FROM prunes), count(*), 0, 0 FROM intents;
INSERT INTO tally SELECT 'settlements', count(*) + (SELECT coalesce(sum(settled + released), 0) FROM prunes), count(*), coalesce(sum(charged), 0), coalesce(sum(upstream_cost), 0)
FROM settlements;
INSERT INTO tally SELECT 'tasks', count(*), count(*), 0, 0 FROM tasks;
INSERT INTO tally SELECT 'corrections', count(*), count(*), coalesce(sum(charged), 0), coalesce(sum(upstream_cost), 0)
FROM corrections;
INSERT INTO tally SELECT 'prunes', count(*), count(*), 0, 0 FROM prunes;
INSERT INTO tally SELECT 'balances', count(*), count(*), 0, 0 FROM balances;
INSERT INTO tally SELECT 'booked_prices', count(*), count(*), 0, 0 FROM booked_prices;
INSERT INTO tally SELECT 'keys', count(*), count(*), 0, 0 FROM keys;
INSERT INTO tally SELECT 'teams', count(*), count(*), 0, 0 FROM teams;
INSERT INTO tally SELECT 'audit', count(*), count(*), 0, 0 FROM audit;

CREATE TRIGGER intents_tally AFTER INSERT ON intents
BEGIN
    UPDATE tally SET ever = ever + 1, held = held + 1 WHERE name = 'intents';
END;
CREATE TRIGGER settlements_tally AFTER INSERT ON settlements
BEGIN
    UPDATE tally SET ever = ever + 1, held = held + 1,
    charged = charged + NEW.charged, upstream_cost = upstream_cost + NEW.upstream_cost
    WHERE name = 'settlements';
END;
CREATE TRIGGER tasks_tally AFTER INSERT ON tasks
BEGIN
    UPDATE tally SET ever = ever + 1, held = held + 1 WHERE name = 'tasks';
END;
CREATE TRIGGER corrections_tally AFTER INSERT ON corrections
BEGIN
    UPDATE tally SET ever = ever + 1, held = held + 1,
    charged = charged + NEW.charged, upstream_cost = upstream_cost + NEW.upstream_cost
    WHERE name = 'corrections';
END;
CREATE TRIGGER prunes_tally AFTER INSERT ON prunes
BEGIN
    UPDATE tally SET ever = ever + 1, held = held + 1 WHERE name = 'prunes';
END;
CREATE TRIGGER balances_tally AFTER INSERT ON balances
BEGIN
    UPDATE tally SET ever = ever + 1, held = held + 1 WHERE name = 'balances';
END;
CREATE TRIGGER booked_prices_tally AFTER INSERT ON booked_prices
BEGIN
    UPDATE tally SET ever = ever + 1, held = held + 1 WHERE name = 'booked_prices';
END;
CREATE TRIGGER keys_tally AFTER INSERT ON keys
BEGIN
    UPDATE tally SET ever = ever + 1, held = held + 1 WHERE name = 'keys';
END;
CREATE TRIGGER teams_tally AFTER INSERT ON teams
BEGIN
    UPDATE tally SET ever = ever + 1, held = held + 1 WHERE name = 'teams';
END;
CREATE TRIGGER audit_tally AFTER INSERT ON audit
BEGIN
    UPDATE tally SET ever = ever + 1, held = held + 1 WHERE name = 'audit';
END;
CREATE TRIGGER intents_tally_delete AFTER DELETE ON intents
BEGIN
    UPDATE tally SET held = held - 1 WHERE name = 'intents';
END;
CREATE TRIGGER settlements_tally_delete AFTER DELETE ON settlements
BEGIN
    UPDATE tally SET held = held - 1,
    charged = charged - OLD.charged, upstream_cost = upstream_cost - OLD.upstream_cost
    WHERE name = 'settlements';
END;
CREATE TRIGGER tasks_tally_delete AFTER DELETE ON tasks
BEGIN
    UPDATE tally SET held = held - 1 WHERE name = 'tasks';
END;
CREATE TRIGGER corrections_tally_delete AFTER DELETE ON corrections
BEGIN
    UPDATE tally SET held = held - 1,
    charged = charged - OLD.charged, upstream_cost = upstream_cost - OLD.upstream_cost
    WHERE name = 'corrections';
END;
CREATE TRIGGER prunes_tally_delete AFTER DELETE ON prunes
BEGIN
    UPDATE tally SET held = held - 1 WHERE name = 'prunes';
END;
CREATE TRIGGER balances_tally_delete AFTER DELETE ON balances
BEGIN
    UPDATE tally SET held = held - 1 WHERE name = 'balances';
END;
CREATE TRIGGER booked_prices_tally_delete AFTER DELETE ON booked_prices
BEGIN
    UPDATE tally SET held = held - 1 WHERE name = 'booked_prices';
END;
CREATE TRIGGER keys_tally_delete AFTER DELETE ON keys
BEGIN
    UPDATE tally SET held = held - 1 WHERE name = 'keys';
END;
CREATE TRIGGER teams_tally_delete AFTER DELETE ON teams
BEGIN
    UPDATE tally SET held = held - 1 WHERE name = 'teams';
END;
CREATE TRIGGER audit_tally_delete AFTER DELETE ON audit
BEGIN
    UPDATE tally SET held = held - 1 WHERE name = 'audit';
END;
