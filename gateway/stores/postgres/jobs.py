"""Jobs in PostgreSQL. Implements ``stores.job_records.JobRecords``."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.stores.job_records import MAX_JOBS, StoredJob, StoredResult, Unfinished
from gateway.stores.postgres.open_exchanges import tasks_of
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.postgres.writing import as_storable, storable, writing

COLUMNS = (
    "id, key, team, route, model, fingerprint, idempotency, exchange, request_id, stream, created_ns, state, ended_ns, "
    '"left", told, purchased, cost, client_order, error'
)
"""In the order of the fields of StoredJob."""

_READ = f"SELECT {COLUMNS} FROM jobs "  # noqa: S608
_UNDER_WAY = "state IN ('reserved', 'running')"
_SINCE = _READ + f"WHERE ended_ns >= $1 OR {_UNDER_WAY} ORDER BY created_ns, number"
_UNFINISHED = _READ + f"WHERE {_UNDER_WAY} ORDER BY created_ns, number"
_STATES = "SELECT id, state FROM settlements WHERE id = ANY($1::text[])"
_FIND = _READ + "WHERE key = $1 AND id = $2"
_PAGE = _READ + "WHERE key = $1 ORDER BY created_ns DESC, number DESC LIMIT $2"
_PAGE_AFTER = _READ + (  # noqa: S608
    "WHERE key = $1 AND (created_ns, number) < (SELECT created_ns, number FROM jobs WHERE key = $1 AND id = $3) "
    "ORDER BY created_ns DESC, number DESC LIMIT $2"
)
_KEEP = (
    f"INSERT INTO jobs ({COLUMNS}) VALUES ({', '.join(f'${number}' for number in range(1, 20))}) "  # noqa: S608
    "ON CONFLICT (id) DO UPDATE SET "
    'state = excluded.state, ended_ns = excluded.ended_ns, "left" = excluded."left", told = excluded.told, '
    "purchased = excluded.purchased, cost = excluded.cost, client_order = excluded.client_order, error = excluded.error"
)
_KEEP_RESULT = "UPDATE jobs SET status = $1, headers = $2, body = $3, place = $4, size = $5 WHERE id = $6"
_SWEEP = (
    "DELETE FROM jobs WHERE id IN "
    "(SELECT id FROM jobs WHERE ended_ns < $1 ORDER BY ended_ns LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING place"
)
_RESULT = "SELECT status, headers, body, place, size FROM jobs WHERE id = $1 AND headers IS NOT NULL"

_REMOVED_AT_ONCE = 50
"""Jobs that leave in one transaction, so that requests hardly wait."""


class PostgresJobs:
    """The jobs of a database."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool

    async def keep(self, job: StoredJob, result: StoredResult | None = None) -> None:
        async with writing(self._pool) as connection:
            await connection.execute(_KEEP, *row_of(job))
            if result is not None:
                values = (result.status, result.headers, result.body, result.place, result.size)
                await connection.execute(_KEEP_RESULT, *values, job.id)

    async def since(self, ended_ns: int) -> list[StoredJob]:
        return await self._read(_SINCE, ended_ns)

    async def unfinished(self) -> list[Unfinished]:
        async with self._pool.transaction() as connection:
            jobs = [StoredJob(*row) for row in await connection.fetch(_UNFINISHED)]
            states = dict(await connection.fetch(_STATES, [job.exchange for job in jobs]))
            return [
                Unfinished(job, await tasks_of(connection, job.exchange), states.get(job.exchange, "")) for job in jobs
            ]

    async def find(self, key: str, id: str) -> StoredJob | None:
        rows = await self._read(_FIND, key, id) if storable(id) else []
        return rows[0] if rows else None

    async def page(self, key: str, limit: int, after: str | None = None) -> list[StoredJob]:
        limit = max(1, min(limit, MAX_JOBS + 1))
        if after is None:
            return await self._read(_PAGE, key, limit)
        return await self._read(_PAGE_AFTER, key, limit, after) if storable(after) else []

    async def result(self, id: str) -> StoredResult | None:
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(_RESULT, id) if storable(id) else None
        return None if row is None else StoredResult(*row)

    async def forget(self, key: str, id: str) -> str | None:
        if not storable(id):
            return None
        async with writing(self._pool) as connection:
            place: str | None = await connection.fetchval(
                "DELETE FROM jobs WHERE key = $1 AND id = $2 RETURNING place", key, id
            )
        return place

    async def sweep(self, ended_before_ns: int) -> list[str]:
        places: list[str] = []
        while True:
            async with writing(self._pool) as connection:
                gone = await connection.fetch(_SWEEP, ended_before_ns, _REMOVED_AT_ONCE)
            if not gone:
                return places
            places += [row["place"] for row in gone if row["place"] is not None]

    async def places(self) -> frozenset[str]:
        async with self._pool.connection() as connection:
            rows = await connection.fetch("SELECT place FROM jobs WHERE place IS NOT NULL")
        return frozenset(row["place"] for row in rows)

    async def _read(self, sql: str, *values: object, within: float | None = None) -> list[StoredJob]:
        async with self._pool.connection(within) as connection:
            return [StoredJob(*row) for row in await connection.fetch(sql, *values)]


def row_of(job: StoredJob) -> Sequence[object]:
    """The values of COLUMNS."""
    return (
        *(job.id, job.key, job.team, job.route, as_storable(job.model), job.fingerprint, job.idempotency, job.exchange),
        *(
            as_storable(job.request_id),
            job.stream,
            job.created_ns,
            job.state,
            job.ended_ns,
            job.left,
            job.told,
            job.purchased,
        ),
        *(job.cost, job.order, job.error),
    )
