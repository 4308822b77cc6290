"""What webhooks are told of jobs, in a file. Implements ``stores.base.DeliveryRecords``."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Collection
from pathlib import Path

import orjson

from gateway.stores.delivery_records import Delivery
from gateway.stores.sqlite.keys import Writes
from gateway.stores.sqlite.schema import reading

_EXPECT = (
    "INSERT INTO deliveries (id, webhook, job, key, at_ns, state, type, body, tries, next_ns, status, reason, "
    "changed_ns) VALUES (?, ?, ?, ?, ?, 'waiting', '', X'', 0, 0, 0, '', ?) ON CONFLICT (job, webhook) DO NOTHING"
)
_POST = (
    "UPDATE deliveries SET state = 'pending', type = ?, body = ?, next_ns = ?, changed_ns = ? "
    "WHERE job = ? AND state = 'waiting'"
)
_TO_SEND = (
    "SELECT id, webhook, job, key, at_ns, state, type, body, tries, next_ns, status, reason FROM deliveries "
    "WHERE state = 'pending' AND id NOT IN (SELECT value FROM json_each(?)) "
    "AND webhook NOT IN (SELECT value FROM json_each(?)) ORDER BY next_ns, at_ns LIMIT ?"
)
_TRIED = "UPDATE deliveries SET state = ?, tries = ?, next_ns = ?, status = ?, reason = ?, changed_ns = ? WHERE id = ?"
_WAITING = (
    "SELECT id, webhook, job, key, at_ns, state, type, body, tries, next_ns, status, reason FROM deliveries "
    "WHERE state = 'waiting' ORDER BY at_ns, id"
)
_PAGE = (
    "SELECT id, webhook, job, key, at_ns, state, type, body, tries, next_ns, status, reason FROM deliveries "
    "WHERE (?1 = '' OR (at_ns, id) < (SELECT at_ns, id FROM deliveries WHERE id = ?1)) AND (?2 = '' OR webhook = ?2) "
    "AND (?3 = '' OR state = ?3) AND (?4 = '' OR job = ?4) ORDER BY at_ns DESC, id DESC LIMIT ?5"
)
_SWEEP = (
    "DELETE FROM deliveries WHERE at_ns < ?2 OR (state IN ('told', 'failed') AND (changed_ns < ?1 OR id IN "
    "(SELECT id FROM deliveries WHERE state IN ('told', 'failed') ORDER BY changed_ns DESC LIMIT -1 OFFSET ?3)))"
)


class SQLiteDeliveries:
    """The deliveries in a file that ``writer`` writes."""

    def __init__(self, path: Path, writer: Writes) -> None:
        self._path = path
        self._writer = writer

    async def expect(self, delivery: Delivery) -> None:
        values = (delivery.id, delivery.webhook, delivery.job, delivery.key, delivery.at_ns, delivery.at_ns)
        await self._writer.write(lambda store: store.execute(_EXPECT, values))

    async def post(self, job: str, type: str, body: bytes, now_ns: int) -> int:
        def work(store: sqlite3.Connection) -> int:
            return store.execute(_POST, (type, body, now_ns, now_ns, job)).rowcount

        return await self._writer.write(work)

    async def to_send(self, limit: int, but: Collection[str], without: Collection[str]) -> list[Delivery]:
        values = (orjson.dumps([*but]).decode(), orjson.dumps([*without]).decode(), limit)
        return await asyncio.to_thread(self._read, _TO_SEND, values)

    async def tried(self, delivery: Delivery, now_ns: int) -> None:
        told = delivery
        values = (told.state, told.tries, told.next_ns, told.status, told.reason, now_ns, told.id)
        await self._writer.write(lambda store: store.execute(_TRIED, values))

    async def waiting(self) -> list[Delivery]:
        return await asyncio.to_thread(self._read, _WAITING, ())

    async def page(
        self, limit: int, after: str = "", *, webhook: str = "", state: str = "", job: str = ""
    ) -> list[Delivery]:
        return await asyncio.to_thread(self._read, _PAGE, (after, webhook, state, job, limit))

    async def sweep(self, over_ns: int, asked_ns: int, most: int) -> int:
        def work(store: sqlite3.Connection) -> int:
            return store.execute(_SWEEP, (over_ns, asked_ns, most)).rowcount

        return await self._writer.write(work)

    def _read(self, sql: str, values: tuple[object, ...]) -> list[Delivery]:
        with reading(self._path) as store:
            return [Delivery(*row) for row in store.execute(sql, values)]
