"""What all connections of one listener share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

from gateway.core.client_address import Network
from gateway.core.errors import GatewayError
from gateway.core.headers import Headers
from gateway.server.connection import DownstreamConnection
from gateway.server.limits import ServerLimits
from gateway.server.slots import ConnectionSlots

Application = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]
"""ASGI's callable, version 3, for HTTP alone."""


@dataclass(slots=True, eq=False)
class ListenerState:
    """A listener's application and limits, and what is open at present."""

    app: Application
    limits: ServerLimits
    on_refused: Callable[[GatewayError, str, Scope], None] = lambda *_: None
    """Called with every error that a connection answered before the application saw the request, the request's id, and
    a scope with what had come of it: ``raw_path``, ``headers``, ``client``."""

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
    def connections(self) -> set[DownstreamConnection]:
        """Open connections, idle ones included."""
        return self.slots.connections

    def headers_for(self, origins: Sequence[bytes]) -> Headers:
        """What an answer says to the page that its request came from. Of two Origins none is believed."""
        return self.cors(origins[0]) if self.cors is not None and len(origins) == 1 else ()
