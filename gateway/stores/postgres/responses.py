"""Answers of the Responses API in PostgreSQL. Implements ``stores.response_records.ResponseRecords``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gateway.stores.postgres.pool import REQUEST_WITHIN, PostgresPool
from gateway.stores.postgres.writing import storable, writing
from gateway.stores.response_records import MAX_CHAIN, HistoryTooLong, StoredResponse

if TYPE_CHECKING:
    import asyncpg

_READ = "SELECT r.id, r.key, r.at_ns, r.previous, r.answer, r.input, r.events FROM "
_FIND = _READ + "responses AS r WHERE r.key = $1 AND r.id = $2"
_CHAIN = (
    "WITH RECURSIVE chain (id, previous, size, depth) AS ("
    "SELECT r.id, r.previous, r.size, 0 FROM responses AS r WHERE r.key = $1 AND r.id = $2 "
    "UNION ALL SELECT r.id, r.previous, c.size + r.size, c.depth + 1 FROM chain AS c "
    "JOIN responses AS r ON r.id = c.previous WHERE r.key = $1 AND c.depth < $3 AND c.size <= $4) "
)
"""``size``: bytes of a response and of all before it on the way back. One more than fits is found, and no more."""
_READ_CHAIN = _CHAIN + _READ + "chain AS c JOIN responses AS r ON r.id = c.id ORDER BY c.depth DESC"
_USE_CHAIN = (
    "WITH RECURSIVE chain (id, previous, depth) AS ("
    "SELECT r.id, r.previous, 0 FROM responses AS r WHERE r.key = $1 AND r.id = $2 "
    "UNION ALL SELECT r.id, r.previous, c.depth + 1 FROM chain AS c "
    "JOIN responses AS r ON r.id = c.previous WHERE r.key = $1 AND c.depth < $3), "
    "used AS (SELECT id FROM responses WHERE id IN (SELECT id FROM chain) AND used_ns < $4 ORDER BY id FOR UPDATE) "
    "UPDATE responses SET used_ns = $4 WHERE id IN (SELECT id FROM used)"
)
_WITH_ITEMS = _READ + (  # noqa: S608
    "responses AS r WHERE r.key = $1 AND r.id IN "
    "(SELECT i.response FROM response_items AS i WHERE i.key = $1 AND i.id = ANY($2::text[]))"
)
_KEEP = (
    "INSERT INTO responses (id, key, at_ns, used_ns, previous, answer, input, events, size) "
    "VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO UPDATE SET "
    "answer = excluded.answer, input = excluded.input, events = excluded.events, size = excluded.size"
)
_KEEP_ITEMS = (
    "INSERT INTO response_items (key, id, response) SELECT $1, named.id, $3 FROM unnest($2::text[]) AS named (id) "
    "ON CONFLICT (key, id) DO UPDATE SET response = excluded.response"
)

_REMOVED_AT_ONCE = 50
"""Responses that leave in one transaction, so that requests hardly wait."""

_TOO_OLD = "SELECT id FROM responses WHERE used_ns < $1 ORDER BY used_ns LIMIT $2 FOR UPDATE SKIP LOCKED"
_HELD = "SELECT key, sum(size)::bigint AS held FROM responses GROUP BY key ORDER BY held DESC"
_OLDEST = "SELECT id, size FROM responses WHERE key = $1 ORDER BY used_ns, number LIMIT $2"


class PostgresResponses:
    """The responses of a database."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool

    async def keep(self, records: Sequence[StoredResponse]) -> None:
        async with writing(self._pool) as connection:
            for record in records:
                await keep_response(connection, record)

    async def find(self, key: str, id: str) -> StoredResponse | None:
        rows = await self._read(_FIND, key, id) if storable(id) else []
        return rows[0] if rows else None

    async def chain(self, key: str, id: str, most: int) -> list[StoredResponse]:
        found = await self._read(_READ_CHAIN, key, id, MAX_CHAIN, most) if storable(id) else []
        if sum(one.size for one in found) > most:
            raise HistoryTooLong
        return found

    async def with_items(self, key: str, ids: Sequence[str]) -> list[StoredResponse]:
        return await self._read(_WITH_ITEMS, key, [id for id in ids if storable(id)])

    async def forget(self, key: str, id: str) -> bool:
        if not storable(id):
            return False
        async with writing(self._pool) as connection:
            gone = await connection.fetchval("DELETE FROM responses WHERE key = $1 AND id = $2 RETURNING 1", key, id)
            await connection.execute("DELETE FROM response_items WHERE key = $1 AND response = $2", key, id)
        return gone is not None

    async def sweep(self, before_ns: int, most: int) -> int:
        removed = 0
        while gone := await self._remove_some(before_ns, most):
            removed += gone
        return removed

    async def held(self) -> int:
        async with self._pool.connection() as connection:
            return int(await connection.fetchval("SELECT coalesce(sum(size), 0)::bigint FROM responses"))

    async def _read(self, sql: str, *values: object) -> list[StoredResponse]:
        async with self._pool.connection(REQUEST_WITHIN) as connection:
            return [StoredResponse(*row) for row in await connection.fetch(sql, *values)]

    async def _remove_some(self, before_ns: int, most: int) -> int:
        """Remove some of what is too old, or of what is too much: the oldest of the key that has most."""
        async with writing(self._pool) as connection:
            found = [row[0] for row in await connection.fetch(_TOO_OLD, before_ns, _REMOVED_AT_ONCE)]
            if not found:
                found = await _too_much(connection, most)
            if found:
                await connection.execute("DELETE FROM response_items WHERE response = ANY($1::text[])", found)
                await connection.execute("DELETE FROM responses WHERE id = ANY($1::text[])", found)
        return len(found)


async def keep_response(connection: asyncpg.Connection[Any], record: StoredResponse) -> None:
    """Write one, within a transaction; one that is there already is written anew."""
    blobs = (record.answer, record.input, record.events)
    await connection.execute(_KEEP, record.id, record.key, record.at_ns, record.previous, *blobs, record.size)
    if items := sorted({item for item in record.items if storable(item)}):
        await connection.execute(_KEEP_ITEMS, record.key, items, record.id)
    if record.previous is not None:  # what is gone on from is in use
        await connection.execute(_USE_CHAIN, record.key, record.previous, MAX_CHAIN, record.at_ns)


async def _too_much(connection: asyncpg.Connection[Any], most: int) -> list[str]:
    held = await connection.fetch(_HELD)
    excess = sum(row["held"] for row in held) - most
    if excess <= 0:
        return []
    found = []
    for id, size in await connection.fetch(_OLDEST, held[0]["key"], _REMOVED_AT_ONCE):
        found.append(id)
        excess -= size
        if excess <= 0:
            break
    return found
