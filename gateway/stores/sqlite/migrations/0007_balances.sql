-- What an upstream said was left on the account of one of its keys, so that its bill can be held against the ledger.

CREATE TABLE balances (
    upstream TEXT NOT NULL,
    credential TEXT NOT NULL,
    at_ns INTEGER NOT NULL,
    balance_nano INTEGER NOT NULL,
    PRIMARY KEY (upstream, credential, at_ns)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER balances_keep_update BEFORE UPDATE ON balances
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER balances_keep_delete BEFORE DELETE ON balances
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
