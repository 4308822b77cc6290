"""uvicorn's request and answer, ASGI's side of a connection, where ours differs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gateway.endpoints.answers import error_headers, request_id
from gateway.errors import internal_error


class Writer:
    """What a running request sees of the transport: closing goes through the protocol, which may linger."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close


class Cycle(RequestResponseCycle):
    async def send_500_response(self) -> None:
        """The last resort, when the application itself failed to answer."""
        error = internal_error()
        headers = [*error_headers(error, request_id(self.scope["headers"])), (b"connection", b"close")]
        body = error.body()
        headers.append((b"content-length", b"%d" % len(body)))
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})
