"""Messages that one of several gateways sends, in PostgreSQL: ``stores.fleet_records.SharedDeliveryRecords``."""

from __future__ import annotations

from collections.abc import Collection

from gateway.stores.delivery_records import Delivery
from gateway.stores.postgres.deliveries import COLUMNS, PostgresDeliveries
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.postgres.writing import writing

CLAIM = 120.0
"""Seconds that a message is one gateway's: longer than a try and the pause until it looks again."""

_CLAIM = (
    "WITH due AS (SELECT id FROM deliveries WHERE state = 'pending' AND id <> ALL ($2::text[]) "
    "AND webhook <> ALL ($3::text[]) AND (claimed_by = $4 OR claimed_until < clock_timestamp() "
    "OR NOT EXISTS (SELECT FROM gateways WHERE gateways.id = claimed_by)) "
    "ORDER BY next_ns, at_ns LIMIT $1 FOR UPDATE SKIP LOCKED) "
    "UPDATE deliveries SET claimed_by = $4, claimed_until = clock_timestamp() + make_interval(secs => $5) "
    "FROM due WHERE deliveries.id = due.id RETURNING deliveries.id, webhook, job, key, at_ns, state, type, body, "
    "tries, next_ns, status, reason"
)
_OVERDUE = (
    f"SELECT {COLUMNS} FROM deliveries WHERE state = 'waiting' AND NOT EXISTS "  # noqa: S608
    "(SELECT FROM jobs WHERE jobs.id = deliveries.job AND jobs.state IN ('reserved', 'running')) ORDER BY at_ns, id"
)


class FleetDeliveries(PostgresDeliveries):
    """The deliveries of a database, as ``gateway`` has them before it."""

    def __init__(self, pool: PostgresPool, gateway: str) -> None:
        super().__init__(pool)
        self._gateway = gateway

    async def to_send(self, limit: int, but: Collection[str], without: Collection[str]) -> list[Delivery]:
        async with writing(self._pool) as connection:
            rows = await connection.fetch(_CLAIM, limit, [*but], [*without], self._gateway, CLAIM)
        return sorted((Delivery(*row) for row in rows), key=lambda one: (one.next_ns, one.at_ns))

    async def awaited(self, job: str) -> bool:
        async with self._pool.connection() as connection:
            found = await connection.fetchval(
                "SELECT EXISTS (SELECT FROM deliveries WHERE job = $1 AND state = 'waiting')", job
            )
        return bool(found)

    async def overdue(self) -> list[Delivery]:
        return await self._read(_OVERDUE)
