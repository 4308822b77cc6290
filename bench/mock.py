"""The upstream of the bench: one process that answers from prebuilt bytes.

    python -m bench.mock

Prints its port, serves 127.0.0.1 until its standard input ends. It checks nothing: only the bench talks to it, and
what it does not spend on parsing leaves the core to the load generator.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import cast

import uvloop

from bench import wire

WHOLE = wire.whole_answer()
HEAD = wire.stream_head()
OPENING = HEAD + wire.role_chunk() + wire.content_chunk()
CHUNK = wire.content_chunk()
CLOSING = wire.closing_chunks()
AT_ONCE = OPENING + CLOSING

_PACED = re.compile(rb'"model":"bench-paced-(\d+)-(\d+)"')
_IDLE = b'"model":"%s"' % wire.IDLE.encode()


class Upstream(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport
        self._pending = b""
        self._left = 0
        self._interval = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._pending:
            data = self._pending + data
        head_end = data.find(b"\r\n\r\n")
        length = wire.LENGTH.search(data, 0, head_end) if head_end > 0 else None
        if length is None or len(data) < head_end + 4 + int(length[1]):
            self._pending = data
            return
        self._pending = b""
        self._answer(data)

    def _answer(self, request: bytes) -> None:
        if b'"stream":true' not in request:
            self._transport.write(WHOLE)
        elif _IDLE in request:
            self._transport.write(OPENING)
        elif paced := _PACED.search(request):
            self._left = int(paced[1]) - 1  # the opening brings the first
            self._interval = int(paced[2]) / 1000
            self._transport.write(OPENING)
            self._timer = self._loop.call_later(self._interval, self._tick)
        else:
            self._transport.write(AT_ONCE)

    def _tick(self) -> None:
        if self._left <= 0:
            self._timer = None
            self._transport.write(CLOSING)
            return
        self._left -= 1
        # From now, not from when this one was due: a mock that lags sends less instead of several chunks at once.
        self._timer = self._loop.call_later(self._interval, self._tick)
        self._transport.write(CHUNK)


class _Parent(asyncio.Protocol):
    """Standard input: it ends when the bench does."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", 0, backlog=4096)
    _, parent = await loop.connect_read_pipe(_Parent, sys.stdin)
    print(server.sockets[0].getsockname()[1], flush=True)
    await parent.gone.wait()


if __name__ == "__main__":
    uvloop.run(serve())
