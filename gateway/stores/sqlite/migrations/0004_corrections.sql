-- What became of exchanges whose outcome was unknown: one correction each, written once. A correction takes the place
-- of the settlement's amounts; the settlement stays as it was written.

CREATE TABLE corrections (
    id TEXT PRIMARY KEY,
    at_ns INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('settled', 'released')),
    charged INTEGER NOT NULL CHECK (charged >= 0),
    upstream_cost INTEGER NOT NULL CHECK (upstream_cost >= 0),
    images INTEGER NOT NULL CHECK (images >= 0),
    upstream TEXT,
    credential TEXT,
    reason TEXT NOT NULL,
    CHECK (state = 'settled' OR charged = 0)
) STRICT;

CREATE INDEX settlements_unknown ON settlements (id) WHERE state = 'unknown';

CREATE TRIGGER corrections_of_unknown BEFORE INSERT ON corrections
WHEN NOT EXISTS (SELECT 1 FROM settlements WHERE id = NEW.id AND state = 'unknown')
BEGIN SELECT RAISE(ABORT, 'only an unknown outcome can be corrected'); END;
CREATE TRIGGER corrections_keep_update BEFORE UPDATE ON corrections
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER corrections_keep_delete BEFORE DELETE ON corrections
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- What counts as used: exchanges that were not released, at the time they came in, corrections applied.
-- '' stands for no team, and for no upstream.
CREATE VIEW booked AS
SELECT
    i.id,
    i.at_ns,
    i.key,
    coalesce(i.team, '') AS team,
    i.model,
    coalesce(c.upstream, s.upstream, '') AS upstream,
    1 AS requests,
    s.input_tokens,
    s.cached_input_tokens,
    s.output_tokens,
    coalesce(c.images, s.images) AS images,
    coalesce(c.charged, s.charged) AS charged,
    coalesce(c.upstream_cost, s.upstream_cost) AS upstream_cost
FROM intents AS i
JOIN settlements AS s ON s.id = i.id
LEFT JOIN corrections AS c ON c.id = i.id
WHERE coalesce(c.state, s.state) <> 'released';
