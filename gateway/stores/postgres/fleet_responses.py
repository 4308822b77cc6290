"""Responses that several gateways have before them, in PostgreSQL. Implements
``stores.fleet_records.SharedResponseRecords``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from gateway.stores.fleet_records import ResponseWish
from gateway.stores.postgres.pool import REQUEST_WITHIN, PostgresPool
from gateway.stores.postgres.responses import PostgresResponses, keep_response
from gateway.stores.postgres.writing import storable, writing
from gateway.stores.response_records import StoredResponse

_FIND = "SELECT id, key, at_ns, previous, answer, input, events, gateway FROM responses WHERE key = $1 AND id = $2"
_WISH = (
    "INSERT INTO response_wishes (id, key, wish) SELECT $2, $1, $3 WHERE EXISTS "
    "(SELECT FROM responses WHERE key = $1 AND id = $2) ON CONFLICT (id) DO UPDATE SET wish = excluded.wish"
)
_SWEEP_WISHES = "DELETE FROM response_wishes WHERE at < clock_timestamp() - interval '1 day'"


class FleetResponses(PostgresResponses):
    """The responses of a database, as ``gateway`` has them before it."""

    def __init__(self, pool: PostgresPool, gateway: str) -> None:
        super().__init__(pool)
        self._gateway = gateway

    async def keep(self, records: Sequence[StoredResponse]) -> None:
        ids = [record.id for record in records]
        async with writing(self._pool) as connection:
            unwanted = {
                row["id"]
                for row in await connection.fetch(
                    "SELECT id FROM response_wishes WHERE id = ANY ($1) AND wish = 'forget'", ids
                )
            }
            for record in records:
                if record.id not in unwanted:
                    await keep_response(connection, record)
            await connection.execute(
                "UPDATE responses SET gateway = $1 WHERE id = ANY ($2) AND gateway <> $1", self._gateway, ids
            )

    async def find(self, key: str, id: str) -> StoredResponse | None:
        if not storable(id):
            return None
        async with self._pool.connection(REQUEST_WITHIN) as connection:
            row = await connection.fetchrow(_FIND, key, id)
        return None if row is None else replace(StoredResponse(*row[:7]), gateway=row["gateway"])

    async def wish(self, key: str, id: str, wish: ResponseWish) -> None:
        if storable(id):
            async with writing(self._pool) as connection:
                await connection.execute(_WISH, key, id, wish)

    async def wishes(self, ids: Collection[str]) -> dict[str, ResponseWish]:
        async with self._pool.connection() as connection:
            rows = await connection.fetch("SELECT id, wish FROM response_wishes WHERE id = ANY ($1)", [*ids])
        return {row["id"]: row["wish"] for row in rows}

    async def sweep(self, before_ns: int, most: int) -> int:
        async with writing(self._pool) as connection:
            await connection.execute(_SWEEP_WISHES)
        return await super().sweep(before_ns, most)
