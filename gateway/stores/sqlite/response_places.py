"""Where upstreams keep what they answered, in a file. Implements ``stores.response_records.ResponsePlaceRecords``."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from gateway.stores.response_records import KeptPlace, Place
from gateway.stores.sqlite.keys import Writes
from gateway.stores.sqlite.schema import reading

_KEEP = (
    "INSERT INTO response_places VALUES (?, ?, ?, ?, ?) ON CONFLICT (key, id) DO UPDATE SET "
    "upstream = excluded.upstream, credential = excluded.credential, at_ns = max(at_ns, excluded.at_ns)"
)
_FIND = (
    "SELECT p.id, p.upstream, p.credential FROM json_each(?2) AS named "
    "JOIN response_places AS p ON p.key = ?1 AND p.id = named.value"
)

_REMOVED_AT_ONCE = 500
"""Rows that leave in one transaction, so that requests hardly wait."""


class SQLiteResponsePlaces:
    """The places in a file that ``writer`` writes."""

    def __init__(self, path: Path, writer: Writes) -> None:
        self._path = path
        self._writer = writer

    async def keep(self, places: Sequence[KeptPlace]) -> None:
        rows = [(one.key, one.id, *one.place, one.at_ns) for one in places if _can_be_written(one.id)]

        def work(store: sqlite3.Connection) -> None:
            store.executemany(_KEEP, rows)

        await self._writer.write(work)

    async def find(self, key: str, ids: Sequence[str]) -> Mapping[str, Place]:
        named = [id for id in ids if _can_be_written(id)]
        return await asyncio.to_thread(self._find, key, orjson.dumps(named).decode()) if named else {}

    async def forget(self, key: str, id: str) -> None:
        def work(store: sqlite3.Connection) -> None:
            store.execute("DELETE FROM response_places WHERE key = ? AND id = ?", (key, id))

        if _can_be_written(id):
            await self._writer.write(work)

    async def sweep(self, before_ns: int, most: int) -> int:
        removed = 0
        while gone := await self._writer.write(lambda store: _remove_some(store, before_ns, most)):
            removed += gone
        return removed

    def _find(self, key: str, ids: str) -> dict[str, Place]:
        with reading(self._path) as store:
            return {id: (upstream, credential) for id, upstream, credential in store.execute(_FIND, (key, ids))}


def _can_be_written(id: str) -> bool:
    """Whether the id is text; one with half a character in it was never kept."""
    try:
        id.encode()
    except UnicodeEncodeError:
        return False
    return True


def _remove_some(store: sqlite3.Connection, before_ns: int, most: int) -> int:
    """Remove some of what is too old, or of what is too much: the oldest of the key that has most."""
    found = store.execute(
        "SELECT key, id FROM response_places WHERE at_ns < ? ORDER BY at_ns LIMIT ?", (before_ns, _REMOVED_AT_ONCE)
    ).fetchall()
    if not found:
        held = store.execute("SELECT key, count(*) AS held FROM response_places GROUP BY key ORDER BY held DESC")
        counts = held.fetchall()
        excess = sum(count for _, count in counts) - most
        if excess <= 0:
            return 0
        found = store.execute(
            "SELECT key, id FROM response_places WHERE key = ? ORDER BY at_ns LIMIT ?",
            (counts[0][0], min(excess, _REMOVED_AT_ONCE)),
        ).fetchall()
    store.executemany("DELETE FROM response_places WHERE key = ? AND id = ?", found)
    return len(found)
