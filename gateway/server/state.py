"""What all connections of one listener share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.core.client_address import Network
from gateway.core.headers import Headers
from gateway.server.client import Client
from gateway.server.connection import Connection
from gateway.server.limits import ServerLimits
from gateway.server.request import Request
from gateway.server.slots import ConnectionSlots

Application = Callable[[Request, Client], Coroutine[Any, Any, None]]
"""What answers a request."""


@dataclass(slots=True, eq=False)
class ListenerState:
    """A listener's application and limits, and what is open at present."""

    app: Application
    limits: ServerLimits
    on_refused: Callable[[Request], None] = lambda _: None
    """Called with every request that a connection answered with its ``error`` before the application saw it: what had
    come of it."""

    cors: Callable[[bytes], Headers] | None = None
    """An Origin → the headers that every answer to that page carries. None: no page may read an answer."""

    hostless: Callable[[bytes], bool] = lambda _: False
    """A raw path → whether a request for it may lack its Host."""

    trusted: Callable[[], Sequence[Network]] = tuple
    """The networks of proxies that are believed about the client, for the connections that come from now on."""

    date: bytes = b""
    """The Date header of every answer, as a whole line."""

    slots: ConnectionSlots = field(default_factory=ConnectionSlots)
    """The open connections, idle ones included."""

    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    """The application's running calls."""

    closed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set each time that a connection has closed."""

    @property
    def connections(self) -> set[Connection]:
        """Open connections, idle ones included."""
        return self.slots.connections

    def headers_for(self, origins: Sequence[bytes]) -> Headers:
        """What an answer says to the page that its request came from. Of two Origins none is believed."""
        return self.cors(origins[0]) if self.cors is not None and len(origins) == 1 else ()
