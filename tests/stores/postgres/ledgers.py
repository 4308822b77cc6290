"""Stores of gateways that share a PostgreSQL, and a look at its tables."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from gateway.app.assembly import new_gateway_id
from gateway.core.errors import GatewayFault
from gateway.stores.postgres.ledger import PostgresLedger
from gateway.stores.postgres.store import PostgresStore
from gateway.stores.records import ExchangeRecord
from tests.stores.makers import StoppedClock, intent, released, settlement, until

__all__ = ["intent", "released", "settlement", "until"]

NOW = StoppedClock().wall_ns()


async def open_books(url: str, folder: Path, gateway: str = "") -> PostgresStore:
    """The store, opened by a gateway of that id."""
    return await PostgresStore.open(url, StoppedClock(), gateway or new_gateway_id(), folder / "spill")


@asynccontextmanager
async def books(url: str, folder: Path, gateway: str = "") -> AsyncIterator[PostgresLedger]:
    """The ledger of a gateway, until the end."""
    store = await open_books(url, folder, gateway)
    try:
        yield store.ledger
    finally:
        await store.close()


async def rows(url: str, query: str, *arguments: Any) -> list[Any]:
    """Rows as tuples; of one column its values."""
    connection = await asyncpg.connect(url)
    try:
        found = [tuple(row) for row in await connection.fetch(query, *arguments)]
    finally:
        await connection.close()
    return [row[0] if len(row) == 1 else row for row in found]


async def refused(ledger: PostgresLedger, intended: ExchangeRecord) -> bool:
    """Whether the intent is answered with 503, and told when to come again."""
    try:
        await ledger.reserve(intended)
    except GatewayFault as error:
        return (error.status, error.code, bool(error.retry_after)) == (503, "ledger_unavailable", True)
    return False


async def known_in(url: str, gateway: str, host: str = "another") -> None:
    """Have a gateway stand among those that share the store, as one that serves does."""
    await rows(
        url,
        "INSERT INTO gateways (id, started_at_ns, seen_at, version, hostname, pid, main_url, admin_url, in_flight, "
        "sees) VALUES ($1, 0, now(), '', $2, 1, '', '', 0, '{}')",
        gateway,
        host,
    )


def spilled(folder: Path) -> str:
    """All that lies in spill files."""
    return "".join(
        path.read_bytes().partition(b"\0")[0].decode() for path in sorted((folder / "spill").glob("*.spill"))
    )


def child(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A process of its own that runs ``script``."""
    return subprocess.Popen([sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def quickly(true: Any, seconds: float = 20.0) -> None:
    """Wait for what another side brings about; ``true`` is a coroutine function."""
    async with asyncio.timeout(seconds):
        while not await true():
            await asyncio.sleep(0.01)
