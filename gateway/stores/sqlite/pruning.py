"""Letting old rows go: what is over leaves the tables, what it adds up to stays in the roll-up.

Removing runs in the writer's transaction. Which rows may leave is enforced by the store's own triggers
(``0006_pruning.sql``); here they are found.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from gateway.stores.records import Pruned
from gateway.stores.sqlite.schema import reading

BATCH = 100
"""Exchanges a transaction: a few milliseconds, so that requests hardly wait."""


_OVER = (
    "FROM intents AS i JOIN settlements AS s ON s.id = i.id LEFT JOIN corrections AS c ON c.id = i.id "
    "WHERE coalesce(c.state, s.state) <> 'unknown'"
)


@dataclass(frozen=True, slots=True)
class Place:
    """How far a pruning has come, in the order of time."""

    at_ns: int = -1
    row: int = -1


def prunable(path: Path, before_ns: int) -> Pruned:
    """What pruning before ``before_ns``, a full hour, would remove now. Blocks, reads only; raises StoreError."""
    with reading(path) as store:
        settled, released = store.execute(
            "SELECT count(*) FILTER (WHERE coalesce(c.state, s.state) = 'settled'), "
            f"count(*) FILTER (WHERE coalesce(c.state, s.state) = 'released') {_OVER} AND i.at_ns < ?",
            (before_ns,),
        ).fetchone()
    return Pruned(before_ns, settled, released)


def prune_batch(
    connection: sqlite3.Connection, now_ns: int, before_ns: int, place: Place
) -> tuple[Pruned, Place | None]:
    """Remove at most BATCH exchanges that came in before ``before_ns``, a full hour, and are settled or released.

    Their tasks and corrections go with them. ``place``: where the last batch ended, ``Place()`` at first. Returns what
    left, and where the next batch begins, None if there is none.
    """
    found = connection.execute(
        f"SELECT i.id, i.at_ns, i.rowid, coalesce(c.state, s.state) {_OVER} "
        "AND (i.at_ns, i.rowid) > (?, ?) AND i.at_ns < ? ORDER BY i.at_ns, i.rowid LIMIT ?",
        (place.at_ns, place.row, before_ns, BATCH),
    ).fetchall()
    if not found:
        return Pruned(before_ns), None
    settled = sum(state == "settled" for *_, state in found)
    pruned = Pruned(before_ns, settled, len(found) - settled)
    connection.execute("INSERT INTO prunes VALUES (?, ?, ?, ?)", (now_ns, before_ns, pruned.settled, pruned.released))
    connection.executemany("INSERT INTO pruning VALUES (?)", [row[:1] for row in found])
    connection.execute("DELETE FROM tasks WHERE exchange IN (SELECT id FROM pruning)")
    for table in ("corrections", "settlements", "intents"):
        connection.execute(f"DELETE FROM {table} WHERE id IN (SELECT id FROM pruning)")  # noqa: S608
    connection.execute("DELETE FROM pruning")
    _, at_ns, row, _ = found[-1]
    return pruned, Place(at_ns, row) if len(found) == BATCH else None
