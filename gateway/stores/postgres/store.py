"""A PostgreSQL store, opened to serve, and read beside that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gateway.runtime.ports import Clock
from gateway.stores.postgres.alerts import PostgresAlerts
from gateway.stores.postgres.deliveries import PostgresDeliveries
from gateway.stores.postgres.jobs import PostgresJobs
from gateway.stores.postgres.keys import PostgresKeys
from gateway.stores.postgres.migrating import migrate
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.postgres.response_places import PostgresResponsePlaces
from gateway.stores.postgres.responses import PostgresResponses
from gateway.stores.postgres.teams import PostgresTeams


class PostgresStore:
    """One database, which several gateways serve from. Implements ``stores.base.Store``.

    ``gateway_id``: the gateway that has it open.
    """

    pepper_file: Path | None = None
    recovered = 0
    unchecked = False

    def __init__(self, pool: PostgresPool, clock: Clock, gateway_id: str, *, made: bool) -> None:
        self._pool = pool
        self.name = pool.name
        self.made = made
        self.booked_late = 0
        self.keys = PostgresKeys(pool)
        self.teams = PostgresTeams(pool)
        self.alerts = PostgresAlerts(pool, gateway_id)
        self.responses = PostgresResponses(pool)
        self.response_places = PostgresResponsePlaces(pool)
        self.deliveries = PostgresDeliveries(pool)
        self.jobs = PostgresJobs(pool)

    @classmethod
    async def open(cls, url: str, clock: Clock, gateway_id: str, spill: Path) -> PostgresStore:
        """Connect, and bring the schema up to date. ``spill``: the folder of what waits for a server that is gone.

        Raises StoreError, with words on what to do.
        """
        pool = await PostgresPool.open(url, f"piapi-gateway {gateway_id}")
        try:
            async with pool.connection() as connection:
                made = await migrate(connection, clock.wall_ns(), pool.name)
            return cls(pool, clock, gateway_id, made=made)
        except BaseException:
            await pool.close()
            raise

    async def check(self, told: Callable[[str, int, int], None]) -> str:
        """The server looks after its own pages: there is nothing to look through."""
        return ""

    async def mark(self) -> None:
        """Nothing to note: the server keeps its own."""

    async def watch(self) -> str:
        """Nothing to watch: a server that is gone is met by what is written."""
        return ""

    async def close(self) -> None:
        await self._pool.close()
