"""One request: its head as it was parsed, its body as it comes, and what becomes known of it while it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from gateway.core.errors import GatewayError
from gateway.core.exchange_record import Trace
from gateway.core.headers import Header
from gateway.core.types import VirtualKey
from gateway.server.connection import Address, Connection
from gateway.server.headers import asked_host

STATUS_CLIENT_GONE = 499
"""What metrics and books call a request whose client left (nginx's number)."""

READ_AHEAD = 64 * 1024
"""Bytes of a body that are kept for its reader before the connection is read no further."""

_NO_PARAMS: Mapping[str, str] = MappingProxyType({})
_GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


class SenderGone(Exception):
    """The client left before its request was complete, so there is no one to answer."""


class Request:
    """A request of a connection. What reads its head first fills it in; nothing is scanned again.

    ``fields``: the headers, names in lower case; of several with one name the first, the others are ``repeated``.
    ``method``; ``target``: as it was sent, which is ``path``, raw, and ``query``. ``version``: ``1.1`` or ``1.0``.
    ``peer``: who sent it, which may be a proxy. ``id``: goes out with every answer. ``began``: the loop's time.
    ``params``: what the route's braces stand for, decoded.
    ``complete``: the whole body has come. ``over``: no more is to be read of it, since the client left or has its
    answer.

    For the line and the count that its end leaves, each None, 0 or False until it is known:
    ``key``: the one it was made with. ``model``: as the client named it. ``upstream``: the one that was asked.
    ``route``: the path of its route, parameters in braces. ``trace``: told how it goes; None where nothing is traced.
    ``error``: what it was refused with. ``counted``: an exchange counts it, and logs it unless it refuses it.
    ``status``: what it was answered with; 499 if its client left before. ``seconds``: since it came; None if it was
    refused before it had come whole.
    """

    __slots__ = (
        "_buffered",
        "_news",
        "_pieces",
        "_waiter",
        "began",
        "complete",
        "connection",
        "counted",
        "error",
        "expects_continue",
        "fields",
        "id",
        "key",
        "method",
        "model",
        "over",
        "params",
        "path",
        "peer",
        "query",
        "repeated",
        "route",
        "seconds",
        "status",
        "target",
        "trace",
        "upstream",
        "version",
    )

    def __init__(self, connection: Connection, peer: Address) -> None:
        self.connection = connection
        self.peer = peer
        self.fields: dict[bytes, bytes] = {}
        self.repeated: tuple[Header, ...] = ()
        self.method = self.version = self.id = ""
        self.target = self.path = self.query = b""
        self.params: Mapping[str, str] = _NO_PARAMS
        self.began = 0.0
        self.expects_continue = self.complete = self.over = self.counted = False
        self.key: VirtualKey | None = None
        self.model: str | None = None
        self.upstream: str | None = None
        self.route: str | None = None
        self.trace: Trace | None = None
        self.error: GatewayError | None = None
        self.seconds: float | None = None
        self.status = self._buffered = 0
        self._pieces: list[bytes] | None = None
        self._news = False  # there is something that ``receive`` has not told yet
        self._waiter: asyncio.Future[None] | None = None

    # Its head

    @property
    def headers(self) -> list[Header]:
        """All headers; those with one name in their order."""
        return [*self.fields.items(), *self.repeated]

    def every(self, name: bytes) -> list[bytes]:
        """The values of all headers with one name, which is in lower case."""
        first = self.fields.get(name)
        return [] if first is None else [first, *[value for other, value in self.repeated if other == name]]

    @property
    def host(self) -> str | None:
        """The host, with its port, that the client asked by; None if it named none that can stand in a link."""
        return asked_host(self.fields.get(b"host"))

    # Its connection

    def admit(self) -> None:
        """It may be made: its connection is no stranger's any more, and is kept open before others (slots.py)."""
        self.connection.slots.admit(self.connection)

    def renew(self) -> None:
        """It is one that anybody may make, and is answered: of strangers' connections, it makes room last."""
        self.connection.slots.renew(self.connection)

    def close_after_answer(self) -> None:
        """The connection ends with the answer."""
        self.connection.close_after_answer()

    # Its body: what the protocol calls

    def feed(self, data: bytes) -> None:
        """A piece of the body came."""
        if self._pieces is None:
            self._pieces = [data]
        else:
            self._pieces.append(data)
        self._buffered += len(data)
        if self._buffered > READ_AHEAD:
            self.connection.flow.pause_reading()
        self._news = True
        if self._waiter is not None:
            self._wake()

    def feed_end(self) -> None:
        """The body is complete."""
        self.complete = self._news = True
        if self._waiter is not None:
            self._wake()

    def end(self) -> None:
        """Nothing more is to be read."""
        self.over = self._news = True
        if self._waiter is not None:
            self._wake()

    # Its body: what reads it (body.py)

    def take(self) -> bytes:
        """What has come and was not taken yet; empty for nothing. Raise SenderGone once nothing more is to be read."""
        if self.expects_continue:
            self._tell_to_go_on()
        if self.over:
            raise SenderGone
        if self.connection.flow.reading_paused:
            self.connection.flow.resume_reading()
        pieces, self._pieces = self._pieces, None
        self._buffered = 0
        self._news = False
        if pieces is None:
            return b""
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def receive(self) -> bytes:
        """``take``, as soon as something has come, or the body is known to be ``complete``."""
        if not self._news:
            if self.expects_continue:
                self._tell_to_go_on()
            self.connection.flow.resume_reading()
            await self._wait()
        return self.take()

    def _tell_to_go_on(self) -> None:
        self.expects_continue = False
        if not self.over and not self.connection.transport.is_closing():
            self.connection.transport.write(_GO_ON)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("the request is being received already")
        self._waiter = self.connection.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
