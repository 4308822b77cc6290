"""The exchanges that came in last, read one by one beside a running gateway or without one.

Blocks: a server calls it in a thread.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gateway.runtime import today
from gateway.stores.seen_exchanges import CAME_IN, FILTERED_NS, MOST_SEEN, SeenExchange, seen_exchange
from gateway.stores.sqlite.schema import reading

_LAST = (2**63 - 1, 2**63 - 1)
"""Behind every row: the time it came in, and its number."""

_CAME_IN = len(CAME_IN.split(", "))

_ENDED = (
    "coalesce(c.state, s.state), s.at_ns, s.status, coalesce(c.upstream, s.upstream), "
    "CASE WHEN c.upstream <> s.upstream THEN NULL ELSE s.endpoint END, s.task_id, "
    "s.input_tokens, s.cached_input_tokens, s.output_tokens, coalesce(c.images, s.images), "
    "coalesce(c.charged, s.charged), coalesce(c.upstream_cost, s.upstream_cost), "
    "CASE WHEN c.id IS NULL THEN s.confidence WHEN c.confidence IS NOT NULL THEN c.confidence "
    "WHEN c.reason LIKE '%price unknown' THEN 'unknown' ELSE 'measured' END, s.answered_model, c.reason, s.attempts"
)
"""In the order of ``seen_exchange``. What earlier versions corrected has its confidence in its reason."""

LATEST = (
    f"SELECT {CAME_IN}, {_ENDED} FROM intents AS i INDEXED BY intents_by_time "  # noqa: S608
    "LEFT JOIN settlements AS s ON s.id = i.id LEFT JOIN corrections AS c ON c.id = i.id "
    "WHERE (i.at_ns, i.rowid) < (?1, ?2) AND i.at_ns >= ?3 "
    "AND (?4 IS NULL OR i.key = ?4) AND (?5 IS NULL OR i.request_id = ?5) "
    "ORDER BY i.at_ns DESC, i.rowid DESC LIMIT ?6"
)
"""The index has the rows in this order, so that the look ends with the last row that it returns."""


def latest(
    path: Path, limit: int, before: str | None = None, key: str | None = None, request_id: str | None = None
) -> list[SeenExchange]:
    """See ``UsageReports.latest``. StoreError if the books cannot be read."""
    with reading(path) as store:
        try:
            last = _LAST if before is None else _place(store, before)
            if last is None:
                return []
            since = 0 if key is None and request_id is None else min(last[0], today.now_ns()) - FILTERED_NS
            values = (*last, since, key, request_id, max(1, min(limit, MOST_SEEN)))
            return [_seen(row) for row in store.execute(LATEST, values)]
        except UnicodeEncodeError:  # a lone surrogate: no such text was ever stored
            return []


def _place(store: sqlite3.Connection, id: str) -> tuple[int, int] | None:
    found: tuple[int, int] | None = store.execute("SELECT at_ns, rowid FROM intents WHERE id = ?", (id,)).fetchone()
    return found


def _seen(row: tuple[object, ...]) -> SeenExchange:
    ended = row[_CAME_IN:]
    return seen_exchange(row[:_CAME_IN], None if ended[0] is None else ended)
