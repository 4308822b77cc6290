"""Where upstreams keep answers, in PostgreSQL. Implements ``stores.response_records.ResponsePlaceRecords``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.stores.postgres.pool import REQUEST_WITHIN, PostgresPool
from gateway.stores.postgres.writing import storable, writing
from gateway.stores.response_records import KeptPlace, Place

_KEEP = (
    "INSERT INTO response_places AS p (key, id, upstream, credential, at_ns) "
    "SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]) "
    "ON CONFLICT (key, id) DO UPDATE SET upstream = excluded.upstream, credential = excluded.credential, "
    "at_ns = greatest(p.at_ns, excluded.at_ns)"
)
_FIND = "SELECT id, upstream, credential FROM response_places WHERE key = $1 AND id = ANY($2::text[])"
_TOO_OLD = (
    "WITH old AS (SELECT key, id FROM response_places WHERE at_ns < $1 ORDER BY at_ns LIMIT $2 FOR UPDATE SKIP LOCKED) "
    "DELETE FROM response_places AS p USING old WHERE p.key = old.key AND p.id = old.id"
)
_HELD = "SELECT key, count(*) AS held FROM response_places GROUP BY key ORDER BY held DESC"
_TOO_MUCH = (
    "WITH old AS (SELECT key, id FROM response_places WHERE key = $1 ORDER BY at_ns LIMIT $2 FOR UPDATE SKIP LOCKED) "
    "DELETE FROM response_places AS p USING old WHERE p.key = old.key AND p.id = old.id"
)

_REMOVED_AT_ONCE = 500
"""Rows that leave in one transaction, so that requests hardly wait."""


class PostgresResponsePlaces:
    """The places of a database."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool

    async def keep(self, places: Sequence[KeptPlace]) -> None:
        latest: dict[tuple[str, str], tuple[str, str, int]] = {}
        for one in places:
            if storable(one.id):
                before = latest.get((one.key, one.id))
                at_ns = one.at_ns if before is None else max(before[2], one.at_ns)
                latest[one.key, one.id] = (*one.place, at_ns)
        rows = [(*name, *place) for name, place in sorted(latest.items())]  # in one order, as two may keep at once
        if rows:
            async with writing(self._pool) as connection:
                await connection.execute(_KEEP, *map(list, zip(*rows, strict=True)))

    async def find(self, key: str, ids: Sequence[str]) -> Mapping[str, Place]:
        named = [id for id in ids if storable(id)]
        if not named:
            return {}
        async with self._pool.connection(REQUEST_WITHIN) as connection:
            rows = await connection.fetch(_FIND, key, named)
        return {id: (upstream, credential) for id, upstream, credential in rows}

    async def forget(self, key: str, id: str) -> None:
        if storable(id):
            async with writing(self._pool) as connection:
                await connection.execute("DELETE FROM response_places WHERE key = $1 AND id = $2", key, id)

    async def sweep(self, before_ns: int, most: int) -> int:
        removed = 0
        while gone := await self._remove_some(before_ns, most):
            removed += gone
        return removed

    async def _remove_some(self, before_ns: int, most: int) -> int:
        """Remove some of what is too old, or of what is too much: the oldest of the key that has most."""
        async with writing(self._pool) as connection:
            if gone := _rows(await connection.execute(_TOO_OLD, before_ns, _REMOVED_AT_ONCE)):
                return gone
            held = await connection.fetch(_HELD)
            excess = sum(row["held"] for row in held) - most
            if excess <= 0:
                return 0
            return _rows(await connection.execute(_TOO_MUCH, held[0]["key"], min(excess, _REMOVED_AT_ONCE)))


def _rows(status: str) -> int:
    """How many rows a command changed: ``DELETE 5`` → 5."""
    return int(status.rpartition(" ")[2])
