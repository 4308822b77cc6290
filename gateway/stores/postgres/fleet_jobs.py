"""Jobs that several gateways have before them, in PostgreSQL. Implements ``stores.fleet_records.SharedJobRecords``.

What is decided of equal re-sends is decided under advisory locks, one of the fingerprint and one of the
Idempotency-Key, always in this order; they end with the transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from gateway.stores.fleet_records import Choose, KnownJob, Resend
from gateway.stores.job_records import MAX_JOBS, StoredJob, StoredResult, Traces, Unfinished
from gateway.stores.postgres.jobs import COLUMNS, PostgresJobs, row_of
from gateway.stores.postgres.pool import REQUEST_WITHIN, PostgresPool
from gateway.stores.postgres.writing import storable, writing

if TYPE_CHECKING:
    import asyncpg

_FIELDS = len(COLUMNS.split(", "))
_VALUES = ", ".join(f"${number}" for number in range(1, _FIELDS + 2))
_BEGIN = f"INSERT INTO jobs ({COLUMNS}, gateway) VALUES ({_VALUES})"  # noqa: S608
_KEEP = _BEGIN + (
    " ON CONFLICT (id) DO UPDATE SET state = excluded.state, ended_ns = excluded.ended_ns, "
    'exchange = excluded.exchange, "left" = excluded."left", told = jobs.told OR excluded.told, '
    "purchased = excluded.purchased, cost = excluded.cost, client_order = excluded.client_order, "
    "error = excluded.error WHERE jobs.gateway = excluded.gateway "
    "OR (jobs.state = 'unknown' AND NOT jobs.told AND excluded.state = 'completed')"
)
"""An answer that came after all to a job which was taken for unknown meanwhile is not lost."""
_KEEP_RESULT = "UPDATE jobs SET status = $1, headers = $2, body = $3, place = $4, size = $5 WHERE id = $6"

_UNDER_WAY = "state IN ('reserved', 'running')"
_READ = f"SELECT {COLUMNS} FROM jobs WHERE NOT forgotten AND "  # noqa: S608
_SINCE = _READ + f"(ended_ns >= $1 OR {_UNDER_WAY}) ORDER BY created_ns, number"
_UNFINISHED = _READ + f"{_UNDER_WAY} ORDER BY created_ns, number"
_FIND = _READ + "key = $1 AND id = $2"
_PAGE = _READ + "key = $1 AND exchange <> '' ORDER BY created_ns DESC, number DESC LIMIT $2"
_PAGE_AFTER = _READ + (  # noqa: S608
    "key = $1 AND exchange <> '' "
    "AND (created_ns, number) < (SELECT created_ns, number FROM jobs WHERE key = $1 AND id = $3) "
    "ORDER BY created_ns DESC, number DESC LIMIT $2"
)
_LATEST = (
    "WITH RECURSIVE keys (key) AS (SELECT min(key) FROM jobs WHERE $2::text IS NULL OR key = $2 "  # noqa: S608
    "UNION ALL SELECT (SELECT min(key) FROM jobs WHERE key > k.key) FROM keys AS k "
    "WHERE k.key IS NOT NULL AND $2::text IS NULL) "
    "SELECT n.* FROM keys AS k CROSS JOIN LATERAL ("
    f"SELECT {COLUMNS}, number FROM jobs WHERE key = k.key AND NOT forgotten AND exchange <> '' "
    "AND ($3::text IS NULL OR (created_ns, number) < (SELECT created_ns, number FROM jobs WHERE id = $3)) "
    "ORDER BY created_ns DESC, number DESC LIMIT $1) AS n ORDER BY created_ns DESC, number DESC LIMIT $1"
)
"""No index has the jobs of all keys by time: the newest of each key are found by its own, and of these the newest."""
_RESULT = "SELECT status, headers, body, place, size FROM jobs WHERE id = $1 AND headers IS NOT NULL AND NOT forgotten"

_KNOWN = (
    f"SELECT {COLUMNS}, gateway, "  # noqa: S608
    "delivered OR EXISTS (SELECT FROM job_waiters AS w WHERE w.job = jobs.id) AS taken, queued FROM jobs WHERE "
)
_LIKE = _KNOWN + "NOT forgotten AND key = $1 AND fingerprint = $2"
_NAMED_ALIKE = _KNOWN + "NOT forgotten AND key = $1 AND idempotency = $2"
_FORGET = (
    "WITH gone AS (SELECT id, place FROM jobs WHERE key = $1 AND id = $2 AND NOT forgotten FOR UPDATE) "
    "UPDATE jobs SET forgotten = true, headers = NULL, body = NULL, place = NULL FROM gone WHERE jobs.id = gone.id "
    "RETURNING gone.place"
)
_ABANDON = (
    f"UPDATE jobs SET state = 'unknown', ended_ns = created_ns WHERE forgotten AND {_UNDER_WAY} AND gateway = ANY ($1)"  # noqa: S608
)
"""A dead gateway's, of which none wants to hear."""
_TAKE = f"UPDATE jobs SET gateway = $1 WHERE {_UNDER_WAY} AND NOT forgotten AND gateway = ANY ($2) RETURNING {COLUMNS}"  # noqa: S608
_OWNERS = (
    f"SELECT DISTINCT gateway FROM jobs WHERE {_UNDER_WAY} AND gateway <> $1 "  # noqa: S608
    "AND NOT EXISTS (SELECT FROM gateways AS g WHERE g.id = jobs.gateway) "
    "AND EXISTS (SELECT FROM gateways AS g WHERE g.id = $1)"
)
_ANY_TO_CANCEL = f"SELECT EXISTS (SELECT FROM jobs WHERE gateway = $1 AND {_UNDER_WAY} AND cancel_asked)"  # noqa: S608
_TO_CANCEL = f"UPDATE jobs SET cancel_asked = false WHERE gateway = $1 AND {_UNDER_WAY} AND cancel_asked RETURNING id"  # noqa: S608
_WAIT_FOR_ROOM = (
    f"UPDATE jobs SET queued = (id = ANY ($2)) WHERE gateway = $1 AND {_UNDER_WAY} AND queued <> (id = ANY ($2))"  # noqa: S608
)

