"""What was learned of how long orders take, in PostgreSQL. Implements ``stores.duration_records.DurationRecords``.

A gateway hands in what it has seen itself, which is added to what the others have handed in while no other writes: so
nothing is lost, and nothing counts twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from gateway.core.routing.durations import MOST_KINDS, Histogram, LearnedChange, OrderKind
from gateway.stores.duration_columns import columns_of, histogram_of
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.postgres.writing import writing

if TYPE_CHECKING:
    import asyncpg

MOST_KEPT = 4 * MOST_KINDS
"""Kinds that are kept, of all gateways; those that were not seen for longest go first."""

_READ = "SELECT version, upstream, operation, model, size, quality, pieces, at, seen, ended, censored "
_ALL = _READ + "FROM learned_durations ORDER BY at"
_NEWS = _READ + "FROM learned_durations WHERE version > $1 ORDER BY at"
_THESE = _READ + (
    "FROM learned_durations JOIN unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[]) "
    "AS named (upstream, operation, model, size, quality, pieces) "
    "USING (upstream, operation, model, size, quality, pieces)"
)
_BEGIN = "UPDATE versions SET value = value + 1 WHERE subject = 'durations' RETURNING value"
_KEEP = (
    "INSERT INTO learned_durations (upstream, operation, model, size, quality, pieces, at, seen, ended, censored, "
    "version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) "
    "ON CONFLICT (upstream, operation, model, size, quality, pieces) DO UPDATE SET at = excluded.at, "
    "seen = excluded.seen, ended = excluded.ended, censored = excluded.censored, version = excluded.version"
)
_FORGET = (
    "DELETE FROM learned_durations WHERE upstream = $1 AND operation = $2 AND model = $3 AND size = $4 "
    "AND quality = $5 AND pieces = $6 AND at <= $7"
)
_LET_GO = (
    "DELETE FROM learned_durations WHERE at <= (SELECT at FROM learned_durations ORDER BY at DESC OFFSET $1 LIMIT 1)"
)


class PostgresDurations:
    """The rows of a database."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool
        self._known = 0

    async def all(self) -> list[tuple[OrderKind, Histogram]]:
        async with self._pool.connection() as connection:
            return self._taken_in(await connection.fetch(_ALL))

    async def news(self) -> list[tuple[OrderKind, Histogram]]:
        async with self._pool.connection() as connection:
            return self._taken_in(await connection.fetch(_NEWS, self._known))

    async def keep(self, changed: Sequence[LearnedChange], half_life: float) -> list[tuple[OrderKind, Histogram]]:
        gone = [(*astuple(change.kind), change.at) for change in changed if change.found is None]
        news = {
            change.kind: (change.found.joined(None, half_life), change.added.joined(None, half_life))
            for change in changed
            if change.found is not None and change.added is not None
        }
        async with writing(self._pool) as connection:
            version = await connection.fetchval(_BEGIN)  # no other writes until this is over
            kept = await _these(connection, news)
            joined = {
                kind: found if (before := kept.get(kind)) is None else before.joined(added, half_life)
                for kind, (found, added) in news.items()
            }
            rows = [(*astuple(kind), *columns_of(found), version) for kind, found in joined.items()]
            await connection.executemany(_KEEP, rows)
            await connection.executemany(_FORGET, gone)
            await connection.execute(_LET_GO, MOST_KEPT)
        return list(joined.items())

    def _taken_in(self, rows: Sequence[Any]) -> list[tuple[OrderKind, Histogram]]:
        self._known = max((self._known, *(row["version"] for row in rows)))
        return _histograms(rows)


async def _these(connection: asyncpg.Connection[Any], kinds: Iterable[OrderKind]) -> dict[OrderKind, Histogram]:
    named = [astuple(kind) for kind in kinds]
    if not named:
        return {}
    return dict(_histograms(await connection.fetch(_THESE, *map(list, zip(*named, strict=True)))))


def _histograms(rows: Iterable[Any]) -> list[tuple[OrderKind, Histogram]]:
    """From the columns of ``_READ``; a row that is not as it was written is left out."""
    found = ((OrderKind(*row[1:7]), histogram_of(*row[7:])) for row in rows)
    return [(kind, histogram) for kind, histogram in found if histogram is not None]
