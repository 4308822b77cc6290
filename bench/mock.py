"""The upstream of the bench: one process that answers from prebuilt bytes.

    python -m bench.mock [CERTIFICATE]

With a certificate (and its key, in one file) it speaks TLS. Prints its port, serves 127.0.0.1 until its standard input
ends. It checks nothing: only the bench talks to it, and what it does not spend on parsing leaves the core to the load
generator.
"""

from __future__ import annotations

import asyncio
import functools
import re
import ssl
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

# Some gateways write JSON with blanks.
_STREAM = re.compile(rb'"stream": ?true')
_PACED = re.compile(rb'"bench-paced-(\d+)-(\d+)"')
_FLOOD = re.compile(rb'"bench-flood-(\d+)"')
_IDLE = b'"%s"' % wire.IDLE.encode()
_PICTURE = b"POST " + wire.PICTURE_PATH.encode()


_LONG = 4096
"""Bytes at a long request's start and end in which its model and its wish to stream are looked for."""


@functools.cache
def _flood(chunks: int) -> bytes:
    return OPENING + CHUNK * (chunks - 1) + CLOSING  # the opening brings the first


class Upstream(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport
        self._pending = bytearray()
        self._awaited = 0
        self._left = 0
        self._interval = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._awaited:  # a long body: only its length is looked at until it is there
            self._pending += data
            if len(self._pending) < self._awaited:
                return
            data = bytes(self._pending)
        elif self._pending:
            data = bytes(self._pending) + data
        head_end = data.find(b"\r\n\r\n")
        length = wire.LENGTH.search(data, 0, head_end) if head_end > 0 else None
        self._awaited = head_end + 4 + int(length[1]) if length else 0
        if head_end < 0 or len(data) < self._awaited:
            self._pending = bytearray(data)
            return
        self._pending.clear()
        self._awaited = 0
        self._answer(data if len(data) < _LONG else data[:_LONG] + data[-_LONG:])

    def _answer(self, request: bytes) -> None:
        if request.startswith(_PICTURE):
            self._transport.write(wire.picture_answer())
        elif not _STREAM.search(request):
            self._transport.write(WHOLE)
        elif _IDLE in request:
            self._transport.write(OPENING)
        elif paced := _PACED.search(request):
            self._left = int(paced[1]) - 1  # the opening brings the first
            self._interval = int(paced[2]) / 1000
            self._transport.write(OPENING)
            self._timer = self._loop.call_later(self._interval, self._tick)
        elif flood := _FLOOD.search(request):
            self._transport.write(_flood(int(flood[1])))
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


async def serve(certificate: str | None) -> None:
    loop = asyncio.get_running_loop()
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    server = await loop.create_server(Upstream, "127.0.0.1", 0, backlog=4096, ssl=context)
    _, parent = await loop.connect_read_pipe(_Parent, sys.stdin)
    print(server.sockets[0].getsockname()[1], flush=True)
    await parent.gone.wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1] if len(sys.argv) > 1 else None))
