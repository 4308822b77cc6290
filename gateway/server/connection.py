"""A client's connection as the application sees it; protocol.py implements it.

ASGI tells of a client that left only to a task that awaits ``receive``, which costs a task a request. The protocol
knows at once, so it offers itself in the scope's extensions.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, Protocol

from gateway.core.errors import GatewayError
from gateway.core.headers import Headers

EXTENSION = "piapi.connection"


class Slots(Protocol):
    """What slots.py does with a connection that made a request."""

    def admit(self, connection: DownstreamConnection) -> None: ...
    def renew(self, connection: DownstreamConnection) -> None: ...


class DownstreamConnection(Protocol):
    """The connection of the request being served. One request is served at a time."""

    gone: bool
    """The client of the present request has left, or can no longer be answered."""

    stalled: bool
    """The server hung up, because the client took no byte for too long."""

    refusal: tuple[GatewayError, str] | None
    """What the server answered itself, in the application's place, since the rest of the request was not sound; and the
    request id of that answer."""

    on_gone: Callable[[], None] | None
    """Called once, synchronously, when ``gone`` becomes true. Forgotten when the answer is complete."""

    @property
    def request_complete(self) -> bool:
        """The whole request has arrived."""
        ...

    @property
    def slots(self) -> Slots:
        """The open connections of the listener, of which this is one."""
        ...

    @property
    def idle(self) -> bool:
        """No request is being read or answered, and none has begun to come."""
        ...

    def close_after_answer(self) -> None:
        """Say ``connection: close`` if the head is not out yet, and close after the answer."""
        ...

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer; ``content-length`` is among the headers."""
        ...

    def piece(self, data: bytes) -> bool:
        """Write a piece of a stream at once; False if the client must be waited for first."""
        ...

    def hold_head(self) -> None:
        """Keep the head that is sent next until the first piece of its body, which must follow at once."""
        ...

    def shutdown(self) -> None:
        """Close now if no request is being answered, else after the answer."""
        ...

    def abort(self) -> None:
        """Close at once; what was not sent yet is lost."""
        ...


def connection_of(scope: MutableMapping[str, Any]) -> DownstreamConnection:
    """The connection behind an ASGI scope. KeyError if another server made the scope."""
    connection: DownstreamConnection = scope["extensions"][EXTENSION]
    return connection


def admit(scope: MutableMapping[str, Any]) -> None:
    """The request may be made: its connection is no stranger's any more, and is kept open before others (slots.py)."""
    if (connection := _known(scope)) is not None:
        connection.slots.admit(connection)


def renew(scope: MutableMapping[str, Any]) -> None:
    """The request is one that anybody may make, and is answered: of strangers' connections, it makes room last."""
    if (connection := _known(scope)) is not None:
        connection.slots.renew(connection)


def close_after_answer(scope: MutableMapping[str, Any]) -> None:
    """The connection ends with the answer to this request."""
    if (connection := _known(scope)) is not None:
        connection.close_after_answer()


def _known(scope: MutableMapping[str, Any]) -> DownstreamConnection | None:
    found: DownstreamConnection | None = scope.get("extensions", {}).get(EXTENSION)
    return found
