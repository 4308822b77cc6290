"""What was learned of how long orders take, in a file. Implements ``stores.duration_records.DurationRecords``."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

from gateway.core.routing.durations import Histogram, LearnedChange, OrderKind
from gateway.stores.duration_columns import columns_of, histogram_of
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
            found = ((OrderKind(*row[:6]), histogram_of(*row[6:])) for row in rows)
            return [(kind, histogram) for kind, histogram in found if histogram is not None]

        return await asyncio.to_thread(read)

    async def keep(self, changed: Sequence[LearnedChange], half_life: float) -> list[tuple[OrderKind, Histogram]]:
        gone = [astuple(change.kind) for change in changed if change.found is None]
        rows = [(*astuple(change.kind), *columns_of(change.found)) for change in changed if change.found is not None]

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
        return []

    async def news(self) -> list[tuple[OrderKind, Histogram]]:
        """Nothing: no other gateway writes to the file."""
        return []
