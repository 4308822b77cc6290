"""The exchanges that came in last, read one by one.

What there is of an index by time tells only which pieces of a table may hold a moment, so it is searched back through
time, piece by piece, each longer than the one before: what is busy is found in the first, what is idle costs little.
On a connection of the caller's, within one ``rollup.snapshot``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gateway.runtime import today
from gateway.stores.postgres.writing import storable
from gateway.stores.seen_exchanges import CAME_IN, FILTERED_NS, MOST_SEEN, SeenExchange, seen_exchange

if TYPE_CHECKING:
    import asyncpg

_SECOND = 1_000_000_000
_WINDOWS = (*(seconds * _SECOND for seconds in (60, 600, 3_600, 86_400, 7 * 86_400)), FILTERED_NS)
"""How far back each search goes, nanoseconds."""

_LAST = (2**63 - 1, "")
"""Behind every row: the time it came in, and its id."""

_BY_ROW = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; "
    "SET LOCAL jit = off"
)
"""Rows are looked up by their time and by their id, however large or unmeasured the tables are."""

_PLACE = "SELECT at_ns, id FROM intents WHERE id = $1 LIMIT 1"

_INTENTS = (
    f"SELECT {CAME_IN} FROM intents AS i "  # noqa: S608
    "WHERE i.at_ns >= $1 AND i.at_ns <= $2 AND (i.at_ns, i.id) < ($2, $3) "
    "AND ($4::text IS NULL OR i.key = $4) AND ($5::text IS NULL OR i.request_id = $5) "
    "ORDER BY i.at_ns DESC, i.id DESC LIMIT $6"
)

_ENDED = (
    "SELECT s.id, coalesce(c.state, s.state), s.at_ns, s.status, coalesce(c.upstream, s.upstream), "
    "CASE WHEN c.upstream <> s.upstream THEN NULL ELSE s.endpoint END, s.task_id, "
    "coalesce(c.input_tokens, s.input_tokens), coalesce(c.cached_input_tokens, s.cached_input_tokens), "
    "coalesce(c.output_tokens, s.output_tokens), coalesce(c.images, s.images), coalesce(c.charged, s.charged), "
    "coalesce(c.upstream_cost, s.upstream_cost), coalesce(c.confidence, s.confidence), s.answered_model, c.reason, "
    "s.attempts::text FROM unnest($1::text[], $2::bigint[]) AS a (id, at_ns) "
    "JOIN settlements AS s ON s.id = a.id AND s.intent_ns = a.at_ns LEFT JOIN corrections AS c ON c.id = s.id"
)
"""The id, and then as ``seen_exchange`` takes it."""


async def latest(
    connection: asyncpg.Connection[Any],
    limit: int,
    before: str | None = None,
    key: str | None = None,
    request_id: str | None = None,
) -> list[SeenExchange]:
    """See ``UsageReports.latest``."""
    if not all(storable(text) for text in (before, key, request_id) if text is not None):
        return []
    await connection.execute(_BY_ROW)
    last = _LAST if before is None else await connection.fetchrow(_PLACE, before)
    if last is None:
        return []
    rows = await _came_in(connection, tuple(last), key, request_id, max(1, min(limit, MOST_SEEN)))
    ended = await connection.fetch(_ENDED, [row["id"] for row in rows], [row["at_ns"] for row in rows])
    known = {id: values for id, *values in ended}
    return [seen_exchange(tuple(row), known.get(row["id"])) for row in rows]


async def _came_in(
    connection: asyncpg.Connection[Any], last: tuple[int, str], key: str | None, request_id: str | None, limit: int
) -> Sequence[asyncpg.Record]:
    """The intents before ``last``, the newest first, window by window until there are enough of them."""
    begins = min(last[0], today.now_ns())
    edges = [begins - window for window in _WINDOWS]
    if key is None and request_id is None:
        edges.append(0)
    found: list[asyncpg.Record] = []
    for edge in edges:
        found += await connection.fetch(_INTENTS, edge, *last, key, request_id, limit - len(found))
        if len(found) == limit:
            break
        last = (edge, "")  # what came in at that very moment was in it
    return found
