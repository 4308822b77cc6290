"""The count of the books that the store's own triggers keep: read, compared with the rows, and taken anew.

``0013_tally.sql`` has the tables. Everything here runs on a connection of the caller's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import orjson

PRUNED_TOGETHER = ("intents", "settlements")
"""Of each of these exactly one row leaves with an exchange that is pruned."""

PRUNED = (*PRUNED_TOGETHER, "tasks", "corrections")
MONEY = ("settlements", "corrections")
TABLES = (*PRUNED, "prunes", "balances", "booked_prices", "keys", "teams", "audit")
"""What is counted."""

TRIGGERS = tuple(f"{table}_tally{ending}" for table in TABLES for ending in ("", "_delete"))


class Count(NamedTuple):
    """Of one table. ``ever``: rows that were written. ``held``: those not pruned. Sums in nano-dollars, of ``held``."""

    ever: int
    held: int
    charged: int = 0
    upstream_cost: int = 0


class Position(NamedTuple):
    """How far the books of a store have come.

    ``store``: which store it is. ``counts``: by table. ``newest``: the id of the newest intent, and settlement; empty
    if there is none.
    """

    store: str
    counts: Mapping[str, Count]
    newest: tuple[str, str]


def has_tally(store: sqlite3.Connection) -> bool:
    """Whether the store is of a version that keeps the count, or was."""
    found = store.execute("SELECT count(*) FROM sqlite_schema WHERE name IN ('identity', 'tally')").fetchone()[0]
    return bool(found)


def read_position(store: sqlite3.Connection) -> Position | None:
    """The position as the store itself has it; None if the count is not whole. Raises sqlite3.Error.

    In one row, since every row, and every statement, costs a thread the interpreter lock once more.
    """
    [(identities, rows, intent, settlement)] = store.execute(
        "SELECT (SELECT json_group_array(id) FROM identity), "
        "(SELECT json_group_array(json_array(name, ever, held, charged, upstream_cost)) FROM tally), "
        "coalesce((SELECT id FROM intents ORDER BY rowid DESC LIMIT 1), ''), "
        "coalesce((SELECT id FROM settlements ORDER BY rowid DESC LIMIT 1), '')"
    ).fetchall()
    identity = orjson.loads(identities)
    counts = {name: Count(*figures) for name, *figures in orjson.loads(rows)}
    if len(identity) != 1 or counts.keys() < {*TABLES}:
        return None
    return Position(identity[0], counts, (intent, settlement))


def contradictions(store: sqlite3.Connection, counts: Mapping[str, Count]) -> Iterator[str]:
    """What in the count contradicts itself: rows that left without being pruned. Looks at no rows of requests."""
    (pruned,) = store.execute("SELECT coalesce(sum(settled + released), 0) FROM prunes").fetchone()
    for table in TABLES:
        gone = counts[table].ever - counts[table].held
        if table in PRUNED_TOGETHER:
            gone -= pruned
        elif table in PRUNED:
            gone = 0  # how many of them leave with an exchange differs
        if gone:
            yield f"{abs(gone)} rows of '{table}' {'were removed' if gone > 0 else 'came from nowhere'}"


def miscounts(store: sqlite3.Connection, counts: Mapping[str, Count]) -> Iterator[str]:
    """Where the rows are not those that were counted, one sentence each. Reads whole tables."""
    for table in TABLES:
        found, counted = recount(store, table), counts[table]
        if found.held < counted.held:
            yield f"{counted.held - found.held} of {counted.held} rows of '{table}' are missing"
        elif found.held > counted.held:
            yield f"'{table}' has {found.held - counted.held} rows that were never counted"
        if found.held == counted.held and found[2:] != counted[2:]:
            yield (
                f"the amounts in '{table}' add up to {found.charged} charged and {found.upstream_cost} owed upstream, "
                f"not to {counted.charged} and {counted.upstream_cost} (nano-dollars): some were changed"
            )


def recount(store: sqlite3.Connection, table: str) -> Count:
    """The rows of a table as they are; ``ever`` is ``held`` here."""
    sums = "coalesce(sum(charged), 0), coalesce(sum(upstream_cost), 0)" if table in MONEY else "0, 0"
    held, charged, cost = store.execute(f"SELECT count(*), {sums} FROM {table}").fetchone()  # noqa: S608
    return Count(held, held, charged, cost)


def count_anew(store: sqlite3.Connection) -> None:
    """Inside a transaction of the writer's: let the count be what there is, after a loss that was accepted."""
    (pruned,) = store.execute("SELECT coalesce(sum(settled + released), 0) FROM prunes").fetchone()
    store.execute("DELETE FROM tally")
    for table in TABLES:
        found = recount(store, table)
        ever = found.held + (pruned if table in PRUNED_TOGETHER else 0)
        store.execute("INSERT INTO tally VALUES (?, ?, ?, ?, ?)", (table, ever, *found[1:]))
