"""What was learned of how long orders take, in a file. Implements ``stores.duration_records.DurationRecords``."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

import orjson

from gateway.core.routing.durations import Histogram, OrderKind
from gateway.stores.sqlite.keys import Writes
from gateway.stores.sqlite.schema import reading


class SQLiteDurations:
    """The rows of a file that ``writer`` writes."""

    def __init__(self, path: Path, writer: Writes) -> None:
        self._path = path
        self._writer = writer

    async def all(self) -> list[tuple[OrderKind, Histogram]]:
        def read() -> list[tuple[OrderKind, Histogram]]:
            with reading(self._path) as store:
                rows = store.execute(
                    "SELECT upstream, operation, model, size, quality, pieces, at, seen, ended, censored "
                    "FROM learned_durations ORDER BY at"
                ).fetchall()
            found = ((OrderKind(*row[:6]), _histogram(*row[6:])) for row in rows)
            return [(kind, histogram) for kind, histogram in found if histogram is not None]

        return await asyncio.to_thread(read)

    async def keep(self, changed: Sequence[tuple[OrderKind, Histogram | None]]) -> None:
        gone = [astuple(kind) for kind, histogram in changed if histogram is None]
        rows = [
            (*astuple(kind), found.at, found.seen, _weights(found.ended), _weights(found.censored))
            for kind, found in changed
            if found is not None
        ]

        def work(store: sqlite3.Connection) -> None:
            store.executemany(
                "DELETE FROM learned_durations WHERE upstream = ? AND operation = ? AND model = ? AND size = ? "
                "AND quality = ? AND pieces = ?",
                gone,
            )
            store.executemany(
                "INSERT OR REPLACE INTO learned_durations "
                "(upstream, operation, model, size, quality, pieces, at, seen, ended, censored) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

        await self._writer.write(work)


def _weights(weights: dict[int, float]) -> str:
    return orjson.dumps({str(bucket): weight for bucket, weight in weights.items()}).decode()


def _histogram(at: float, seen: int, ended: str, censored: str) -> Histogram | None:
    """None for a row that is not as it was written."""
    try:
        sides = [
            {int(bucket): float(weight) for bucket, weight in orjson.loads(one).items()} for one in (ended, censored)
        ]
    except (ValueError, TypeError, AttributeError):
        return None
    return Histogram(at, seen, *sides)
