"""Reading the books: what was used, whose a task is, and whether the books are right.

Read-only, beside a running gateway or without one. Everything here blocks: a server calls it in a thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path

from gateway.stores.base import TaskRecord
from gateway.stores.schema import reading

DIMENSIONS: Mapping[str, str | None] = {
    "key": "i.key",
    "team": "i.team",
    "model": "i.model",
    "upstream": "s.upstream",
    "day": None,
}
"""What usage can be grouped by, and the column it is read from; days are asked for one by one."""

NS = 1_000_000_000

MAX_EXAMPLES = 10
"""How many rows with the same problem are named."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """``group``: the fields asked for, in their order; None where there is none (no team, no upstream settled it).

    ``cost_nano``: nano-dollars the keys are charged. ``input_tokens`` includes ``cached_input_tokens``.
    """

    group: Mapping[str, str | None]
    requests: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    images: int
    cost_nano: int


@dataclass(frozen=True, slots=True)
class Books:
    """How many exchanges ended how. ``open``: intents not settled yet. ``problems``: one sentence each."""

    settled: int
    released: int
    unknown: int
    open: int
    problems: list[str]


def usage(path: Path, *, since_ns: int, until_ns: int, by: Sequence[str], time_zone: tzinfo) -> list[UsageRow]:
    """Sum up the requests that came in ``since_ns <= at < until_ns`` (Unix nanoseconds), sorted by group.

    A request counts at the time it came in, whenever it was settled. Settled and unknown ones count; released ones
    (nothing was bought) and those still running do not. ``model`` is as requested, ``upstream`` the one that settled
    it, ``day`` a YYYY-MM-DD of ``time_zone``. Raises StoreError, and ValueError for an unknown field in ``by``.
    """
    fields = tuple(dict.fromkeys(by))
    if unknown := [field for field in fields if field not in DIMENSIONS]:
        raise ValueError(f"usage cannot be grouped by {', '.join(unknown)}; it can by {', '.join(DIMENSIONS)}")
    found: list[UsageRow] = []
    with reading(path) as store:
        if "day" not in fields:
            found = list(_sums(store, since_ns, until_ns, fields))
        else:
            for day, start, end in _days(store, since_ns, until_ns, time_zone):
                found.extend(_sums(store, start, end, fields, day))
    return sorted(found, key=lambda row: [(value is not None, value or "") for value in row.group.values()])


def verify(path: Path) -> Books:
    """Check the whole books. StoreError if they cannot be read at all; wrong rows are ``problems``."""
    with reading(path) as store:
        states = dict(store.execute("SELECT state, count(*) FROM settlements GROUP BY state").fetchall())
        (still_open,) = store.execute(
            "SELECT count(*) FROM intents AS i WHERE NOT EXISTS (SELECT 1 FROM settlements AS s WHERE s.id = i.id)"
        ).fetchone()
        return Books(
            settled=states.get("settled", 0),
            released=states.get("released", 0),
            unknown=states.get("unknown", 0),
            open=still_open,
            problems=list(_problems(store)),
        )


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


def _sums(
    store: sqlite3.Connection, start_ns: int, end_ns: int, fields: tuple[str, ...], day: str | None = None
) -> Iterator[UsageRow]:
    columns = [column for field in fields if (column := DIMENSIONS[field]) is not None]
    select = "".join(f"{column}, " for column in columns)
    group_by = f"GROUP BY {', '.join(columns)}" if columns else ""
    rows = store.execute(
        f"SELECT {select}count(*), sum(s.input_tokens), sum(s.cached_input_tokens), sum(s.output_tokens), "  # noqa: S608
        "sum(s.images), sum(s.charged) FROM intents AS i JOIN settlements AS s ON s.id = i.id "
        f"WHERE i.at_ns >= ? AND i.at_ns < ? AND s.state <> 'released' {group_by} HAVING count(*) > 0",
        (start_ns, end_ns),
    )
    for row in rows:
        values = iter(row[: len(columns)])
        group = {field: day if field == "day" else next(values) for field in fields}
        yield UsageRow(group, *row[len(columns) :])


def _days(store: sqlite3.Connection, since_ns: int, until_ns: int, zone: tzinfo) -> Iterator[tuple[str, int, int]]:
    """The days of ``zone`` that hold intents of the window: label, first nanosecond, first one after."""
    first, last = store.execute("SELECT (SELECT min(at_ns) FROM intents), (SELECT max(at_ns) FROM intents)").fetchone()
    if first is None:
        return
    start, stop = max(since_ns, first), min(until_ns, last + 1)
    if start >= stop:
        return
    day = datetime.fromtimestamp(start // NS, zone).date()
    while start < stop:
        after = day + timedelta(days=1)
        end = min(_midnight(after, zone), stop)
        if start < end:  # a zone that crossed the date line has a day of no length
            yield day.isoformat(), start, end
            start = end
        day = after


def _midnight(day: date, zone: tzinfo) -> int:
    """The first nanosecond of a day; where the clock skips midnight, the moment it does (PEP 495, fold 0)."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * NS


