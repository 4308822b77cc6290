"""Gateways in processes of their own on one PostgreSQL and one Valkey, behind a balancer that gives each connection to
the next of them: a client that sends again reaches another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from gateway.sandbox import Sandbox

from .running import PATIENCE, Gateway, settings, write


@dataclass
class Balanced:
    """``url``: of the balancer. ``gateways``: behind it. ``store``: the URL of the database."""

    url: str
    gateways: list[Gateway]
    store: str
    given: list[int]

    async def rows(self, query: str) -> list[Any]:
        """What the database holds; single columns come bare."""
        connection = await asyncpg.connect(self.store)
        try:
            return [row[0] if len(row) == 1 else tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    async def until(self, query: str, wanted: object, within: float = PATIENCE) -> None:
        """Wait until the one row of one column is this."""
        async with asyncio.timeout(within):
            while await self.rows(query) != [wanted]:
                await asyncio.sleep(0.05)

    async def check_books(self, sandbox: Sandbox, *, joined: int | None = None) -> None:
        """One line of the bill, one row that is charged for it; all others name that, and are charged nothing."""
        await self.until("SELECT count(*) FROM open_intents", 0)
        assert len(sandbox.bill) == 1
        found = await self.rows(
            "SELECT i.id, i.paid_by, coalesce(c.charged, s.charged), i.request_id FROM intents AS i JOIN settlements "
            "AS s ON s.id = i.id AND s.intent_ns = i.at_ns LEFT JOIN corrections AS c ON c.id = i.id"
        )
        [(paying, _, charged, _)] = [row for row in found if row[1] is None]
        assert charged == sandbox.bill[0].amount
        others = [row for row in found if row[0] != paying]
        assert [(paid_by, amount) for _, paid_by, amount, _ in others] == [(paying, 0)] * len(others)
        assert len({request for *_, request in found}) == len(found)
        if joined is not None:
            assert len(others) == joined


@asynccontextmanager
async def balanced(
    folder: Path, sandbox: Sandbox, store: str, valkey: str, *, size: int = 2, **over: Any
) -> AsyncIterator[Balanced]:
    """So many gateways. ``over``: replaces parts of their configuration."""
    images = {"dir": str(folder / "images"), "fetch_hosts": ["127.0.0.1"], "fetch_private": True}
    async with AsyncExitStack() as stack:
        gateways = []
        for number in range(size):
            own = folder / f"gateway-{number}"
            own.mkdir()
            write(own, settings(sandbox, own, store=store, shared_state=valkey, images=images, **over))
            gateways.append(await stack.enter_async_context(Gateway.serve(own)))
        given: list[int] = []
        server = await asyncio.start_server(_Balancer(gateways, given), "127.0.0.1", 0)
        stack.push_async_callback(_closed, server)
        yield Balanced(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", gateways, store, given)


class _Balancer:
    def __init__(self, gateways: Sequence[Gateway], given: list[int]) -> None:
        self._gateways = gateways
        self._given = given
        self._next = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in self._gateways:
            number, self._next = self._next, (self._next + 1) % len(self._gateways)
            place = urlsplit(self._gateways[number].url)
            with suppress(OSError):
                theirs = await asyncio.open_connection(place.hostname, place.port)
                self._given.append(number)
                await asyncio.gather(_pass_on(reader, theirs[1]), _pass_on(theirs[0], writer), return_exceptions=True)
                return
        writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def _closed(server: asyncio.Server) -> None:
    server.close()
