-- The teams of the configuration that was last in force, with the budgets they had then: the store's keys of a team that
-- lost its budget with its place in the configuration must not be served without it.

CREATE TABLE teams (
    name TEXT PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64),
    budget_nano INTEGER CHECK (budget_nano >= 0),
    budget_period TEXT CHECK (budget_period IN ('day', 'week', 'month', 'total')),
    since_ns INTEGER NOT NULL,
    CHECK ((budget_nano IS NULL) = (budget_period IS NULL))
) STRICT, WITHOUT ROWID;
