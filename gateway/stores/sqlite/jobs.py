"""Jobs in a file. Implements ``stores.base.JobRecords``."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.stores.job_records import MAX_JOBS, StoredJob, StoredResult, Traces, Unfinished
from gateway.stores.sqlite.keys import Writes
from gateway.stores.sqlite.open_exchanges import tasks_of
from gateway.stores.sqlite.schema import reading

_COLUMNS = (
    "id, key, team, route, model, fingerprint, idempotency, exchange, request_id, stream, created_ns, state, ended_ns, "
    '"left", told, purchased, cost, client_order, error'
)
_READ = f"SELECT {_COLUMNS} FROM jobs "  # noqa: S608
_OVER = "('completed', 'failed', 'unknown', 'cancelled')"
_SINCE = _READ + f"WHERE ended_ns >= ? OR state NOT IN {_OVER} ORDER BY created_ns, rowid"
_UNFINISHED = _READ + f"WHERE state NOT IN {_OVER} ORDER BY created_ns, rowid"
_FIND = _READ + "WHERE key = ? AND id = ?"
_PAGE = _READ + "WHERE key = ? ORDER BY created_ns DESC, rowid DESC LIMIT ?"
_PAGE_AFTER = _READ + (  # noqa: S608
    "WHERE key = ?1 AND (created_ns, rowid) < (SELECT created_ns, rowid FROM jobs WHERE key = ?1 AND id = ?3) "
    "ORDER BY created_ns DESC, rowid DESC LIMIT ?2"
)
_LATEST = _READ + (  # noqa: S608
    "WHERE rowid IN (SELECT rowid FROM jobs INDEXED BY jobs_by_key "
    "WHERE ?2 IS NULL OR (created_ns, rowid) < (SELECT created_ns, rowid FROM jobs WHERE id = ?2) "
    "ORDER BY created_ns DESC, rowid DESC LIMIT ?1) ORDER BY created_ns DESC, rowid DESC"
)
"""The index has all that this goes by, so that of jobs with large answers it reads no more than it returns."""
_LATEST_OF_KEY = _READ + (  # noqa: S608
    "WHERE key = ?3 AND (?2 IS NULL OR (created_ns, rowid) < (SELECT created_ns, rowid FROM jobs WHERE id = ?2)) "
    "ORDER BY created_ns DESC, rowid DESC LIMIT ?1"
)
_KEEP = (
    f"INSERT INTO jobs ({_COLUMNS}) VALUES ({', '.join('?' * 19)}) ON CONFLICT (id) DO UPDATE SET "  # noqa: S608
    'state = excluded.state, ended_ns = excluded.ended_ns, "left" = excluded."left", told = excluded.told, '
    "purchased = excluded.purchased, cost = excluded.cost, client_order = excluded.client_order, error = excluded.error"
)
_KEEP_RESULT = "UPDATE jobs SET status = ?, headers = ?, body = ?, place = ?, size = ? WHERE id = ?"

_REMOVED_AT_ONCE = 50
"""Jobs that leave in one transaction, so that requests hardly wait."""


class SQLiteJobs:
    """The jobs in a file that ``writer`` writes."""

    def __init__(self, path: Path, writer: Writes) -> None:
        self._path = path
        self._writer = writer

    async def keep(self, job: StoredJob, result: StoredResult | None = None) -> None:
        def work(store: sqlite3.Connection) -> None:
            store.execute(_KEEP, _row(job))
            if result is not None:
                values = (result.status, result.headers, result.body, result.place, result.size)
                store.execute(_KEEP_RESULT, (*values, job.id))

        await self._writer.write(work)

    async def since(self, ended_ns: int) -> list[StoredJob]:
        return await asyncio.to_thread(self._read, _SINCE, (ended_ns,))

    async def unfinished(self) -> list[Unfinished]:
        return await asyncio.to_thread(self._read_unfinished)

    async def traces(self, exchanges: Sequence[str]) -> list[Traces]:
        return await asyncio.to_thread(self._read_traces, exchanges)

    async def find(self, key: str, id: str) -> StoredJob | None:
        rows = await asyncio.to_thread(self._read, _FIND, (key, id))
        return rows[0] if rows else None

    async def page(self, key: str, limit: int, after: str | None = None) -> list[StoredJob]:
        limit = max(1, min(limit, MAX_JOBS + 1))
        if after is None:
            return await asyncio.to_thread(self._read, _PAGE, (key, limit))
        return await asyncio.to_thread(self._read, _PAGE_AFTER, (key, limit, after))

    async def latest(self, limit: int, after: str | None = None, key: str | None = None) -> list[StoredJob]:
        limit = max(1, min(limit, MAX_JOBS + 1))
        if key is None:
            return await asyncio.to_thread(self._read, _LATEST, (limit, after))
        return await asyncio.to_thread(self._read, _LATEST_OF_KEY, (limit, after, key))

    async def result(self, id: str) -> StoredResult | None:
        return await asyncio.to_thread(self._read_result, id)

    async def forget(self, key: str, id: str) -> str | None:
        def work(store: sqlite3.Connection) -> str | None:
            found = store.execute("DELETE FROM jobs WHERE key = ? AND id = ? RETURNING place", (key, id)).fetchone()
            return None if found is None else found[0]

        return await self._writer.write(work)

    async def sweep(self, ended_before_ns: int) -> list[str]:
        def work(store: sqlite3.Connection) -> list[tuple[str | None]]:
            return store.execute(
                "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE ended_ns < ? ORDER BY ended_ns LIMIT ?) "
                "RETURNING place",
                (ended_before_ns, _REMOVED_AT_ONCE),
            ).fetchall()

        places: list[str] = []
        while gone := await self._writer.write(work):
            places += [place for (place,) in gone if place is not None]
        return places

    async def places(self) -> frozenset[str]:
        return await asyncio.to_thread(self._read_places)

    def _read(self, sql: str, values: tuple[object, ...]) -> list[StoredJob]:
        with reading(self._path) as store:
            try:
                return [_job(row) for row in store.execute(sql, values)]
            except UnicodeEncodeError:  # a lone surrogate: no such id was ever stored
                return []

    def _read_unfinished(self) -> list[Unfinished]:
        with reading(self._path) as store:
            jobs = [_job(row) for row in store.execute(_UNFINISHED)]
            return [Unfinished(job, tasks_of(store, job.exchange), _state(store, job.exchange)) for job in jobs]

    def _read_traces(self, exchanges: Sequence[str]) -> list[Traces]:
        with reading(self._path) as store:
            return [Traces(tasks_of(store, exchange), _state(store, exchange)) for exchange in exchanges]

    def _read_result(self, id: str) -> StoredResult | None:
        with reading(self._path) as store:
            row = store.execute(
                "SELECT status, headers, body, place, size FROM jobs WHERE id = ? AND headers IS NOT NULL", (id,)
            ).fetchone()
        return None if row is None else StoredResult(*row)

    def _read_places(self) -> frozenset[str]:
        with reading(self._path) as store:
            return frozenset(place for (place,) in store.execute("SELECT place FROM jobs WHERE place IS NOT NULL"))


def _row(job: StoredJob) -> Sequence[object]:
    return (
        *(job.id, job.key, job.team, job.route, job.model, job.fingerprint, job.idempotency, job.exchange),
        *(job.request_id, job.stream, job.created_ns, job.state, job.ended_ns, job.left, job.told, job.purchased),
        *(job.cost, job.order, job.error),
    )


def _job(row: tuple[Any, ...]) -> StoredJob:
    job = StoredJob(*row)
    return replace(
        job, stream=bool(job.stream), left=bool(job.left), told=bool(job.told), purchased=bool(job.purchased)
    )


def _state(store: sqlite3.Connection, exchange: str) -> str:
    row = store.execute("SELECT state FROM settlements WHERE id = ?", (exchange,)).fetchone()
    return "" if row is None else str(row[0])
