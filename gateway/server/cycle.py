"""One request of a connection and its answer, as ASGI sees them: ``receive`` and ``send``.

The protocol feeds the request's body in and is told when the answer is complete. Beside ASGI's ``send`` there is a
short way for the hot routes: whole answers, and pieces of a stream, written with one system call and without messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import Message

from gateway.core.headers import Headers
from gateway.server.flow import FlowControl
from gateway.server.response_head import response_head
from gateway.server.state import ListenerState

READ_AHEAD = 64 * 1024
"""Bytes of a body that are kept for the application before reading is paused."""

AT_ONCE = 256 * 1024
"""Bytes of a whole answer that are written at once: the kernel takes megabytes in one call, which takes its time."""

_BODILESS = (204, 304)


class RequestCycle:
    """The request being served.

    ``head_only``: the request is a HEAD. ``expects_continue``: the client sends its body when told to go on.
    ``chunks``: the client understands chunks, which HTTP/1.0 does not have: there the connection's end is the body's.
    ``keep_alive``: whether the connection outlives the answer; may be unset until then. ``on_complete``: called when
    the last byte of the answer has been written.

    ``cors``: further headers of the answer, for the page that asked.

    ``started``: the answer's head has been written. ``complete``: so has its last byte. ``disconnected``: the client
    left before that, and nothing more is written.
    """

    __slots__ = (
        "_bodiless",
        "_body_complete",
        "_buffered",
        "_chunked",
        "_chunks",
        "_expects_continue",
        "_flow",
        "_held",
        "_hold",
        "_news",
        "_on_complete",
        "_owed",
        "_pieces",
        "_state",
        "_transport",
        "_waiter",
        "complete",
        "cors",
        "disconnected",
        "head_only",
        "keep_alive",
        "started",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        flow: FlowControl,
        state: ListenerState,
        on_complete: Callable[[], None],
        *,
        head_only: bool,
        chunks: bool,
        expects_continue: bool,
        keep_alive: bool,
    ) -> None:
        self._transport = transport
        self._flow = flow
        self._state = state
        self._on_complete = on_complete
        self.head_only = head_only
        self._bodiless = head_only
        self._chunks = chunks
        self._expects_continue = expects_continue
        self.cors: Headers = ()
        self.keep_alive = keep_alive
        self.disconnected = False
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._body_complete = False
        self._news = False  # there is something that ``receive`` has not told yet
        self._waiter: asyncio.Future[None] | None = None
        self.started = False
        self.complete = False
        self._chunked = False
        self._owed: int | None = 0  # bytes of a body without chunks that are still to come, if its length is known
        self._hold = False
        self._held = b""

    # What the protocol calls

    def feed(self, data: bytes) -> None:
        """A piece of the body came."""
        self._pieces.append(data)
        self._buffered += len(data)
        if self._buffered > READ_AHEAD:
            self._flow.pause_reading()
        self._wake()

    def feed_end(self) -> None:
        """The body is complete."""
        self._body_complete = True
        self._wake()

    def disconnect(self) -> None:
        """The client left, or is to be answered no more."""
        if not self.complete:
            self.disconnected = True
        self._wake()

    def flush(self) -> None:
        """Write the head that is held, if any."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)

    # ASGI

    async def receive(self) -> Message:
        if self._expects_continue and not self._transport.is_closing():
            self._expects_continue = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self.disconnected and not self.complete:
            self._flow.resume_reading()
            if not self._news:
                await self._wait()
            self._news = False
        if self.disconnected or self.complete:
            return {"type": "http.disconnect"}
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._buffered = 0
        return {"type": "http.request", "body": body, "more_body": not self._body_complete}

    async def send(self, message: Message) -> None:
        if self._flow.writing_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if self.complete or kind != ("http.response.body" if self.started else "http.response.start"):
            raise RuntimeError(f"{kind} cannot be sent at this point of an answer")
        if self.started:
            self._send_body(message.get("body", b""), more=message.get("more_body", False))
        else:
            self._send_head(message["status"], list(message.get("headers", ())))

    # The short way

    def hold_head(self) -> None:
        """Keep the head that is sent next until the first piece of its body, so that one system call sends both."""
        self._hold = True

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer; ``content-length`` is among the headers."""
        if self._flow.writing_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        if self.started:
            raise RuntimeError("an answer has begun already")
        if self.cors:
            headers = [*headers, *self.cors]
        head = response_head(status, self._state.date, headers, close=not self.keep_alive)
        self._begin()
        if self._bodiless or len(body) <= AT_ONCE:
            self._transport.write(head if self._bodiless else head + body)
        elif not await self._write_in_turns(head, body):
            return
        self._finish()

    async def _write_in_turns(self, head: bytes, body: bytes) -> bool:
        """Write megabytes in parts, between which everything else has its turn. False if the client left meanwhile."""
        self._transport.write(head)
        with memoryview(body) as view:
            for start in range(0, len(body), AT_ONCE):
                await (self._flow.drain() if self._flow.writing_paused else asyncio.sleep(0))
                if self.disconnected:
                    return False
                self._transport.write(bytes(view[start : start + AT_ONCE]))
        return not self.disconnected

    def piece(self, data: bytes) -> bool:
        """Write a piece of a chunked answer at once; False if that is not possible now, and ``send`` must do it."""
        if self._flow.writing_paused or not self._chunked or self.complete or not data:
            return False
        if not self.disconnected:
            self._write(b"%x\r\n%b\r\n" % (len(data), data))
        return True

    # Inside

    def _send_head(self, status: int, headers: Headers) -> None:
        length: int | None = None
        says_close = False
        for name, value in headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                raise RuntimeError("the server chooses how an answer is framed, not the application")
            elif name == b"connection" and value.lower() == b"close":
                says_close = True
                self.keep_alive = False
        if status in _BODILESS:
            self._bodiless = True
        chunked = self._chunks and length is None and not self._bodiless
        close = not self.keep_alive and not says_close
        if self.cors:
            headers = [*headers, *self.cors]
        head = response_head(status, self._state.date, headers, close=close, chunked=chunked)
        self._begin()
        self._chunked = chunked
        self._owed = 0 if self._bodiless else length
        if self._hold:
            self._held = head
        else:
            self._transport.write(head)

    def _send_body(self, data: bytes, *, more: bool) -> None:
        if self._bodiless:
            pass  # what an application sends after such a head is not for the wire
        elif self._chunked:
            framed = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            self._write(framed if more else framed + b"0\r\n\r\n")
        else:
            if self._owed is not None:
                if len(data) > self._owed:
                    raise RuntimeError("the body is longer than its content-length")
                self._owed -= len(data)
            self._write(data)
        if more:
            return
        if self._owed:
            raise RuntimeError("the body is shorter than its content-length")
        self.flush()
        self._finish()

    def _begin(self) -> None:
        self.started = True
        self._expects_continue = False

    def _finish(self) -> None:
        self.complete = True
        self._wake()
        self._on_complete()

    def _write(self, data: bytes) -> None:
        if self._held:
            data, self._held = self._held + data, b""
        if data:
            self._transport.write(data)

    def _wake(self) -> None:
        self._news = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("the request is being received already")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
