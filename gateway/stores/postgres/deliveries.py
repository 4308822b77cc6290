"""What webhooks are told of jobs, in PostgreSQL. Implements ``stores.delivery_records.DeliveryRecords``."""

from __future__ import annotations

from collections.abc import Collection

from gateway.stores.delivery_records import Delivery
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.postgres.writing import as_storable, storable, writing

COLUMNS = "id, webhook, job, key, at_ns, state, type, body, tries, next_ns, status, reason"
_READ = f"SELECT {COLUMNS} FROM deliveries "  # noqa: S608
_EXPECT = (
    "INSERT INTO deliveries (id, webhook, job, key, at_ns, state, type, body, tries, next_ns, status, reason, "
    "changed_ns) VALUES ($1, $2, $3, $4, $5, 'waiting', '', '', 0, 0, 0, '', $5) ON CONFLICT (job, webhook) DO NOTHING"
)
_POST = (
    "UPDATE deliveries SET state = 'pending', type = $2, body = $3, next_ns = $4, changed_ns = $4 "
    "WHERE job = $1 AND state = 'waiting'"
)
_TO_SEND = _READ + (
    "WHERE state = 'pending' AND id <> ALL($2::text[]) AND webhook <> ALL($3::text[]) ORDER BY next_ns, at_ns LIMIT $1"
)
_TRIED = (
    "UPDATE deliveries SET state = $2, tries = $3, next_ns = $4, status = $5, reason = $6, changed_ns = $7 "
    "WHERE id = $1"
)
_WAITING = _READ + "WHERE state = 'waiting' ORDER BY at_ns, id"
_PAGE = _READ + (  # noqa: S608
    "WHERE ($1 = '' OR (at_ns, id) < (SELECT at_ns, id FROM deliveries WHERE id = $1)) AND ($2 = '' OR webhook = $2) "
    "AND ($3 = '' OR state = $3) AND ($4 = '' OR job = $4) ORDER BY at_ns DESC, id DESC LIMIT $5"
)
_SWEEP = (
    "DELETE FROM deliveries WHERE at_ns < $2 OR (state IN ('told', 'failed') AND (changed_ns < $1 OR id IN "
    "(SELECT id FROM deliveries WHERE state IN ('told', 'failed') ORDER BY changed_ns DESC OFFSET $3)))"
)


class PostgresDeliveries:
    """The deliveries of a database."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool

    async def expect(self, delivery: Delivery) -> None:
        async with writing(self._pool) as connection:
            await connection.execute(_EXPECT, delivery.id, delivery.webhook, delivery.job, delivery.key, delivery.at_ns)

    async def post(self, job: str, type: str, body: bytes, now_ns: int) -> int:
        async with writing(self._pool) as connection:
            return _rows(await connection.execute(_POST, job, type, body, now_ns))

    async def to_send(self, limit: int, but: Collection[str], without: Collection[str]) -> list[Delivery]:
        return await self._read(_TO_SEND, limit, [*but], [*without])

    async def tried(self, delivery: Delivery, now_ns: int) -> None:
        told = delivery
        async with writing(self._pool) as connection:
            await connection.execute(
                _TRIED, told.id, told.state, told.tries, told.next_ns, told.status, as_storable(told.reason), now_ns
            )

    async def waiting(self) -> list[Delivery]:
        return await self._read(_WAITING)

    async def page(
        self, limit: int, after: str = "", *, webhook: str = "", state: str = "", job: str = ""
    ) -> list[Delivery]:
        given = (after, webhook, state, job)
        return await self._read(_PAGE, *given, limit) if all(map(storable, given)) else []

    async def sweep(self, over_ns: int, asked_ns: int, most: int) -> int:
        async with writing(self._pool) as connection:
            return _rows(await connection.execute(_SWEEP, over_ns, asked_ns, most))

    async def _read(self, sql: str, *values: object) -> list[Delivery]:
        async with self._pool.connection() as connection:
            return [Delivery(*row) for row in await connection.fetch(sql, *values)]


def _rows(status: str) -> int:
    """How many rows a command changed: ``UPDATE 5`` → 5."""
    return int(status.rpartition(" ")[2])
