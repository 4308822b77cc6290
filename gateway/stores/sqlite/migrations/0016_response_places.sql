-- Where an upstream keeps what an answer of the Responses API named to a virtual key: a response, an item of it, a
-- conversation. Only that upstream knows the id, and only with that key of the pool.

-- credential: the name of the upstream's key. at_ns: when the id was made, or last gone on from.
CREATE TABLE response_places (
    key TEXT NOT NULL,
    id TEXT NOT NULL CHECK (length(id) > 0),
    upstream TEXT NOT NULL,
    credential TEXT NOT NULL,
    at_ns INTEGER NOT NULL,
    PRIMARY KEY (key, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX response_places_by_age ON response_places (at_ns);
CREATE INDEX response_places_by_key ON response_places (key, at_ns);
