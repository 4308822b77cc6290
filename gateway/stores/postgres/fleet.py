"""Leases of the work that one gateway does for all, and who keeps files in the folder that all share, in PostgreSQL."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from gateway.core.errors import GatewayError
from gateway.stores.fleet_records import FleetRecords
from gateway.stores.gateway_records import LEASE
from gateway.stores.postgres.fleet_deliveries import FleetDeliveries
from gateway.stores.postgres.fleet_jobs import FleetJobs
from gateway.stores.postgres.fleet_responses import FleetResponses
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.postgres.writing import writing

log = logging.getLogger("gateway.stores")

_HOLD = (
    "INSERT INTO leases AS l (name, gateway, until) "
    "VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3)) ON CONFLICT (name) DO UPDATE "
    "SET gateway = excluded.gateway, until = excluded.until "
    "WHERE l.gateway = excluded.gateway OR l.until < clock_timestamp()"
)
_LIVING = (
    "SELECT f.gateway FROM image_folders AS f JOIN gateways AS g ON g.id = f.gateway "
    "WHERE f.gateway <> $1 AND g.seen_at > clock_timestamp() - make_interval(secs => $2)"
)


class PostgresLeases:
    """Implements ``stores.fleet_records.Leases``."""

    def __init__(self, pool: PostgresPool, gateway: str) -> None:
        self._pool = pool
        self._gateway = gateway

    async def hold(self, name: str, seconds: float) -> bool:
        try:
            async with writing(self._pool) as connection:
                status = await connection.execute(_HOLD, name, self._gateway, seconds)
        except GatewayError as error:
            log.warning("a lease could not be asked for: %s", error.message)
            return False
        return not status.endswith(" 0")


class PostgresImageFolders:
    """Implements ``stores.fleet_records.ImageFolders``."""

    def __init__(self, pool: PostgresPool, gateway: str) -> None:
        self._pool = pool
        self._gateway = gateway

    async def enter(self, found: Callable[[Collection[str]], bool]) -> list[str]:
        async with self._pool.transaction() as connection:
            await connection.execute("LOCK TABLE image_folders IN SHARE ROW EXCLUSIVE MODE")
            living = [row["gateway"] for row in await connection.fetch(_LIVING, self._gateway, LEASE)]
            if not found(living):
                return living
            await connection.execute(
                "INSERT INTO image_folders (gateway) VALUES ($1) ON CONFLICT DO NOTHING", self._gateway
            )
        return []

    async def leave(self) -> None:
        async with self._pool.connection() as connection:
            await connection.execute("DELETE FROM image_folders WHERE gateway = $1", self._gateway)


def fleet_records(pool: PostgresPool, gateway: str) -> FleetRecords:
    """What gateways know of one another's work, as ``gateway`` has it before it."""
    return FleetRecords(
        gateway,
        FleetJobs(pool, gateway),
        FleetResponses(pool, gateway),
        FleetDeliveries(pool, gateway),
        PostgresLeases(pool, gateway),
        PostgresImageFolders(pool, gateway),
    )
