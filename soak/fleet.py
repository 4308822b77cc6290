"""A fleet of gateways, each in a process of its own, on one PostgreSQL and one Valkey: real ones, started here."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from gateway.sandbox import Sandbox
from soak import process
from soak.audit import Row
from soak.books import row_of
from tests.engines import PostgresServer, ValkeyServer
from tests.engines.child import free_port

CLOSED_WITHIN = 60.0
"""Seconds within which every row is closed once nothing is asked any more: a dead gateway's lease, and more."""

_ROWS = """
SELECT i.id, i.request_id, i.key, coalesce(s.state, 'open'), coalesce(s.confidence, ''), coalesce(s.charged, 0),
    i.reserved, coalesce(s.attempts::text, '[]'), c.state, c.charged, i.paid_by
FROM intents AS i
LEFT JOIN settlements AS s ON s.id = i.id
LEFT JOIN corrections AS c ON c.id = i.id
ORDER BY i.at_ns, i.id
"""
_OPEN = "SELECT count(*) FROM intents AS i LEFT JOIN settlements AS s ON s.id = i.id WHERE s.id IS NULL"


class Fleet:
    """``size`` gateways that can be killed, stopped and started one by one. ``document``: the configuration of all.

    ``postgres``, ``valkey``: the engines. ``store``: the URL of the books.
    """

    def __init__(
        self, folder: Path, size: int, postgres: PostgresServer, valkey: ValkeyServer, document: Mapping[str, Any]
    ) -> None:
        self.postgres = postgres
        self.valkey = valkey
        self.store = postgres.new_database()
        self._folder = folder
        self._size = size
        self._document = document
        self._running: dict[int, process.Process] = {}
        self._lives: dict[int, AsyncExitStack] = {}

    async def __aenter__(self) -> Fleet:
        self._folder.mkdir(parents=True, exist_ok=True)
        shared = {
            **self._document,
            "store": self.store,
            "shared_state": self.valkey.url,
            "images": {**self._document.get("images", {}), "dir": str(self._folder / "images")},
        }
        for number in range(self._size):
            own = self._folder / f"gateway-{number}"
            own.mkdir()
            admin = {**self._document["admin"], "listen": f"127.0.0.1:{free_port()}"}  # commands ask there
            process.write_config(own, {**shared, "admin": admin})
        await asyncio.gather(*(self.start(number) for number in range(self._size)))
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(life.aclose() for life in self._lives.values()))

    @property
    def urls(self) -> list[str]:
        """Where those that serve are reached."""
        return [one.url for one in self._running.values() if one.url and one.running]

    def __getitem__(self, number: int) -> process.Process:
        return self._running[number]

    def folder_of(self, number: int) -> Path:
        """Where a gateway's configuration and log lie."""
        return self._folder / f"gateway-{number}"

    async def start(self, number: int) -> process.Process:
        """Start one, and wait until it serves."""
        one = await self.spawn(number)
        await one.announced()
        return one

    async def spawn(self, number: int) -> process.Process:
        """Start one, and do not wait."""
        life = AsyncExitStack()
        self._lives[number] = life
        self._running[number] = one = await life.enter_async_context(process.serving(self.folder_of(number)))
        return one

    async def kill(self, number: int) -> None:
        """SIGKILL."""
        await self._running.pop(number).kill()
        await self._lives.pop(number).aclose()

    async def stop(self, number: int) -> None:
        """SIGTERM, and wait for a good end."""
        await self._running.pop(number).stop()
        await self._lives.pop(number).aclose()

    async def stop_all(self) -> None:
        """Stop those that run, all at once."""
        await asyncio.gather(*(self.stop(number) for number in list(self._running)))

    # The books

    @asynccontextmanager
    async def books(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A connection to the database, beside the gateways."""
        connection = await asyncpg.connect(self.store)
        try:
            yield connection
        finally:
            await connection.close()

    async def rows(self) -> list[Row]:
        """Every row."""
        async with self.books() as connection:
            return [row_of(*columns) for columns in await connection.fetch(_ROWS)]

    async def all_closed(self, within: float = CLOSED_WITHIN) -> bool:
        """Wait until no row is open. False if some are still."""
        async with self.books() as connection:
            until = time.monotonic() + within
            while await connection.fetchval(_OPEN):
                if time.monotonic() > until:
                    return False
                await asyncio.sleep(0.1)
        return True

    async def verify(self) -> tuple[int, str]:
        """``piapi-gateway ledger verify``."""
        return await process.verify(self.folder_of(0))

    async def status(self, number: int = 0) -> dict[str, Any]:
        """``piapi-gateway status --json`` at one."""
        code, said = await process.command(self.folder_of(number), "status", "--json")
        if code not in (0, 1):
            raise process.SoakError(f"status: {said}")
        told: dict[str, Any] = json.loads(said)
        return told


@asynccontextmanager
async def fleet(
    folder: Path, sandbox: Sandbox, keys: Sequence[Mapping[str, Any]], size: int = 3, **over: Any
) -> AsyncIterator[Fleet]:
    """A fleet on engines of its own. ``over``: settings beside those of ``process.base_config``."""
    postgres, valkey = await asyncio.gather(asyncio.to_thread(PostgresServer), asyncio.to_thread(ValkeyServer))
    try:
        document = {**process.base_config(folder, sandbox, keys), **over}
        async with Fleet(folder, size, postgres, valkey, document) as made:
            yield made
    finally:
        await asyncio.gather(asyncio.to_thread(postgres.close), asyncio.to_thread(valkey.close))


def any_of(urls: Sequence[str], chance: random.Random) -> str | None:
    """The gateway that a balancer would choose; None if none serves."""
    return chance.choice(urls) if urls else None
