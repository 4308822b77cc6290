"""What an upstream's connection tells the holder of connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.upstream.connection import UpstreamConnection


class ConnectionOwner(Protocol):
    """The holder of connections, informed of what becomes of each."""

    def on_idle(self, connection: UpstreamConnection) -> None:
        """The exchange is over and the connection may serve another."""
        ...

    def on_retired(self, connection: UpstreamConnection) -> None:
        """The connection will not serve again. Called once."""
        ...
