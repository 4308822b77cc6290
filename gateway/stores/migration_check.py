"""Whether a store was carried over rightly: what both add up to, by key and month, and every key itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.stores.key_records import KeyReader, StoredKey

if TYPE_CHECKING:
    import asyncpg

MOST_NAMED = 10
"""Differences of one kind that are named."""

LONG = 3_600.0
"""Seconds for a statement that looks at all rows."""

_FIGURES = ("requests", "input_tokens", "cached_input_tokens", "output_tokens", "images", "charged", "upstream_cost")
_SUMS = ", ".join(f"sum({figure})" for figure in _FIGURES)

SUMS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "the sums of usage": (
        f"SELECT key, {{month}}, {_SUMS} FROM {{spent}} GROUP BY 1, 2",  # noqa: S608
        _FIGURES,
    ),
    "the rows of usage": (
        f"SELECT key, {{month_of_row}}, {_SUMS} FROM booked GROUP BY 1, 2",  # noqa: S608
        _FIGURES,
    ),
    "the requests": (
        "SELECT key, {month_of_row}, count(*), sum(reserved) FROM intents GROUP BY 1, 2",
        ("requests", "reserved"),
    ),
}
"""What is compared, as SQL, and the names of its sums; by key and month of UTC."""

_HERE = {
    "month": "strftime('%Y-%m', start, 'unixepoch')",
    "month_of_row": "strftime('%Y-%m', at_ns / 1000000000, 'unixepoch')",
    "spent": "(SELECT * FROM spent WHERE span = 3600)",
}
_FIGURES_THERE = ", ".join(_FIGURES)
_THERE = {
    "month": "to_char(to_timestamp(start) AT TIME ZONE 'UTC', 'YYYY-MM')",
    "month_of_row": "to_char(to_timestamp(at_ns / 1000000000) AT TIME ZONE 'UTC', 'YYYY-MM')",
    "spent": f"(SELECT key, start, {_FIGURES_THERE} FROM spent WHERE span = 3600 "  # noqa: S608
    f"UNION ALL SELECT key, start, {_FIGURES_THERE} FROM spent_changes) AS sums",
}

_ASKED_HERE = {what: sql.format(**_HERE) for what, (sql, _) in SUMS.items()}
_ASKED_THERE = {what: sql.format(**_THERE) for what, (sql, _) in SUMS.items()}

Sums = dict[tuple[str, str], tuple[int, ...]]
"""Key and month → the sums."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What both stores hold alike. ``charged``: nano-dollars. ``months``: how many there are, over all keys."""

    requests: int
    charged: int
    keys: int
    months: int


def sums_here(books: sqlite3.Connection) -> dict[str, Sums]:
    """What a SQLite store adds up to. Raises sqlite3.Error."""
    return {what: _sums(books.execute(sql)) for what, sql in _ASKED_HERE.items()}


async def sums_there(connection: asyncpg.Connection[Any]) -> dict[str, Sums]:
    """What a PostgreSQL store adds up to. Raises the errors of asyncpg."""
    return {what: _sums(await connection.fetch(sql, timeout=LONG)) for what, sql in _ASKED_THERE.items()}


def compared(sums: Mapping[str, Sums], keys: int) -> Compared:
    """What there is to be told of stores whose sums are alike."""
    usage = sums["the sums of usage"]
    requests, charged = _FIGURES.index("requests"), _FIGURES.index("charged")
    return Compared(
        sum(found[requests] for found in usage.values()),
        sum(found[charged] for found in usage.values()),
        keys,
        len({month for _, month in usage}),
    )


def differences(here: Mapping[str, Sums], there: Mapping[str, Sums]) -> Iterator[str]:
    """One sentence for each sum that differs, of very many the first."""
    for what, (_, names) in SUMS.items():
        wrong = sorted(
            group for group in here[what].keys() | there[what].keys() if here[what].get(group) != there[what].get(group)
        )
        for key, month in wrong[:MOST_NAMED]:
            of_none = (0,) * len(names)
            both = (sums.get((key, month), of_none) for sums in (here[what], there[what]))
            pairs = zip(names, *both, strict=True)
            told = ", ".join(f"{name} {one} here and {other} there" for name, one, other in pairs if one != other)
            yield f"{what} of key {key} in {month} differ: {told}"
        if len(wrong) > MOST_NAMED:
            yield f"{what}: {len(wrong) - MOST_NAMED} more keys and months differ"


async def different_keys(here: KeyReader, there: KeyReader) -> tuple[int, list[str]]:
    """How many keys there are here, and one sentence for each that is another one there. Raises StoreError."""
    found, copied = await _all(here), await _all(there)
    wrong = [name for name in sorted(found.keys() | copied.keys()) if found.get(name) != copied.get(name)]
    return len(found), [f"the key {name} is not as it was" for name in wrong[:MOST_NAMED]]


async def _all(keys: KeyReader) -> dict[str, StoredKey]:
    found: dict[str, StoredKey] = {}
    page = await keys.page(include_revoked=True)
    while page:
        found |= {key.name: key for key in page}
        page = await keys.page(page[-1].name, include_revoked=True)
    return found


def _sums(rows: Any) -> Sums:
    return {(key, month): tuple(map(int, figures)) for key, month, *figures in rows}
