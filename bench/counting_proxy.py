"""Proxies that count what a gateway asks of its engines: bytes in both directions, statements, round trips."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

CHUNK = 64 * 1024

_STATEMENTS, _TRIPS = frozenset(b"EQ"), frozenset(b"SQ")
"""PostgreSQL's messages (https://www.postgresql.org/docs/current/protocol-message-formats.html): Execute and Query run
a statement; after Sync and Query the client waits for an answer."""

_WISH_FOR_TLS = (80877103).to_bytes(4, "big")


@dataclass
class Counts:
    """``sent``, ``received``: bytes, as the gateway sees it. ``statements``: run. ``trips``: waits for an answer."""

    sent: int = 0
    received: int = 0
    statements: int = 0
    trips: int = 0

    def since(self, before: Counts) -> Counts:
        return Counts(
            self.sent - before.sent,
            self.received - before.received,
            self.statements - before.statements,
            self.trips - before.trips,
        )

    def copy(self) -> Counts:
        return Counts(self.sent, self.received, self.statements, self.trips)


@dataclass
class PostgresMessages:
    """Counts what a client of PostgreSQL sends, at any split of the bytes. Its first message has no type."""

    counts: Counts
    _begun: bool = False
    _pending: bytearray = field(default_factory=bytearray)
    _skip: int = 0

    def feed(self, data: bytes) -> None:
        if self._skip:
            taken = min(self._skip, len(data))
            self._skip -= taken
            data = data[taken:]
        self._pending += data
        while not self._skip:
            head = 5 if self._begun else 4
            if len(self._pending) < max(head, 0 if self._begun else 8):
                return
            kind = self._pending[0] if self._begun else 0
            whole = head - 4 + int.from_bytes(self._pending[head - 4 : head], "big")
            if kind in _STATEMENTS:
                self.counts.statements += 1
            if kind in _TRIPS:
                self.counts.trips += 1
            # A wish for TLS comes before the first message, has no type either, and is answered by one letter.
            self._begun = self._begun or bytes(self._pending[4:8]) != _WISH_FOR_TLS
            self._skip = max(0, whole - len(self._pending))
            del self._pending[:whole]


@dataclass
class RedisCommands:
    """Counts the commands that a client of Redis sends (arrays of RESP), at any split of the bytes.

    Commands that come together are one round trip.
    """

    counts: Counts
    _pending: bytearray = field(default_factory=bytearray)
    _left: int = 0
    _skip: int = 0

    def feed(self, data: bytes) -> None:
        self._pending += data
        before = self.counts.statements
        while self._next():
            pass
        if self.counts.statements > before:
            self.counts.trips += 1

    def _next(self) -> bool:
        if self._skip:
            if len(self._pending) < self._skip:
                return False
            del self._pending[: self._skip]
            self._skip = 0
            return True
        end = self._pending.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self._pending[:end])
        del self._pending[: end + 2]
        if line.startswith(b"*"):
            self._left = int(line[1:])
        elif line.startswith(b"$"):
            self._skip = int(line[1:]) + 2
            self._left -= 1
            if self._left == 0:
                self.counts.statements += 1
        return True


@contextmanager
def counting(port: int, kind: type[PostgresMessages] | type[RedisCommands]) -> Iterator[tuple[int, Counts]]:
    """A proxy before an engine's ``port``, on a loop and a thread of its own. Gives its port and its counts."""
    counts = Counts()
    loop = asyncio.new_event_loop()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", port)
        messages = kind(counts)

        async def ask() -> None:
            with suppress(OSError):
                while data := await reader.read(CHUNK):
                    counts.sent += len(data)
                    messages.feed(data)
                    there[1].write(data)
                    await there[1].drain()
            there[1].close()

        async def answer() -> None:
            with suppress(OSError):
                while data := await there[0].read(CHUNK):
                    counts.received += len(data)
                    writer.write(data)
                    await writer.drain()
            writer.close()

        try:
            await asyncio.gather(ask(), answer())
        finally:
            writer.close()
            there[1].close()

    async def end() -> None:
        server.close()
        carried = asyncio.all_tasks() - {asyncio.current_task()}
        for task in carried:
            task.cancel()
        await asyncio.gather(*carried, return_exceptions=True)
        await asyncio.sleep(0.05)  # transports close in turns of the loop to come

    thread = threading.Thread(target=loop.run_forever, name="counting-proxy", daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(accept, "127.0.0.1", 0), loop).result()
    try:
        yield server.sockets[0].getsockname()[1], counts
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
