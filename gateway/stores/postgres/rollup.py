"""Adding up what was used: from the roll-up for whole hours and days, from the rows for what is left at the edges.

Several periods are asked for at once, each under a label: a month day by day is two statements. All that is asked
within one ``snapshot`` is of one moment.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from operator import add
from typing import TYPE_CHECKING, Any, Protocol

from gateway.stores.spans import HOUR, NS, Piece, ceiling_ns

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    import asyncpg

FIGURES = ("requests", "input_tokens", "cached_input_tokens", "output_tokens", "images", "charged", "upstream_cost")
"""The columns of sums that the roll-up has."""

LONG = 3_600.0
"""Seconds for a statement that may look at all rows."""

_BY_RANGE = (
    "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL jit = off; "
    "SET LOCAL work_mem = '64MB'"
)
"""For look-ups by range from a list of pieces: joined the other way round, all there ever was would be read."""

_BY_ROW = f"{_BY_RANGE}; SET LOCAL enable_seqscan = off"
"""For rows that are looked up one by one by their key."""

_AS_BEFORE = (
    "SET LOCAL enable_hashjoin TO DEFAULT; SET LOCAL enable_mergejoin TO DEFAULT; SET LOCAL enable_seqscan TO DEFAULT; "
    "SET LOCAL jit TO DEFAULT; SET LOCAL work_mem TO DEFAULT"
)

_COLUMNS = ", ".join(("key", "team", "model", "upstream", "price", "certainty", *FIGURES))

Asked = tuple[str, int, Piece]
"""The label of a period, and a piece of it that is added or taken away: see ``spans.signed``."""

Group = tuple[Any, ...]
Sums = tuple[int, ...]


class Connections(Protocol):
    """Where a connection comes from: the pool of a store, or a visit. ``name``: the store's, without secrets."""

    @property
    def name(self) -> str: ...

    def connection(self) -> AbstractAsyncContextManager[asyncpg.Connection[Any]]:
        """A connection, for a moment; raises StoreError if there is none, and for what fails on it."""
        ...


@asynccontextmanager
async def snapshot(connections: Connections) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A connection that sees the books as they were at one moment, and changes nothing. Raises StoreError."""
    async with (
        connections.connection() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        yield connection


async def add_up(
    connection: asyncpg.Connection[Any], pieces: Iterable[Asked], columns: Sequence[str], figures: Sequence[str]
) -> dict[Group, Sums]:
    """The sums of what came in during the pieces, by their label and the values of ``columns``.

    ``columns``: out of key, team, model, upstream and price, as the roll-up has them. ``figures``: those of FIGURES,
    each perhaps behind a certainty; the first one is ``requests``. Groups without a single request are left out.
    In a transaction of the caller's.
    """
    asked = list(pieces)
    rolled, edges = [one for one in asked if one[2].span], [one for one in asked if not one[2].span]
    totals: dict[Group, Sums] = {}
    width = 1 + len(columns)
    for settings, source, unit, parts in ((_BY_RANGE, _ROLLED, NS, rolled), (_BY_ROW, _EDGES, 1, edges)):
        if not parts:
            continue
        await connection.execute(settings)
        rows = await connection.fetch(
            _summing(source, columns, figures),
            [label for label, _, _ in parts],
            [sign for _, sign, _ in parts],
            [piece.span for _, _, piece in parts],
            [piece.start // unit for _, _, piece in parts],
            [piece.end // unit for _, _, piece in parts],
            timeout=LONG,
        )
        for row in rows:
            values = tuple(row)
            group, sums = values[:width], tuple(map(int, values[width:]))
            known = totals.get(group)
            totals[group] = sums if known is None else tuple(map(add, known, sums))
    await connection.execute(_AS_BEFORE)
    return {group: sums for group, sums in totals.items() if sums[0]}


async def pruned_before(connection: asyncpg.Connection[Any]) -> int:
    """Unix nanoseconds before which rows may be gone, and only sums are left; 0 if nothing was ever pruned."""
    moment: int = await connection.fetchval("SELECT coalesce(max(before_ns), 0) FROM prunes")
    return moment


async def rounded_end(connection: asyncpg.Connection[Any], end_ns: int) -> int:
    """``end_ns``, or the end of its hour if nothing came in later: whole hours need no rows to be read."""
    end = ceiling_ns(end_ns, HOUR)
    if end == end_ns or end_ns >= 2**63 - HOUR * NS:
        return end_ns
    later = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM intents WHERE at_ns >= $1 AND at_ns < $2)", end_ns, end, timeout=LONG
    )
    return end_ns if later else end


def _summing(source: str, columns: Sequence[str], figures: Sequence[str]) -> str:
    named = ", ".join(("p.label", *(f"s.{column}" for column in columns)))
    summed = ", ".join(_summed(figure) for figure in figures)
    return (
        f"SELECT {named}, {summed} "  # noqa: S608
        "FROM unnest($1::text[], $2::integer[], $3::integer[], $4::bigint[], $5::bigint[]) "
        "AS p (label, sign, span, first, last) "
        f"CROSS JOIN LATERAL ({source}) AS s GROUP BY {named}"
    )


def _summed(figure: str) -> str:
    """As text: what adds up to more than a column holds is no error, and text is quick to read."""
    certainty, _, column = figure.rpartition(" ")
    only = f" FILTER (WHERE s.certainty = '{certainty}')" if certainty else ""
    return f"coalesce(sum(s.{column} * p.sign){only}, 0)::text"


_ROLLED = (
    f"SELECT {_COLUMNS} FROM spent WHERE span = p.span AND start >= p.first AND start < p.last "  # noqa: S608
    f"UNION ALL SELECT {_COLUMNS} FROM spent_changes WHERE start >= p.first AND start < p.last"
)
_EDGES = f"SELECT {_COLUMNS} FROM booked WHERE at_ns >= p.first AND at_ns < p.last"  # noqa: S608
