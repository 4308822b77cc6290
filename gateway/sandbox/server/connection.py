"""A client's connection: requests are read, and the steps of their answers carried out to the byte."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from typing import Protocol, cast

from gateway.sandbox.wire.answers import Role
from gateway.sandbox.wire.http import BadRequest, Request, RequestReader
from gateway.sandbox.wire.requests import AnswerEnding
from gateway.sandbox.wire.steps import Close, Pause, Send, Step

_READ_AHEAD = 256 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for zero seconds: closing sends an RST (socket(7))
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Playback(Protocol):
    """One answer on its way out, as steps."""

    steps: Iterator[Step]

    def wall(self) -> tuple[float | None, bytes]:
        """The seconds of silence after which Cloudflare steps in, None for never, and the answer it gives then."""
        ...

    def ended(self, ending: AnswerEnding, tokens: int, images: int, sent: int) -> None:
        """Called once: how it ended, and what had been sent until then."""
        ...


class ConnectionOwner(Protocol):
    """What a connection reports to, and gets its answers from."""

    def opened(self, connection: ClientConnection) -> None: ...

    def closed(self, connection: ClientConnection) -> None: ...

    def answer_early(self, request: Request, connection: ClientConnection) -> Playback | None: ...

    def answer(self, request: Request, connection: ClientConnection) -> Playback: ...

    def bad_request(self, problem: BadRequest) -> bytes: ...

    def failed(self, error: BaseException) -> None: ...


class _Walled(Exception):
    """The answer was silent for longer than the simulated Cloudflare waits."""


class ClientConnection(asyncio.Protocol):
    """One connection from a client of the sandbox.

    ``serial``: its number, from 1. ``role``: of the listener it came in by. ``served``: requests so far.
    """

    def __init__(self, owner: ConnectionOwner, serial: int, role: Role) -> None:
        self.serial = serial
        self.role = role
        self.served = 0
        self._playing = False
        self._owner = owner
        self._reader = RequestReader()
        self._data_came = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost = asyncio.Event()
        self._silent = 0.0
        self._sent = 0
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None]

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it
        self._owner.opened(self)
        self._task = asyncio.get_running_loop().create_task(self._serve())
        self._task.add_done_callback(self._finished)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._data_came.set()
        if self._playing and self._reader.buffered > _READ_AHEAD:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._task.cancel()
        self._lost.set()
        self._owner.closed(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def abort(self) -> None:
        """End the connection at once; asyncio then calls ``connection_lost``."""
        self._transport.abort()

    async def wait_closed(self) -> None:
        """Return when nothing runs for this connection any more."""
        await self._lost.wait()
        await asyncio.wait((self._task,))

    def _finished(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._owner.failed(error)
            self._transport.abort()

    # The conversation

    async def _serve(self) -> None:
        try:
            while not self._transport.is_closing():
                await self._serve_one()
        except BadRequest as problem:
            self._transport.write(self._owner.bad_request(problem))
            self._transport.close()

    async def _serve_one(self) -> None:
        while (request := self._reader.head()) is None:
            await self._more()
        self.served += 1
        playback = self._owner.answer_early(request, self)
        if playback is None:
            if request.get(b"expect") == b"100-continue":
                self._transport.write(_CONTINUE)
            while (whole := self._reader.body()) is None:
                await self._more()
            playback = self._owner.answer(whole, self)
        self._playing = True
        await self._play(playback)
        self._playing = False
        if request.get(b"connection") == b"close":
            self._transport.close()

    async def _more(self) -> None:
        self._data_came.clear()
        self._transport.resume_reading()
        await self._data_came.wait()

    async def _play(self, playback: Playback) -> None:
        """Carry out the steps; in every case the playback is told once how it ended."""
        wall, page = playback.wall()
        tokens = images = 0
        self._silent, self._sent = 0.0, 0
        ending: AnswerEnding = "client_gone"
        try:
            for step in playback.steps:
                if isinstance(step, Send):
                    await self._send(step.data)
                    tokens += step.tokens
                    images += step.images
                elif isinstance(step, Pause):
                    await self._pause(step.seconds, wall)
                else:
                    ending = "complete" if step.complete else "broken_off"
                    await self._close(step)
                    break
            else:
                ending = "complete"
        except _Walled:
            ending = "walled"
            await self._stop_at_wall(page)
        finally:
            playback.ended(ending, tokens, images, self._sent)

    async def _send(self, data: bytes) -> None:
        if not self._writable.is_set():
            await self._writable.wait()
        if self._transport.is_closing():
            raise asyncio.CancelledError  # the client has left; connection_lost is about to say so
        self._transport.write(data)
        self._sent += len(data)
        self._silent = 0.0

    async def _pause(self, seconds: float, wall: float | None) -> None:
        if wall is not None and self._silent + seconds >= wall:
            await asyncio.sleep(wall - self._silent)
            raise _Walled
        self._silent += seconds
        if seconds == float("inf"):
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(seconds)

    async def _stop_at_wall(self, page: bytes) -> None:
        """Answer in Cloudflare's name if no byte was sent yet; otherwise break the stream off."""
        if self._sent:
            await self._close(Close(reset=True))
        else:
            await self._send(page)
            await self._close(Close())

    async def _close(self, step: Close) -> None:
        if not step.reset:
            self._transport.close()
            return
        self._transport.set_write_buffer_limits(high=0)
        await self._writable.wait()
        connected: socket.socket = self._transport.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()
