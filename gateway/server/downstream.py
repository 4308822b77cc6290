"""The client of one request, as its handler sees it: heads, chunks and errors go to it, and it may leave.

Backpressure is the transport's: a write waits while more than 64 KiB are still to be taken. A client that takes nothing
for too long is cut off by the protocol, which shows here as one that left (``gone``, and ``stalled``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from starlette.types import Message, Scope, Send

from gateway.core.errors import OPENAI_ERRORS, ErrorForm, GatewayError
from gateway.core.headers import Header, Headers
from gateway.server.connection import connection_of
from gateway.server.headers import JSON, asked_host, error_headers, request_id

SLICE = 256 * 1024
"""Bytes of a body that are written at a time."""

_NEVER = frozenset(
    (
        # hop-by-hop (RFC 9110 §7.6.1), and what describes the bytes between gateway and client
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
        # the upstream's server, and what the gateway sets itself
        b"server",
        b"date",
        b"via",
        b"set-cookie",
        b"alt-svc",
        b"x-request-id",
    )
)
_EVENT_STREAM: tuple[Header, ...] = (
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
)


class Downstream:
    """The client of one request. Writing to one that is gone does nothing.

    ``request_id``: goes out with every answer. ``started``: the head is out, its ``status`` can no longer change.
    ``finished``: so is the last byte. ``gone``: the client left before that.
    ``error_form``: how it is told of errors; its handler may set another.
    """

    __slots__ = (
        "_connection",
        "_headers",
        "_id_header",
        "_on_gone",
        "_send",
        "_streaming",
        "error_form",
        "finished",
        "gone",
        "request_id",
        "started",
        "status",
    )

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send = send
        self._headers: Headers = scope["headers"]
        self._connection = connection_of(scope)
        self._connection.on_gone = self._left
        self._on_gone: Callable[[], None] | None = None
        self._streaming = False
        self.error_form: ErrorForm = OPENAI_ERRORS
        self.request_id = request_id(self._headers)
        self._id_header: Header = (b"x-request-id", self.request_id.encode("ascii"))
        self.status = 0
        self.started = False
        self.finished = False
        self.gone = self._connection.gone

    @property
    def host(self) -> str | None:
        """The host, with its port, that the client asked by; None if it named none that can stand in a link."""
        return asked_host(self._headers)

    @property
    def refusal(self) -> tuple[GatewayError, str] | None:
        """What the server answered itself, since what came after the head was not sound; and under which request id."""
        return self._connection.refusal

    @property
    def stalled(self) -> bool:
        """The client is gone because it took nothing for too long."""
        return self._connection.stalled

    def watch(self, on_gone: Callable[[], None]) -> None:
        """Call ``on_gone`` once, when the client leaves before the answer is complete; at once if it has left."""
        if self.gone:
            on_gone()
        else:
            self._on_gone = on_gone

    async def start(self, status: int, headers: Headers, *, body_follows: bool = False) -> None:
        """Send the head of an answer whose length is not known. The content type is JSON unless ``headers`` has one.

        ``body_follows``: the caller writes at once, so that the head may go out with the first piece.
        """
        prepared = self._prepare(headers)
        if body_follows:
            self._connection.hold_head()
        await self._begin(status, prepared)

    async def write(self, data: bytes) -> None:
        """Send a piece of the body; return when the next one may come."""
        if len(data) > SLICE:  # a picture: others have their turn between two slices
            view = memoryview(data)
            for start in range(0, len(data), SLICE):
                piece = bytes(view[start : start + SLICE])
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
                await asyncio.sleep(0)
            return
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    def write_now(self, data: bytes) -> bool:
        """``write`` without waiting. False if the client must be waited for, or the head is not out: then ``write``."""
        return len(data) <= SLICE and self._connection.piece(data)

    async def finish(self) -> None:
        """End the answer."""
        self._finish()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        prepared = self._prepare(headers)
        prepared.append((b"content-length", b"%d" % len(body)))
        self.status = status
        self.started = True
        if not self._connection.request_complete:
            self._connection.close_after_answer()
        self._finish()
        await self._connection.answer(status, prepared, body)

    async def error(self, error: GatewayError, headers: Headers = ()) -> None:
        """Answer with an error: its body, ``x-should-retry``, ``retry-after`` if another try can help."""
        await self.respond(
            error.status, (*error_headers(error, self.request_id), *headers), self.error_form.body(error)
        )

    async def stream_error(self, error: GatewayError) -> None:
        """End a stream that has begun: one event with the error, no ``[DONE]``, and the connection closes."""
        self._connection.close_after_answer()
        await self.write(self.error_form.last_event(error))
        await self.finish()

    async def fail(self, error: GatewayError, headers: Headers = ()) -> None:
        """Tell of an error in the way that is still open; cut the connection if none is."""
        if self.gone or self.finished:
            return
        if not self.started:
            await self.error(error, headers)
        elif self._streaming:
            await self.stream_error(error)
        else:
            self.abort()

    def abort(self) -> None:
        """Cut the connection, so that the client cannot take what it has for the whole."""
        self._connection.abort()

    async def send(self, message: Message) -> None:
        """ASGI's ``send`` for applications that speak it themselves; the head gets the request id."""
        if message["type"] == "http.response.start":
            await self._begin(message["status"], [*message.get("headers", ()), self._id_header])
            return
        if not message.get("more_body", False):
            self._finish()
        await self._send(message)

    def _finish(self) -> None:
        self.finished = True
        self._on_gone = None  # it refers back to this object: no cycle is left for the collector

    def _prepare(self, headers: Iterable[Header]) -> list[Header]:
        prepared = [self._id_header, *[pair for pair in headers if pair[0] not in _NEVER]]
        content_type = dict(prepared).get(b"content-type")
        if content_type is None:
            prepared.append(JSON)
        elif content_type.startswith(b"text/event-stream"):
            self._streaming = True
            prepared += _EVENT_STREAM
        return prepared

    async def _begin(self, status: int, headers: list[Header]) -> None:
        self.status = status
        self.started = True
        if not self._connection.request_complete:
            self._connection.close_after_answer()
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def _left(self) -> None:
        self.gone = True
        tell, self._on_gone = self._on_gone, None
        if tell is not None:
            tell()
