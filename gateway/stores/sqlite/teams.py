"""The teams of the configuration that was last in force, with their budgets. Implements ``stores.base.TeamRecords``."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from gateway.core.types import Budget
from gateway.stores.sqlite.keys import Writes
from gateway.stores.sqlite.schema import reading


class SQLiteTeamReader:
    """The teams in a file; one that was not made yet knows none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def seen(self) -> Mapping[str, Budget | None]:
        return await asyncio.to_thread(_seen, self._path)


class SQLiteTeams(SQLiteTeamReader):
    """The teams in a file that ``writer`` writes."""

    def __init__(self, path: Path, writer: Writes) -> None:
        super().__init__(path)
        self._writer = writer

    async def remember(self, teams: Mapping[str, Budget | None], now_ns: int) -> None:
        known = await self.seen()
        rows = [
            (name, *((None, None) if budget is None else (budget.amount, budget.period)), now_ns)
            for name, budget in teams.items()
            if name not in known or known[name] != budget
        ]

        def work(store: sqlite3.Connection) -> None:
            store.executemany(
                "INSERT INTO teams VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET budget_nano = "
                "excluded.budget_nano, budget_period = excluded.budget_period, since_ns = excluded.since_ns",
                rows,
            )

        if rows:
            await self._writer.write(work)


def _seen(path: Path) -> dict[str, Budget | None]:
    if not path.exists():
        return {}
    with reading(path) as store:
        return {
            name: None if amount is None else Budget(amount, period)
            for name, amount, period in store.execute("SELECT name, budget_nano, budget_period FROM teams")
        }
