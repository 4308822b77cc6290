"""How things stand: what is held, what is in doubt, and what was charged since a budget's period began.

Read-only, beside a running gateway or without one. Everything here blocks: a server calls it in a thread. All raise
StoreError if the books cannot be read.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gateway.core.pricing.budgets import UNKNOWN_HELD_NS
from gateway.stores.records import Held, TaskRecord, UnknownExchange
from gateway.stores.sqlite.rollup import FIGURES, add_up, pruned_before
from gateway.stores.sqlite.schema import reading

_EVER = 2**63 - 1

_CHARGED = FIGURES.index("charged")

_IN_DOUBT = (
    "FROM settlements AS s INDEXED BY settlements_unknown CROSS JOIN intents AS i ON i.id = s.id "
    "WHERE s.state = 'unknown' AND NOT EXISTS (SELECT 1 FROM corrections AS c WHERE c.id = s.id) AND i.at_ns >= ?"
)
"""What was not corrected and came in since. CROSS JOIN: begin with the few that are unknown."""

_HELD = "i.id, i.at_ns, i.key, i.team, i.reserved, i.model"

_UnknownRow = tuple[str, int, str, str | None, str, int, int, int]
"""An exchange's id, time, key, team, model, what it reserved, what its attempts without a task are booked at, and the
pieces that must have left a task each if the tasks are to tell all."""


def held(path: Path, now_ns: int) -> list[Held]:
    """The exchanges that are open, or unknown and not corrected, and came in less than UNKNOWN_HELD_NS ago.

    Oldest first.
    """
    since = now_ns - UNKNOWN_HELD_NS + 1
    with reading(path) as store:
        rows = store.execute(
            f"SELECT {_HELD}, 0, i.route, i.request_id, s.attempts = '[]' {_IN_DOUBT} "  # noqa: S608
            f"UNION ALL SELECT {_HELD}, 1, i.route, i.request_id, 0 FROM intents AS i "
            "WHERE i.at_ns >= ? AND NOT EXISTS (SELECT 1 FROM settlements AS s WHERE s.id = i.id) ORDER BY 2, 1",
            (since, since),
        ).fetchall()
        return [_held(store, row) for row in rows]


def unknown_exchanges(path: Path, since_ns: int) -> list[UnknownExchange]:
    """The exchanges that came in at ``since_ns`` or later, are of unknown outcome and not corrected; oldest first."""
    with reading(path) as store:
        rows = store.execute(
            "SELECT i.id, i.at_ns, i.key, i.team, i.model, i.reserved, "  # noqa: S608
            "(SELECT coalesce(sum(a.value ->> '$.cost'), 0) FROM json_each(s.attempts) AS a "
            f"WHERE a.value ->> '$.task_id' IS NULL), CASE s.attempts WHEN '[]' THEN i.pieces ELSE 0 END {_IN_DOUBT} "
            "ORDER BY 2, 1",
            (since_ns,),
        ).fetchall()
        return [_unknown(store, row) for row in rows]


def charged_since(path: Path, start_ns: int, end_ns: int | None = None) -> dict[tuple[str, str | None, str], int]:
    """Nano-dollars charged for what came in at ``start_ns`` or later, and before ``end_ns``, by key, team and model.

    A key that changed its team appears with both: a key's sum is that over its teams, and the other way round.
    """
    with reading(path) as store:
        until_ns = _EVER if end_ns is None else end_ns
        sums = add_up(store, start_ns, until_ns, ("key", "nullif(team, '')", "model"), pruned_ns=pruned_before(store))
    return {(key or "", team, model or ""): figures[_CHARGED] for (key, team, model), figures in sums.items()}


def _held(store: sqlite3.Connection, row: tuple[str, int, str, str | None, int, str, int, str, str, int]) -> Held:
    identity, at_ns, key, team, reserved, model, running, route, request, cut = row
    tasks = tuple(task.task_id for task in tasks_of(store, identity))
    return Held(identity, at_ns, key, team, reserved, model, bool(running), route, request, bool(cut), tasks)


def _unknown(store: sqlite3.Connection, row: _UnknownRow) -> UnknownExchange:
    """The exchange of a row, with its tasks."""
    identity, at_ns, key, team, model, reserved, other_cost, pieces = row
    tasks = tasks_of(store, identity)
    untold = max(0, pieces - len(tasks))
    return UnknownExchange(identity, at_ns, key, team, model, reserved, tasks, other_cost, untold)


def tasks_of(store: sqlite3.Connection, exchange: str) -> tuple[TaskRecord, ...]:
    """The tasks recorded for an exchange, and those that only its attempts tell of: recording one may have failed."""
    rows = store.execute(
        "SELECT task_id, upstream, credential, exchange, key, model, at_ns FROM tasks WHERE exchange = ? "
        "ORDER BY at_ns, rowid",
        (exchange,),
    ).fetchall()
    recorded = [TaskRecord(*row) for row in rows]
    told = store.execute(
        "SELECT DISTINCT a.value ->> '$.task_id', a.value ->> '$.upstream', a.value ->> '$.credential', "
        "i.id, i.key, i.model, i.at_ns "
        "FROM settlements AS s JOIN intents AS i ON i.id = s.id, json_each(s.attempts) AS a "
        "WHERE s.id = ? AND a.value ->> '$.task_id' IS NOT NULL ORDER BY a.key",
        (exchange,),
    ).fetchall()
    known = {(record.task_id, record.upstream) for record in recorded}
    return (*recorded, *(TaskRecord(*row) for row in told if row[:2] not in known))