_SWEEP_REFUSED = (
    "DELETE FROM jobs WHERE exchange = '' "
    "AND ended_ns < (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000 - $1::bigint"
)

OF_FINGERPRINT, OF_IDEMPOTENCY = 0x6A6F62, 0x6A6F63
"""The classes of the advisory locks."""

REFUSED_KEPT_NS = 60 * 1_000_000_000
"""How long a job is kept that was never let in: those that joined it are told why."""


class FleetJobs(PostgresJobs):
    """The jobs of a database, as ``gateway`` has them before it."""

    def __init__(self, pool: PostgresPool, gateway: str) -> None:
        super().__init__(pool)
        self._gateway = gateway

    async def keep(self, job: StoredJob, result: StoredResult | None = None) -> None:
        async with writing(self._pool) as connection:
            status = await connection.execute(_KEEP, *row_of(job), self._gateway)
            if result is not None and not status.endswith(" 0"):
                values = (result.status, result.headers, result.body, result.place, result.size)
                await connection.execute(_KEEP_RESULT, *values, job.id)

    async def begin(self, job: StoredJob) -> None:
        async with writing(self._pool, REQUEST_WITHIN) as connection:
            await connection.execute(_BEGIN, *row_of(job), self._gateway)

    async def admit(self, job: StoredJob) -> bool:
        async with writing(self._pool, REQUEST_WITHIN) as connection:
            status = await connection.execute(_KEEP, *row_of(job), self._gateway)
        return not status.endswith(" 0")

    async def join(self, resend: Resend, choose: Choose, job: StoredJob | None = None) -> KnownJob | None:
        async with writing(self._pool, REQUEST_WITHIN) as connection:
            await _lock(connection, OF_FINGERPRINT, resend.key, resend.fingerprint)
            if resend.idempotency is not None:
                await _lock(connection, OF_IDEMPOTENCY, resend.key, resend.idempotency)
                rows = await connection.fetch(_NAMED_ALIKE, resend.key, resend.idempotency)
            else:
                rows = await connection.fetch(_LIKE, resend.key, resend.fingerprint)
            chosen = choose([_known(row) for row in rows])
            if chosen is not None:
                await connection.execute(
                    "INSERT INTO job_waiters (job, waiter, gateway) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                    *(chosen.job.id, resend.waiter, self._gateway),
                )
            elif job is not None:
                await connection.execute(_BEGIN, *row_of(job), self._gateway)
        return chosen

    async def leave(self, id: str, waiter: str, *, answered: bool) -> None:
        async with writing(self._pool) as connection:
            await connection.execute("DELETE FROM job_waiters WHERE job = $1 AND waiter = $2", id, waiter)
            if answered:
                await connection.execute("UPDATE jobs SET delivered = true WHERE id = $1 AND NOT delivered", id)

    async def tell(self, id: str) -> None:
        async with writing(self._pool) as connection:
            await connection.execute("UPDATE jobs SET told = true WHERE id = $1", id)

    async def known(self, ids: Collection[str]) -> list[KnownJob]:
        return await self._read_known(_KNOWN + "id = ANY ($1)", [*ids])

    async def found(self, key: str, id: str) -> KnownJob | None:
        if not storable(id):
            return None
        found = await self._read_known(_KNOWN + "NOT forgotten AND key = $1 AND id = $2", key, id)
        return found[0] if found else None

    async def ask_to_cancel(self, key: str, id: str) -> None:
        async with writing(self._pool) as connection:
            await connection.execute(
                f"UPDATE jobs SET cancel_asked = true WHERE key = $1 AND id = $2 AND {_UNDER_WAY}",  # noqa: S608
                *(key, id),
            )

    async def to_cancel(self) -> list[str]:
        async with self._pool.connection() as connection:
            if not await connection.fetchval(_ANY_TO_CANCEL, self._gateway):
                return []
        async with writing(self._pool) as connection:
            return [row["id"] for row in await connection.fetch(_TO_CANCEL, self._gateway)]

    async def wait_for_room(self, ids: Collection[str]) -> None:
        async with writing(self._pool) as connection:
            await connection.execute(_WAIT_FOR_ROOM, self._gateway, [*ids])

    async def take_over(self, dead: str) -> list[Unfinished]:
        async with writing(self._pool) as connection:
            await connection.execute("DELETE FROM job_waiters WHERE gateway = $1", dead)
            await connection.execute("DELETE FROM image_folders WHERE gateway = $1", dead)
            await connection.execute("DELETE FROM leases WHERE gateway = $1", dead)
        return await self._take([dead])

    async def take_orphans(self) -> list[Unfinished]:
        async with self._pool.connection() as connection:
            owners = [row["gateway"] for row in await connection.fetch(_OWNERS, self._gateway)]
        return await self._take(owners) if owners else []

    async def reclaim(self, id: str) -> bool:
        async with writing(self._pool) as connection:
            status = await connection.execute(
                "UPDATE jobs SET gateway = $1, state = 'running', ended_ns = NULL, error = NULL "
                "WHERE id = $2 AND state = 'unknown' AND NOT forgotten",
                *(self._gateway, id),
            )
        return not status.endswith(" 0")

    async def hand_over(self) -> None:
        async with writing(self._pool) as connection:
            await connection.execute("DELETE FROM job_waiters WHERE gateway = $1", self._gateway)
            await connection.execute("DELETE FROM leases WHERE gateway = $1", self._gateway)
            await connection.execute(f"UPDATE jobs SET gateway = '' WHERE gateway = $1 AND {_UNDER_WAY}", self._gateway)  # noqa: S608

    async def charge(self, exchange: str, cost: str) -> None:
        async with writing(self._pool) as connection:
            await connection.execute(
                "UPDATE jobs SET cost = $2 WHERE exchange = $1 AND state IN ('failed', 'unknown')", exchange, cost
            )

    async def traces(self, exchanges: Sequence[str]) -> list[Traces]:
        async with self._pool.transaction() as connection:
            return [await _traces(connection, exchange) for exchange in exchanges]

    # As every engine does it, without what is forgotten

    async def since(self, ended_ns: int) -> list[StoredJob]:
        return await self._read(_SINCE, ended_ns)

    async def unfinished(self) -> list[Unfinished]:
        async with self._pool.transaction() as connection:
            jobs = [StoredJob(*row) for row in await connection.fetch(_UNFINISHED)]
            return [await _unfinished(connection, job) for job in jobs]

    async def find(self, key: str, id: str) -> StoredJob | None:
        rows = await self._read(_FIND, key, id, within=REQUEST_WITHIN) if storable(id) else []
        return rows[0] if rows else None

    async def page(self, key: str, limit: int, after: str | None = None) -> list[StoredJob]:
        limit = max(1, min(limit, MAX_JOBS + 1))
        if after is None:
            return await self._read(_PAGE, key, limit, within=REQUEST_WITHIN)
        return await self._read(_PAGE_AFTER, key, limit, after, within=REQUEST_WITHIN) if storable(after) else []

    async def latest(self, limit: int, after: str | None = None, key: str | None = None) -> list[StoredJob]:
        if not all(storable(text) for text in (after, key) if text is not None):
            return []
        async with self._pool.connection() as connection:
            rows = await connection.fetch(_LATEST, max(1, min(limit, MAX_JOBS + 1)), key, after)
        return [StoredJob(*row[:_FIELDS]) for row in rows]

    async def result(self, id: str) -> StoredResult | None:
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(_RESULT, id) if storable(id) else None
        return None if row is None else StoredResult(*row)

    async def forget(self, key: str, id: str) -> str | None:
        if not storable(id):
            return None
        async with writing(self._pool) as connection:
            place: str | None = await connection.fetchval(_FORGET, key, id)
        return place

    async def sweep(self, ended_before_ns: int) -> list[str]:
        async with writing(self._pool) as connection:
            await connection.execute(_SWEEP_REFUSED, REFUSED_KEPT_NS)
            await connection.execute(
                "DELETE FROM job_waiters AS w WHERE NOT EXISTS (SELECT FROM jobs WHERE jobs.id = w.job)"
            )
        return await super().sweep(ended_before_ns)

    async def _take(self, owners: Sequence[str]) -> list[Unfinished]:
        async with writing(self._pool) as connection:
            await connection.execute(_ABANDON, owners)
            taken = [StoredJob(*row) for row in await connection.fetch(_TAKE, self._gateway, owners)]
            return [await _unfinished(connection, job) for job in taken]

    async def _read_known(self, sql: str, *values: object) -> list[KnownJob]:
        async with self._pool.connection(REQUEST_WITHIN) as connection:
            return [_known(row) for row in await connection.fetch(sql, *values)]


def _known(row: Sequence[Any]) -> KnownJob:
    return KnownJob(StoredJob(*row[:_FIELDS]), *row[_FIELDS:])


async def _lock(connection: asyncpg.Connection[Any], of: int, key: str, name: bytes) -> None:
    digest = hashlib.sha256(key.encode() + b"\0" + name).digest()
    number = int.from_bytes(digest[:4], "big", signed=True)
    await connection.execute("SELECT pg_advisory_xact_lock($1::int, $2::int)", of, number)


async def _traces(connection: asyncpg.Connection[Any], exchange: str) -> Traces:
    from gateway.stores.postgres.open_exchanges import tasks_of

    state = await connection.fetchval("SELECT state FROM settlements WHERE id = $1", exchange)
    return Traces(await tasks_of(connection, exchange), state or "")


async def _unfinished(connection: asyncpg.Connection[Any], job: StoredJob) -> Unfinished:
    found = await _traces(connection, job.exchange)
    return Unfinished(job, found.tasks, found.state)
