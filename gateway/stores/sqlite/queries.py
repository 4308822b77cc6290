"""Reading the books: what was used, whose a task is, and whether the books are right.

Read-only, beside a running gateway or without one. Everything here blocks: a server calls it in a thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo
from pathlib import Path

from gateway.stores.records import TaskRecord, UsageRow, Verification
from gateway.stores.spans import DAY, NS, days
from gateway.stores.sqlite.integrity import problems
from gateway.stores.sqlite.loss import find_loss
from gateway.stores.sqlite.mark import Mark, read_mark
from gateway.stores.sqlite.rollup import pruned_before
from gateway.stores.sqlite.schema import reading
from gateway.stores.sqlite.usage_rows import usage_rows
from gateway.stores.usage_sums import checked_fields, in_order

DIMENSIONS: Mapping[str, str | None] = {
    "key": "key",
    "team": "nullif(team, '')",
    "model": "model",
    "upstream": "nullif(upstream, '')",
    "day": None,
}
"""What usage can be grouped by, and the column it is read from; days are asked for one by one."""


def usage(path: Path, *, since_ns: int, until_ns: int, by: Sequence[str], time_zone: tzinfo) -> list[UsageRow]:
    """Sum up the requests that came in ``since_ns <= at < until_ns`` (Unix nanoseconds), sorted by group.

    A request counts at the time it came in, whenever it was settled. Settled and unknown ones count; released ones
    (nothing was bought) and those still running do not. ``model`` is as requested, ``upstream`` the one that settled
    it, ``day`` a YYYY-MM-DD of ``time_zone``. Where rows were pruned, a period begins and ends with an hour of UTC.
    Raises StoreError, and ValueError for an unknown field in ``by``.
    """
    fields = checked_fields(by)
    found: list[UsageRow] = []
    with reading(path) as store:
        pruned = pruned_before(store)
        if "day" not in fields:
            found = _rows(store, since_ns, until_ns, fields, pruned)
        else:
            for day, start, end in _days(store, since_ns, until_ns, time_zone):
                found.extend(_rows(store, start, end, fields, pruned, day))
    return in_order(found)


def verify(path: Path) -> Verification:
    """Check the whole books. StoreError if they cannot be read at all; wrong and missing rows are ``problems``."""
    mark = read_mark(path.resolve())  # before the books, which are then the younger ones
    with reading(path) as store:
        states = dict(
            store.execute(
                "SELECT coalesce(c.state, s.state), count(*) "
                "FROM settlements AS s LEFT JOIN corrections AS c ON c.id = s.id GROUP BY 1"
            ).fetchall()
        )
        (still_open,) = store.execute(
            "SELECT count(*) FROM intents AS i WHERE NOT EXISTS (SELECT 1 FROM settlements AS s WHERE s.id = i.id)"
        ).fetchone()
        return Verification(
            settled=states.get("settled", 0),
            released=states.get("released", 0),
            unknown=states.get("unknown", 0),
            open=still_open,
            problems=[*_lost(store, mark), *problems(store)],
            pruned=store.execute("SELECT coalesce(sum(settled + released), 0) FROM prunes").fetchone()[0],
            corrected=store.execute("SELECT count(*) FROM corrections").fetchone()[0],
        )


def _lost(store: sqlite3.Connection, mark: Mark) -> Iterator[str]:
    for sentence in find_loss(store, mark, recount=False).sentences:
        yield f"the store has lost what it held: {sentence}"


def find_task(path: Path, task_id: str) -> TaskRecord | None:
    """The task of that id, the newest if several upstreams have one. StoreError if the books cannot be read."""
    with reading(path) as store:
        try:
            row = store.execute(
                "SELECT task_id, upstream, credential, exchange, key, model, at_ns FROM tasks WHERE task_id = ? "
                "ORDER BY at_ns DESC, rowid DESC LIMIT 1",
                (task_id,),
            ).fetchone()
        except UnicodeEncodeError:  # a lone surrogate: no such text was ever stored
            return None
    return None if row is None else TaskRecord(*row)


def _rows(
    store: sqlite3.Connection, start_ns: int, end_ns: int, fields: tuple[str, ...], pruned_ns: int, day: str = ""
) -> list[UsageRow]:
    columns = [column for field in fields if (column := DIMENSIONS[field]) is not None]

    def group(found: tuple[str | None, ...]) -> dict[str, str | None]:
        values = iter(found)
        return {field: day if field == "day" else next(values) for field in fields}

    return usage_rows(store, start_ns, end_ns, columns, group, pruned_ns=pruned_ns)


def _days(store: sqlite3.Connection, since_ns: int, until_ns: int, zone: tzinfo) -> Iterator[tuple[str, int, int]]:
    """The days of ``zone`` within the window and the books: label, first nanosecond, first one after."""
    first, last = store.execute(
        "SELECT (SELECT min(start) FROM spent WHERE span = 86400), (SELECT max(start) FROM spent WHERE span = 86400)"
    ).fetchone()
    if first is None:
        return
    yield from days(max(since_ns, first * NS), min(until_ns, (last + DAY) * NS), zone)
