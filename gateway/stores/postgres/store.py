"""A PostgreSQL store, opened to serve, and read beside that."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from gateway.core.errors import StoreError
from gateway.runtime.ports import Clock
from gateway.stores.postgres.alerts import PostgresAlerts
from gateway.stores.postgres.balances import PostgresBalances
from gateway.stores.postgres.durations import PostgresDurations
from gateway.stores.postgres.fleet import fleet_records
from gateway.stores.postgres.folding import Folding
from gateway.stores.postgres.gateways import PostgresGateways
from gateway.stores.postgres.keys import PostgresKeys
from gateway.stores.postgres.ledger import PostgresLedger
from gateway.stores.postgres.migrated_books import require_whole
from gateway.stores.postgres.migrating import migrate, migrations
from gateway.stores.postgres.pool import (
    CONNECT_WITHIN,
    REPORTS_AT_ONCE,
    FewConnections,
    PostgresPool,
    driver_errors,
)
from gateway.stores.postgres.response_places import PostgresResponsePlaces
from gateway.stores.postgres.teams import PostgresTeams
from gateway.stores.postgres.usage import PostgresUsage

log = logging.getLogger("gateway.stores")


UPDATED_WITHIN = 3600.0
"""Seconds for a statement that brings a schema up to date: an index of a large table takes its time."""


async def bring_up_to_date(url: str, now_ns: int) -> tuple[str, int]:
    """Bring the schema of a database up to date, or make it. Returns its name, without secrets, and the version.

    Raises StoreError, with words on what to do.
    """
    pool = await PostgresPool.open(url, "piapi-gateway migrate", 1)
    try:
        connection = await pool.connect(CONNECT_WITHIN, UPDATED_WITHIN)
        try:
            await migrate(connection, now_ns, pool.name)
        finally:
            await connection.close()
    except driver_errors() as error:
        raise StoreError(f"store: {pool.name} could not be brought up to date: {error}") from None
    finally:
        await pool.close()
    return pool.name, max(migrations())


class PostgresStore:
    """One database, which several gateways serve from. Implements ``stores.base.Store``.

    ``gateway_id``: the gateway that has it open.
    """

    pepper_file: Path | None = None
    unchecked = False

    def __init__(
        self, pool: PostgresPool, beating: PostgresPool, ledger: PostgresLedger, gateway_id: str, *, made: bool
    ) -> None:
        """``beating``: the connection that beats have for themselves: long reports may take all others for longer than
        a gateway may be silent.
        """
        self._pool = pool
        self._beating = beating
        self.name = pool.name
        self.made = made
        self.ledger = ledger
        self.recovered = ledger.recovered
        self.booked_late = ledger.booked_late
        self.keys = PostgresKeys(pool)
        self.teams = PostgresTeams(pool)
        self.alerts = PostgresAlerts(pool, gateway_id)
        self.fleet = fleet_records(pool, gateway_id)
        self.responses = self.fleet.responses
        self.response_places = PostgresResponsePlaces(pool)
        self.deliveries = self.fleet.deliveries
        self.jobs = self.fleet.jobs
        self.durations = PostgresDurations(pool)
        self.usage = PostgresUsage(FewConnections(pool, REPORTS_AT_ONCE))
        self.balances = PostgresBalances(pool)
        self._folding = Folding(pool)
        self.gateways = PostgresGateways(beating)

    @classmethod
    async def open(cls, url: str, clock: Clock, gateway_id: str, spill: Path) -> PostgresStore:
        """Connect, and bring the schema up to date. ``spill``: the folder of what waits for a server that is gone.

        Raises StoreError, with words on what to do.
        """
        application = f"piapi-gateway {gateway_id}"
        pool = await PostgresPool.open(url, application)
        try:
            async with pool.connection() as connection:
                made = await migrate(connection, clock.wall_ns(), pool.name)
                await require_whole(connection, pool.name)
            beating = await PostgresPool.open(url, application, 1)
            try:
                ledger = await PostgresLedger.open(pool, clock, gateway_id, spill)
            except BaseException:
                await beating.close()
                raise
            return cls(pool, beating, ledger, gateway_id, made=made)
        except BaseException:
            await pool.close()
            raise

    async def check(self, told: Callable[[str, int, int], None]) -> str:
        """The server looks after its own pages: there is nothing to look through."""
        return ""

    async def mark(self) -> None:
        """Make partitions ahead, take up what gateways left that are gone, and fold what was spent into its sums."""
        try:
            await self.ledger.care()
        except StoreError as error:
            log.warning("the store could not be looked after: %s", error)

    async def watch(self) -> str:
        """Nothing is wrong with its place: that its server is gone is told by the writers, at once. Folds sums now and
        then.
        """
        self._folding.begin_if_due()
        return ""

    async def close(self) -> None:
        await self._folding.close()
        await self.ledger.close()
        await self._beating.close()
        await self._pool.close()
