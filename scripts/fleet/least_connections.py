"""A balancer for where no HAProxy is: TCP, to the gateway with the fewest connections whose /readyz says 200."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

CHECKED_EVERY, CHECKED_WITHIN = 1.0, 2.0
CHUNK = 64 * 1024


@dataclass
class Backend:
    """A gateway. ``connections``: those that run."""

    host: str
    port: int
    ready: bool = True
    connections: int = 0


@asynccontextmanager
async def balancing(gateways: Sequence[str], port: int) -> AsyncIterator[int]:
    """Balance over ``gateways`` (HOST:PORT) on a port of the loopback address (0: any); gives the port."""
    backends = [Backend(host, int(number)) for host, _, number in (each.rpartition(":") for each in gateways)]

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _carry(backends, reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    async with asyncio.TaskGroup() as tasks:
        checks = [tasks.create_task(_check(backend)) for backend in backends]
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for check in checks:
                check.cancel()


def chosen(backends: Sequence[Backend]) -> list[Backend]:
    """Whom to try, in order: those that are ready, fewest connections first, then the others."""
    return sorted(backends, key=lambda backend: (not backend.ready, backend.connections))


async def _carry(backends: Sequence[Backend], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for backend in chosen(backends):
        try:
            there = await asyncio.open_connection(backend.host, backend.port)
        except OSError:
            backend.ready = False  # until a check finds it
            continue
        backend.connections += 1
        try:
            await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))
        finally:
            backend.connections -= 1
            there[1].close()
            writer.close()
        return
    writer.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Until the source ends; each half may end by itself."""
    with suppress(OSError):
        while chunk := await source.read(CHUNK):
            target.write(chunk)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()


async def _check(backend: Backend) -> None:
    while True:
        backend.ready = await _is_ready(backend)
        await asyncio.sleep(CHECKED_EVERY)


async def _is_ready(backend: Backend) -> bool:
    try:
        async with asyncio.timeout(CHECKED_WITHIN):
            reader, writer = await asyncio.open_connection(backend.host, backend.port)
            try:
                writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except OSError:
        return False
