"""The teams of the configurations that were in force, in PostgreSQL. Implements ``stores.base.TeamRecords``."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core.types import Budget
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.postgres.writing import writing

_REMEMBER = (
    "INSERT INTO teams AS t (name, budget_nano, budget_period, since_ns) VALUES ($1, $2, $3, $4) "
    "ON CONFLICT (name) DO UPDATE SET budget_nano = excluded.budget_nano, budget_period = excluded.budget_period, "
    "since_ns = excluded.since_ns "
    "WHERE (t.budget_nano, t.budget_period) IS DISTINCT FROM (excluded.budget_nano, excluded.budget_period)"
)


class PostgresTeams:
    """The teams of a database."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool

    async def seen(self) -> Mapping[str, Budget | None]:
        async with self._pool.connection() as connection:
            rows = await connection.fetch("SELECT name, budget_nano, budget_period FROM teams")
        return {name: None if amount is None else Budget(amount, period) for name, amount, period in rows}

    async def remember(self, teams: Mapping[str, Budget | None], now_ns: int) -> None:
        known = await self.seen()
        rows = [
            (name, *((None, None) if budget is None else (budget.amount, budget.period)), now_ns)
            for name, budget in sorted(teams.items())  # in one order, so that two gateways never wait for one another
            if name not in known or known[name] != budget
        ]
        if rows:
            async with writing(self._pool) as connection:
                await connection.executemany(_REMEMBER, rows)
