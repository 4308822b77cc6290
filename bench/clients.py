"""The connections of a load: what each asks, how it knows that it was answered, what it counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import cast

from bench import wire

_CONTENT = b'"delta":{"content":'


class BenchError(Exception):
    """A measurement that cannot be had; the message says why."""


class Crowd:
    """What the connections of one load share."""

    def __init__(self) -> None:
        self.count = 0
        self.running = True
        self.open = 0
        self.failure: str | None = None
        self.changed = asyncio.Event()

    def fail(self, what: str) -> None:
        self.failure = self.failure or what
        self.changed.set()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait for a state of the crowd. Raises BenchError if a connection fails meanwhile."""
        while self.failure is None and not reached():
            self.changed.clear()
            await self.changed.wait()
        self.check()

    def check(self) -> None:
        if self.failure is not None:
            raise BenchError(self.failure)


class Client(asyncio.Protocol):
    """One connection. ``requests``: what it asks, one after the other."""

    def __init__(self, crowd: Crowd, requests: Iterator[bytes]) -> None:
        self._crowd = crowd
        self._requests = requests
        self._transport: asyncio.WriteTransport
        self._closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._crowd.open += 1
        self._transport.write(next(self._requests))

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.open -= 1
        self._crowd.changed.set()
        if not self._closed:
            self._crowd.fail("the server closed a connection")

    def answered(self) -> None:
        """Ask again, or leave if the load is over or all was asked."""
        if self._crowd.running and (request := next(self._requests, None)) is not None:
            self._transport.write(request)
        else:
            self.close()

    def refused(self, data: bytes) -> None:
        self._crowd.fail(f"the server answered {data[:400].decode(errors='replace')}")
        self.close()

    def close(self) -> None:
        self._closed = True
        self._transport.close()


class WholeClient(Client):
    """Reads whole answers; counts them."""

    _pending = b""

    def data_received(self, data: bytes) -> None:
        if self._pending:
            data = self._pending + data
        if not data.startswith(b"HTTP/1.1 200"):
            self.refused(data)
        elif wire.complete(data):
            self._pending = b""
            self._crowd.count += 1
            self.answered()
        else:
            self._pending = data


class StreamClient(Client):
    """Reads chunked streams to their end; counts the events that bring text."""

    _tail = b""

    def data_received(self, data: bytes) -> None:
        if not self._tail and not data.startswith(b"HTTP/1.1 200"):
            self.refused(data)
            return
        self._crowd.count += data.count(_CONTENT)
        self._tail = (self._tail + data)[-5:] if len(data) < 5 else data[-5:]
        if self._tail == wire.LAST_CHUNK:
            self._tail = b""
            self.answered()


class IdleClient(Client):
    """Holds its stream open; counts itself when the first text is there."""

    _begun = False

    def data_received(self, data: bytes) -> None:
        if not self._begun and not data.startswith(b"HTTP/1.1 200"):
            self.refused(data)
            return
        self._begun = True
        if _CONTENT in data:
            self._crowd.count += 1
            self._crowd.changed.set()


class BurstClient(StreamClient):
    """Asks when it is told to; notes when it asked and when the first text came."""

    asked = 0.0
    first = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._crowd.open += 1

    def ask(self) -> None:
        self.asked = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        if not self.first and _CONTENT in data:
            self.first = time.perf_counter()
        super().data_received(data)
