-- How long orders take, as it was learned: one row for each kind of order. Nothing of it is needed to serve.

-- at: Unix seconds, until when the weights are decayed. seen: how many orders it was told of.
-- ended, censored: JSON, the number of a bucket → the weight of orders that took so long, or at least so long.
CREATE TABLE learned_durations (
    upstream TEXT NOT NULL,
    operation TEXT NOT NULL,
    model TEXT NOT NULL,
    size TEXT NOT NULL,
    quality TEXT NOT NULL,
    pieces INTEGER NOT NULL,
    at REAL NOT NULL,
    seen INTEGER NOT NULL,
    ended TEXT NOT NULL,
    censored TEXT NOT NULL,
    PRIMARY KEY (upstream, operation, model, size, quality, pieces)
) STRICT, WITHOUT ROWID;
