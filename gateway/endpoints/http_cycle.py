"""uvicorn's request and answer, ASGI's side of a connection, where ours differs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gateway.endpoints.answers import error_headers, request_id
from gateway.errors import internal_error


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
    async def send_500_response(self) -> None:
        """The last resort, when the application itself failed to answer."""
        error = internal_error()
        headers = [*error_headers(error, request_id(self.scope["headers"])), (b"connection", b"close")]
        body = error.body()
        headers.append((b"content-length", b"%d" % len(body)))
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})
