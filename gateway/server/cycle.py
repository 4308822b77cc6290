"""uvicorn's request and answer, ASGI's side of a connection, where ours differs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from gateway.core.errors import internal_error
from gateway.server.headers import Header, error_headers, request_id


class Writer:
    """What a running request sees of the transport: closing goes through the protocol, which may linger.

    A head may be held until the first piece of its body, so that both go out with one system call.
    """

    __slots__ = ("_close", "_held", "_write", "is_closing")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self._write = transport.write
        self._held: bytes | None = b""
        self.is_closing = transport.is_closing
        self._close = close

    def close(self) -> None:
        self.flush()
        self._close()

    def hold(self) -> None:
        """Keep what is written next until more is written, or until ``flush``."""
        self._held = None

    def write(self, data: bytes) -> None:
        if self._held is None:
            self._held = data
        elif self._held:
            held, self._held = self._held, b""
            self._write(held + data)
        else:
            self._write(data)

    def flush(self) -> None:
        """Write what is held: the answer to a HEAD has no body."""
        if self._held:
            held, self._held = self._held, b""
            self._write(held)


class Cycle(RequestResponseCycle):
    """Besides ASGI's ``send`` it has a short way for what the hot routes do: whole answers, and pieces of a stream.

    Both write with one system call and build no messages. They are for the front door alone, whose headers are its
    own; ``content-length`` must be among those of ``answer``.
    """

    async def answer(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Send a whole answer."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if self.response_started:
            raise RuntimeError("an answer has begun already")
        self.response_started = True
        self.waiting_for_100_continue = False
        lines = [STATUS_LINE[status]]
        for name, value in (*self.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != head.count(b"\r") or head.count(b"\n\r\n") != 1 or b"\0" in head:
            raise RuntimeError("a header holds a line end")
        self.transport.write(head if self.scope["method"] == "HEAD" else head + body)
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def piece(self, data: bytes) -> bool:
        """Write a piece of a chunked answer at once; False if that is not possible now, and ``send`` must do it."""
        if self.flow.write_paused or not self.chunked_encoding or self.response_complete or not data:
            return False
        if not self.disconnected:
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        return True

    async def send_500_response(self) -> None:
        """The last resort, when the application itself failed to answer."""
        error = internal_error()
        headers = [*error_headers(error, request_id(self.scope["headers"])), (b"connection", b"close")]
        body = error.body()
        headers.append((b"content-length", b"%d" % len(body)))
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})