_RULES = (
    (
        # A release that moved no money may stand alone: its intent's commit failed while its client went away.
        "settlement {} has no intent",
        "SELECT s.id FROM settlements AS s WHERE NOT (s.state = 'released' AND s.charged = 0 AND s.upstream_cost = 0) "
        "AND NOT EXISTS (SELECT 1 FROM intents AS i WHERE i.id = s.id)",
    ),
    (
        "settlement {} has an amount that is not a whole number of at least 0",
        "SELECT id FROM settlements WHERE typeof(charged) <> 'integer' OR charged < 0 "
        "OR typeof(upstream_cost) <> 'integer' OR upstream_cost < 0",
    ),
    (
        "settlement {} has a count that is not a whole number of at least 0, or more cached tokens than tokens",
        "SELECT id FROM settlements WHERE typeof(input_tokens) <> 'integer' OR cached_input_tokens < 0 "
        "OR cached_input_tokens > input_tokens OR typeof(cached_input_tokens) <> 'integer' "
        "OR typeof(output_tokens) <> 'integer' OR output_tokens < 0 OR typeof(images) <> 'integer' OR images < 0",
    ),
    (
        "intent {} reserves an amount that is not a whole number of at least 0",
        "SELECT id FROM intents WHERE typeof(reserved) <> 'integer' OR reserved < 0",
    ),
    (
        "settlement {} is released, and yet charged",
        "SELECT id FROM settlements WHERE state = 'released' AND charged <> 0",
    ),
    (
        "settlement {} is in no known state",
        "SELECT id FROM settlements WHERE state NOT IN ('settled', 'released', 'unknown')",
    ),
    (
        "settlement {} has attempts whose costs do not add up to its upstream cost",
        "SELECT id FROM settlements WHERE CASE WHEN NOT json_valid(attempts) THEN TRUE ELSE upstream_cost <> "
        "(SELECT coalesce(sum(a.value ->> '$.cost'), 0) FROM json_each(settlements.attempts) AS a) END",
    ),
    (
        "task {} was bought for an exchange that has no intent",
        "SELECT t.task_id FROM tasks AS t WHERE NOT EXISTS (SELECT 1 FROM intents AS i WHERE i.id = t.exchange)",
    ),
    ("settlement {} fitted no row and was set aside in 'unbookable'", "SELECT id FROM unbookable ORDER BY rowid"),
)
"""A sentence, and the query for the ids it is true of."""

GUARDS = tuple(
    f"{table}_keep_{change}" for table in ("intents", "settlements", "tasks") for change in ("update", "delete")
)
"""The triggers that make the books append-only."""


def _problems(store: sqlite3.Connection) -> Iterator[str]:
    for (finding,) in store.execute(f"PRAGMA quick_check({MAX_EXAMPLES})").fetchall():
        if finding != "ok":
            yield f"SQLite's own check: {finding}"
    triggers = {name for (name,) in store.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")}
    for guard in GUARDS:
        if guard not in triggers:
            yield f"the trigger {guard} is gone, so rows may have been changed"
    for sentence, query in _RULES:
        ids = [identity for (identity,) in store.execute(query)]
        for identity in ids[:MAX_EXAMPLES]:
            yield sentence.format(identity)
        if len(ids) > MAX_EXAMPLES:
            yield f"{sentence.format('…')}: {len(ids) - MAX_EXAMPLES} more"
