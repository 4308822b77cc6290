-- Answers of the Responses API that are kept for their clients. They hold what people wrote.

-- used_ns: when it was made, or last gone on from. previous: the one that it goes on from.
-- answer: the response object. input: an array of the items of its own input. events: of one that was made in the
-- background, the events of its stream. size: bytes of these three.
CREATE TABLE responses (
    id TEXT PRIMARY KEY CHECK (length(id) > 0),
    key TEXT NOT NULL,
    at_ns INTEGER NOT NULL,
    used_ns INTEGER NOT NULL,
    previous TEXT,
    answer BLOB NOT NULL,
    input BLOB NOT NULL,
    events BLOB NOT NULL,
    size INTEGER NOT NULL
) STRICT;

CREATE INDEX responses_by_use ON responses (used_ns);
CREATE INDEX responses_by_key ON responses (key, used_ns);

-- Which response an item of an input or output is in, so that a later request may name it.
CREATE TABLE response_items (
    key TEXT NOT NULL,
    id TEXT NOT NULL,
    response TEXT NOT NULL,
    PRIMARY KEY (key, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX response_items_by_response ON response_items (response);
