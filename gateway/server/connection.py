"""What the rest of the front door may know of a client's connection; http_protocol.py is the one that keeps it.

ASGI tells of a client that left only to whoever awaits ``receive``, which costs a task a request. The protocol knows
at once, so it offers itself in the scope's extensions.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, Protocol, cast

from gateway.server.headers import Header

EXTENSION = "piapi.connection"


class Connection(Protocol):
    """The connection of the request being served. One request is served at a time."""

    gone: bool
    """The client of the present request has left, or can no longer be answered."""

    stalled: bool
    """It was we who hung up, because the client took no byte for too long."""

    on_gone: Callable[[], None] | None
    """Called once, synchronously, when ``gone`` becomes true. Forgotten when the answer is complete."""

    @property
    def request_complete(self) -> bool:
        """The whole request has arrived."""
        ...

    def close_after_answer(self) -> None:
        """Say ``connection: close`` if the head is not out yet, and close after the answer."""
        ...

    async def answer(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Send a whole answer; ``content-length`` is among the headers."""
        ...

    def piece(self, data: bytes) -> bool:
        """Write a piece of a stream at once; False if the client must be waited for first."""
        ...

    def hold_head(self) -> None:
        """The head that is sent next waits for what is written after it, and must not wait in vain."""
        ...

    def abort(self) -> None:
        """Close at once; what was not sent yet is lost."""
        ...


def connection_of(scope: MutableMapping[str, Any]) -> Connection:
    """The connection behind an ASGI scope. KeyError if the server is not ours."""
    return cast("Connection", scope["extensions"][EXTENSION])
