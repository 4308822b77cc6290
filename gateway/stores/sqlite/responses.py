"""Answers of the Responses API in a file. Implements ``stores.base.ResponseRecords``."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import orjson

from gateway.stores.response_records import MAX_CHAIN, HistoryTooLong, StoredResponse
from gateway.stores.sqlite.keys import Writes
from gateway.stores.sqlite.schema import reading

_READ = "SELECT r.id, r.key, r.at_ns, r.previous, r.answer, r.input, r.events FROM "
_FIND = _READ + "responses AS r WHERE r.key = ? AND r.id = ?"
_CHAIN = (
    "WITH RECURSIVE chain (id, depth) AS (VALUES (?, 0) UNION ALL SELECT r.previous, c.depth + 1 FROM chain AS c "
    "JOIN responses AS r ON r.id = c.id WHERE r.key = ? AND r.previous IS NOT NULL AND c.depth < ?) "
)
_READ_CHAIN = _CHAIN + _READ + "chain AS c JOIN responses AS r ON r.id = c.id WHERE r.key = ? ORDER BY c.depth"
_USE_CHAIN = _CHAIN + "UPDATE responses SET used_ns = ? WHERE id IN (SELECT id FROM chain) AND used_ns < ?"  # noqa: S608
_WITH_ITEMS = _READ + (  # noqa: S608
    "responses AS r WHERE r.key = ?1 AND r.id IN "
    "(SELECT i.response FROM json_each(?3) AS named JOIN response_items AS i ON i.key = ?2 AND i.id = named.value)"
)

_REMOVED_AT_ONCE = 50
"""Responses that leave in one transaction, so that requests hardly wait."""


class SQLiteResponses:
    """The responses in a file that ``writer`` writes."""

    def __init__(self, path: Path, writer: Writes) -> None:
        self._path = path
        self._writer = writer

    async def keep(self, records: Sequence[StoredResponse]) -> None:
        def work(store: sqlite3.Connection) -> None:
            for record in records:
                _insert(store, record)

        await self._writer.write(work)

    async def find(self, key: str, id: str) -> StoredResponse | None:
        rows = await asyncio.to_thread(self._read, _FIND, (key, id))
        return rows[0] if rows else None

    async def chain(self, key: str, id: str, most: int) -> list[StoredResponse]:
        found = await asyncio.to_thread(self._read, _READ_CHAIN, (id, key, MAX_CHAIN, key), most)
        return found[::-1]

    async def with_items(self, key: str, ids: Sequence[str]) -> list[StoredResponse]:
        return await asyncio.to_thread(self._read, _WITH_ITEMS, (key, key, orjson.dumps(ids).decode()))

    async def forget(self, key: str, id: str) -> bool:
        def work(store: sqlite3.Connection) -> bool:
            gone = store.execute("DELETE FROM responses WHERE key = ? AND id = ?", (key, id)).rowcount
            store.execute("DELETE FROM response_items WHERE key = ? AND response = ?", (key, id))
            return gone > 0

        return await self._writer.write(work)

    async def sweep(self, before_ns: int, most: int) -> int:
        removed = 0
        while gone := await self._writer.write(lambda store: _remove_some(store, before_ns, most)):
            removed += gone
        return removed

    async def held(self) -> int:
        return await asyncio.to_thread(self._held)

    def _held(self) -> int:
        with reading(self._path) as store:
            (held,) = store.execute("SELECT coalesce(sum(size), 0) FROM responses").fetchone()
        return int(held)

    def _read(self, sql: str, values: tuple[object, ...], most: int | None = None) -> list[StoredResponse]:
        """The rows. Raises HistoryTooLong as soon as they have more than ``most`` bytes."""
        found: list[StoredResponse] = []
        size = 0
        with reading(self._path) as store:
            try:
                for row in store.execute(sql, values):
                    found.append(StoredResponse(*row))
                    size += found[-1].size
                    if most is not None and size > most:
                        raise HistoryTooLong
            except UnicodeEncodeError:  # a lone surrogate: no such id was ever stored
                return []
        return found


def _insert(store: sqlite3.Connection, record: StoredResponse) -> None:
    store.execute(
        "INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
        "answer = excluded.answer, input = excluded.input, events = excluded.events, size = excluded.size",
        (
            record.id,
            record.key,
            record.at_ns,
            record.at_ns,
            record.previous,
            record.answer,
            record.input,
            record.events,
            record.size,
        ),
    )
    store.executemany(
        "INSERT INTO response_items VALUES (?, ?, ?) ON CONFLICT (key, id) DO UPDATE SET response = excluded.response",
        [(record.key, item, record.id) for item in record.items],
    )
    if record.previous is not None:  # what is gone on from is in use
        store.execute(
            _USE_CHAIN,
            (record.previous, record.key, MAX_CHAIN, record.at_ns, record.at_ns),
        )


def _remove_some(store: sqlite3.Connection, before_ns: int, most: int) -> int:
    """Remove some of what is too old, or of what is too much: the oldest of the key that has most."""
    found = store.execute(
        "SELECT id FROM responses WHERE used_ns < ? ORDER BY used_ns LIMIT ?", (before_ns, _REMOVED_AT_ONCE)
    ).fetchall()
    if not found:
        found = _too_much(store, most)
    store.executemany("DELETE FROM responses WHERE id = ?", found)
    store.executemany("DELETE FROM response_items WHERE response = ?", found)
    return len(found)


def _too_much(store: sqlite3.Connection, most: int) -> list[tuple[str]]:
    held = store.execute("SELECT key, sum(size) AS held FROM responses GROUP BY key ORDER BY held DESC").fetchall()
    excess = sum(size for _, size in held) - most
    if excess <= 0:
        return []
    found = []
    oldest = store.execute(
        "SELECT id, size FROM responses WHERE key = ? ORDER BY used_ns, rowid LIMIT ?", (held[0][0], _REMOVED_AT_ONCE)
    )
    for id, size in oldest:
        found.append((id,))
        excess -= size
        if excess <= 0:
            break
    return found
