"""A store with many keys and rows, for ``bench.stalls``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path

from bench.ledger import identity, settlement
from gateway.core.types import Budget
from gateway.keys.hashing import open_pepper
from gateway.runtime.ports import SystemClock
from gateway.stores.base import Store
from gateway.stores.engines import open_store
from gateway.stores.key_records import KeySettings
from gateway.stores.records import ExchangeRecord

AT_ONCE = 500
"""Keys or rows handed over together: they share a commit."""

_HOUR_NS = 3600 * 1_000_000_000


def secret_of(number: int) -> str:
    """The key of that number; worth nothing anywhere else."""
    return f"gw-bench-{number:08}"


def fill(path: Path, keys: int, rows: int) -> None:
    """Make a store with so many keys, each with a budget, and so many settled rows of the last days."""
    asyncio.run(_fill(path, keys, rows))


async def _fill(path: Path, keys: int, rows: int) -> None:
    store = await open_store(f"sqlite:///{path}", SystemClock())
    try:
        for numbers in _together(keys):
            await asyncio.gather(*_keys(store, numbers))
        for numbers in _together(rows):
            await asyncio.gather(*(_row(store, number, rows) for number in numbers))
    finally:
        await store.close()


def _together(number: int) -> Iterator[range]:
    return (range(start, min(number, start + AT_ONCE)) for start in range(0, number, AT_ONCE))


def _keys(store: Store, numbers: range) -> Iterator[Awaitable[object]]:
    pepper = open_pepper(store.pepper_file, None, None)
    settings = KeySettings(team="growth", budget=Budget(500 * 10**9, "month"))
    for number in numbers:
        digest = pepper.digest(secret_of(number).encode())
        yield store.keys.create(f"key-{number}", digest, pepper.mark, settings, time.time_ns())


async def _row(store: Store, number: int, rows: int) -> None:
    id, at_ns = identity(number, False), time.time_ns() - (rows - number) * _HOUR_NS * 24 * 20 // rows
    key = f"key-{number % 1000}"
    await store.ledger.reserve(
        ExchangeRecord(id, at_ns, key, "growth", "/v1/chat/completions", "bench-now", f"req_{id}")
    )
    store.ledger.settle(settlement(id))
