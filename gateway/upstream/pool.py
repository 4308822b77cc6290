"""The pool of connections to all upstreams: kept alive, last in first out, every step O(1)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable, Sequence

from gateway.core.connection_options import ConnectionOptions
from gateway.core.errors import TransportError
from gateway.core.types import Endpoint, Phase
from gateway.upstream.connection import UpstreamConnection
from gateway.upstream.dialer import Dialer, is_shortage
from gateway.upstream.request_head import host_header, request_head
from gateway.upstream.response import Response

MOST_IDLE = 1024
"""Unused connections that an origin may keep: what a burst of streams needed is there for the next. To open one takes
as long as half a request; each holds a descriptor, which is given back as soon as descriptors are short.
"""

FRESH_FOR = 1.0
"""Seconds of idling after which a connection no longer counts as fresh (fault catalogue, row 5)."""


class _ConnectionGroup:
    """The connections to one origin.

    ``max_age``: seconds since it was opened after which a connection is not used again: its host may have moved since.
    ``open``: open connections → when they were opened.
    ``idle``: idle connections → when they became idle, oldest first.
    """

    __slots__ = ("_loop", "_max_age", "_max_idle", "host", "idle", "open")

    def __init__(self, loop: asyncio.AbstractEventLoop, host: bytes, max_idle: int, max_age: float) -> None:
        self._loop = loop
        self._max_idle = max_idle
        self._max_age = max_age
        self.host = host
        self.open: dict[UpstreamConnection, float] = {}
        self.idle: OrderedDict[UpstreamConnection, float] = OrderedDict()

    def take(self, idle_for: float) -> UpstreamConnection | None:
        """The connection that became idle last, if that was less than ``idle_for`` seconds ago."""
        now = self._loop.time()
        while self.idle:
            connection, since = self.idle.popitem()
            if since < now - idle_for:
                self.idle[connection] = since
                return None
            if connection.usable and now - self.open[connection] < self._max_age:
                return connection
            connection.abort()
        return None

    def expire(self, before: float) -> None:
        """Close the connections that have been idle since before ``before``."""
        while self.idle:
            connection, since = self.idle.popitem(last=False)
            if since >= before:
                self.idle[connection] = since
                self.idle.move_to_end(connection, last=False)
                return
            connection.abort()

    def clear(self) -> None:
        """Close all idle connections."""
        while self.idle:
            self.idle.popitem()[0].abort()

    def on_idle(self, connection: UpstreamConnection) -> None:
        now = self._loop.time()
        if now - self.open[connection] >= self._max_age:
            connection.abort()
            return
        if len(self.idle) >= self._max_idle:
            if not self._max_idle:
                connection.abort()
                return
            oldest, _ = self.idle.popitem(last=False)
            oldest.abort()
        self.idle[connection] = now

    def on_retired(self, connection: UpstreamConnection) -> None:
        self.open.pop(connection, None)
        self.idle.pop(connection, None)


class ConnectionPool:
    """HTTP/1.1 to any endpoint over connections that are kept alive.

    ``idle_timeout``: seconds an unused connection is kept.
    ``max_idle``: how many unused ones an origin (scheme, host and port) may keep.
    ``head_limit``: bytes an answer's head may take.

    Open connections are not limited: the gateway limits requests at admission. The pool belongs to the loop it is first
    used on.
    """

    def __init__(
        self, dialer: Dialer, *, idle_timeout: float = 60.0, max_idle: int = MOST_IDLE, head_limit: int = 64 * 1024
    ) -> None:
        self._dialer = dialer
        self._idle_timeout = idle_timeout
        self._max_idle = max_idle
        self._head_limit = head_limit
        self._groups: dict[tuple[str, str, int, ConnectionOptions], _ConnectionGroup] = {}
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def idle_count(self) -> int:
        """The number of idle connections."""
        return sum(len(group.idle) for group in self._groups.values())

    @property
    def open_count(self) -> int:
        """The number of all connections: idle, in use, being dialled."""
        return sum(len(group.open) for group in self._groups.values())

    async def request(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        *,
        connect_timeout: float | None,
        fresh: bool = False,
        on_sending: Callable[[], None] | None = None,
    ) -> Response:
        """Send a request; return when the answer's head (status 200 or above) has come. Never sends twice.

        ``path``: appended to the endpoint's base path.
        ``headers``: all but Host and the framing headers, which are written here.
        ``connect_timeout``: seconds for resolving, connecting and TLS together; None for no limit.
        ``fresh``: use only a new connection or one that idled for less than a second (for requests that must not be
            bought twice).
        ``on_sending``: called once a connection is there and the request is about to be sent.

        Raises TransportError: UNSENT ``connect_refused`` (and every other failure to connect), ``dns_error``,
        ``tls_error``, ``connect_timeout``, ``pool_timeout`` (this machine can open no more connections, which is not
        the upstream's fault); UNKNOWN ``reused_conn_reset`` (a kept connection was closed without a byte of an answer),
        ``connection_reset``, ``bad_http``, ``head_too_big``.
        Raises ValueError, before anything is sent, for text that may not stand in a request.
        """
        if self._closed:
            raise RuntimeError("the pool is closed")
        group = self._group(endpoint)
        head = request_head(method, endpoint.base_path + path, group.host, headers, len(body))
        connection = group.take(min(FRESH_FOR, self._idle_timeout) if fresh else self._idle_timeout)
        if connection is None:
            connection = await self._dial(endpoint, group, connect_timeout)
        if on_sending is not None:
            on_sending()
        return Response(connection, await connection.exchange(head, body, head_only=method == "HEAD"))

    async def close(self) -> None:
        """Close every connection and wait until their sockets are closed; running exchanges fail."""
        self._closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
        connections = [connection for group in self._groups.values() for connection in group.open]
        for connection in connections:
            connection.abort()
        self._groups.clear()
        closing = [connection.closed for connection in connections if connection.opened]
        if closing:
            await asyncio.wait(closing)

    async def _dial(self, endpoint: Endpoint, group: _ConnectionGroup, timeout: float | None) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        connection = UpstreamConnection(loop, group, self._head_limit)
        group.open[connection] = loop.time()
        self._start_sweep(loop)
        ready = False
        try:
            async with asyncio.timeout(timeout):
                await self._dialer(endpoint, lambda: connection)
            ready = connection.usable
        except (OSError, UnicodeError) as error:
            failure = _dial_error(error)
            if failure.slug == "pool_timeout":  # idle connections hold the resource that is short
                for each in self._groups.values():
                    each.clear()
            raise failure from error
        finally:
            if not ready:
                connection.abort()
        if not ready:
            raise TransportError("connect_refused", Phase.UNSENT, "closed before the request was sent")
        return connection

    def _group(self, endpoint: Endpoint) -> _ConnectionGroup:
        origin = (endpoint.scheme, endpoint.host, endpoint.port, endpoint.options)
        group = self._groups.get(origin)
        if group is None:
            host = host_header(endpoint.scheme, endpoint.host, endpoint.port)
            group = _ConnectionGroup(asyncio.get_running_loop(), host, self._max_idle, endpoint.options.max_age)
            self._groups[origin] = group
        return group

    def _start_sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._sweep_timer is None:
            self._sweep_timer = loop.call_later(self._idle_timeout / 2, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close connections that idled too long and forget origins without connections; the only timer of the pool."""
        self._sweep_timer = None
        before = loop.time() - self._idle_timeout
        for origin, group in list(self._groups.items()):
            group.expire(before)
            if not group.open:
                del self._groups[origin]
        if self._groups:
            self._start_sweep(loop)


def _dial_error(error: OSError | UnicodeError) -> TransportError:
    """The TransportError for a failed dial. Nothing was sent in any of these cases."""
    if is_shortage(error):
        slug = "pool_timeout"
    elif isinstance(error, (socket.gaierror, UnicodeError)):  # UnicodeError: a label that no DNS name can hold
        slug = "dns_error"
    elif isinstance(error, ssl.SSLError):
        slug = "tls_error"
    elif isinstance(error, TimeoutError):
        slug = "connect_timeout"
    else:
        slug = "connect_refused"
    return TransportError(slug, Phase.UNSENT, f"{type(error).__name__}: {error}")
