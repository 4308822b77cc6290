"""Listening inside a loop that is already running; the owner of the ``RunningServer`` decides when to stop.

Several servers may run in one loop. None touches its signals.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from functools import partial
from pathlib import Path

from gateway.core.client_address import Network
from gateway.core.errors import OperatorError
from gateway.core.headers import Headers
from gateway.server.limits import ServerLimits
from gateway.server.protocol import ServerProtocol
from gateway.server.proxy_protocol import PassedOn, ProxyHeaderReader
from gateway.server.request import Request
from gateway.server.state import Application, ListenerState

BACKLOG = 2048
ACCEPTED_AT_ONCE = 8
"""Connections that asyncio's own loop accepts in one turn; uvloop accepts one. Of a burst that is accepted at once, the
first would make room for the last (slots.py) before what they sent had been read."""
STOP_TIME = 1.0
"""Seconds that applications are given to notice that their connections were cut."""


class ListenError(OperatorError):
    """The address cannot be listened on; the message says which and why."""


class RunningServer:
    """A server that accepts. ``host`` and ``port`` are what was bound, so that port 0 becomes a real one."""

    def __init__(
        self, state: ListenerState, listeners: list[asyncio.Server], reached_at: tuple[str, int] | None = None
    ) -> None:
        """``reached_at``: the host and port that its clients know, if they are not what was bound."""
        self._state = state
        self._listeners = listeners
        self._loop = asyncio.get_running_loop()
        self._accepting = True
        self.host: str
        self.port: int
        self.host, self.port = reached_at or listeners[0].sockets[0].getsockname()[:2]
        self._date_timer: asyncio.TimerHandle | None = None
        self._stamp()

    @property
    def connections(self) -> int:
        """Open client connections, idle ones included."""
        return len(self._state.connections)

    @property
    def evicted(self) -> int:
        """Connections that had to make room for others so far."""
        return self._state.slots.evicted

    @property
    def requests(self) -> int:
        """Requests being answered."""
        return len(self._state.tasks)

    def hand_over(
        self,
        app: Application,
        *,
        limits: ServerLimits,
        on_refused: Callable[[Request], None],
        cors: Callable[[bytes], Headers] | None,
        hostless: Callable[[bytes], bool],
        trusted: Callable[[], Sequence[Network]],
    ) -> None:
        """From the next request on ``app`` answers, with the options of ``start_server``."""
        state = self._state
        state.app, state.limits, state.on_refused = app, limits, on_refused
        state.cors, state.hostless, state.trusted = cors, hostless, trusted

    def stop_accepting(self) -> None:
        """Let go of the port and of idle connections. What is being answered goes on and closes after its answer."""
        if not self._accepting:
            return
        self._accepting = False
        for listener in self._listeners:
            listener.close()
        for connection in list(self._state.connections):
            connection.shutdown()

    async def close(self, timeout: float) -> None:
        """Stop accepting, wait at most ``timeout`` seconds for what is being answered, then cut what is left."""
        self.stop_accepting()
        deadline = self._loop.time() + timeout
        if self._state.tasks:
            await asyncio.wait(list(self._state.tasks), timeout=timeout)
        await self._until_quiet(max(0.0, deadline - self._loop.time()))
        for connection in list(self._state.connections):
            connection.abort()
        if self._state.tasks:
            _, stuck = await asyncio.wait(list(self._state.tasks), timeout=STOP_TIME)
            for task in stuck:
                task.cancel()
            if stuck:
                await asyncio.wait(stuck, timeout=STOP_TIME)
        await self._until_quiet(STOP_TIME)
        if self._date_timer is not None:
            self._date_timer.cancel()

    async def _until_quiet(self, timeout: float) -> None:
        """Wait until no connection is left, or for ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while self._state.connections:
                    self._state.closed.clear()
                    await self._state.closed.wait()
        except TimeoutError:
            pass

    def _stamp(self) -> None:
        """Keep the Date header, once a second."""
        now = time.time()
        self._state.date = f"date: {formatdate(now, usegmt=True)}\r\n".encode("ascii")
        self._date_timer = self._loop.call_later(1.0 - now % 1.0, self._stamp)


async def start_server(
    app: Application,
    host: str,
    port: int,
    *,
    limits: ServerLimits | None = None,
    on_refused: Callable[[Request], None] = lambda _: None,
    cors: Callable[[bytes], Headers] | None = None,
    hostless: Callable[[bytes], bool] = lambda _: False,
    trusted: Callable[[], Sequence[Network]] = tuple,
) -> RunningServer:
    """Serve ``app`` on every address of ``host`` (a name, an IPv4 or an IPv6 address), in the running loop.

    ``port`` 0 takes a free one. ``on_refused``, ``cors``, ``hostless``, ``trusted``: as in ``ListenerState``. Raise
    ListenError.
    """
    state = ListenerState(app, limits or ServerLimits(), on_refused, cors, hostless, trusted)
    return await listen(state, host, port)


async def listen(state: ListenerState, host: str, port: int, *, shared: bool = False) -> RunningServer:
    """``start_server`` with all of its options in ``state``. ``shared``: other processes of this user may listen there
    too, and connections are dealt out among them (SO_REUSEPORT). Raise ListenError.
    """
    sockets = await _bind(host, port, shared=shared)
    return await _serve(state, sockets, partial(_connection, asyncio.get_running_loop(), state))


async def start_passed_on(
    app: Application,
    path: Path,
    reached_at: tuple[str, int],
    *,
    limits: ServerLimits,
    on_refused: Callable[[Request], None],
) -> RunningServer:
    """Serve ``app`` at a Unix socket, for a process of this machine that passes requests on to it; each connection
    begins with a PROXY header that says whose they are.

    ``path``: of the socket, which this user alone may use; its folder must be that user's alone as well.
    ``reached_at``: host and port at which the other process takes them. Raise ListenError.
    """
    bound = _private_socket(path)
    state, loop = ListenerState(app, limits, on_refused), asyncio.get_running_loop()
    return await _serve(state, [bound], lambda: PassedOn(ServerProtocol(loop, state)), reached_at)


def _private_socket(path: Path) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        opened.setblocking(False)
        opened.bind(str(path))
        path.chmod(0o600)
    except OSError as error:
        opened.close()
        raise ListenError(f"cannot listen on {path}: {_reason(error)}") from None
    return opened


async def reserve(host: str, port: int) -> list[socket.socket]:
    """Sockets at every address of ``host`` and one port, for servers that share it; nothing is accepted at these. So
    ``port`` 0 becomes a real one, and stays it. Raise ListenError, also where another gateway has the port.
    """
    probes = await _bind(host, port)  # as a server alone would, so that a port that another has is refused
    addresses = [(probe.family, probe.getsockname()) for probe in probes]
    for probe in probes:
        probe.close()
    held = []
    for family, address in addresses:
        try:
            held.append(_bound_socket(family, socket.SOCK_STREAM, 0, address, shared=True))
        except OSError as error:
            for one in held:
                one.close()
            raise ListenError(f"cannot listen on {address[0]}:{address[1]}: {_reason(error)}") from None
    return held


async def _serve(
    state: ListenerState,
    sockets: list[socket.socket],
    connection: Callable[[], asyncio.Protocol],
    reached_at: tuple[str, int] | None = None,
) -> RunningServer:
    loop = asyncio.get_running_loop()
    listeners = []
    for bound in sockets:
        create = loop.create_unix_server if bound.family == socket.AF_UNIX else loop.create_server
        listeners.append(await create(connection, sock=bound, backlog=ACCEPTED_AT_ONCE, start_serving=False))
    server = RunningServer(state, listeners, reached_at)
    for listener, bound in zip(listeners, sockets, strict=True):
        await listener.start_serving()
        bound.listen(BACKLOG)  # what the loop was told is how many it takes at once, and how many may wait
    return server


def _connection(loop: asyncio.AbstractEventLoop, state: ListenerState) -> asyncio.Protocol:
    connection = ServerProtocol(loop, state)
    trusted = state.trusted()
    return ProxyHeaderReader(connection, trusted) if trusted else connection


async def _bind(host: str, port: int, *, shared: bool = False) -> list[socket.socket]:
    """One socket for each address of ``host``, all on one port."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ListenError(f"cannot listen on {where}: {host!r} is not an address of this machine ({error})") from None
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    for family, kind, protocol, _, address in dict.fromkeys(found):
        if port == 0 and sockets:
            address = (address[0], sockets[0].getsockname()[1], *address[2:])
        try:
            sockets.append(_listening_socket(family, kind, protocol, address, shared=shared))
        except OSError as error:
            # A name may stand for addresses that this machine lacks, as localhost does for ::1 in many containers.
            # And a port that is free for one address may be taken for the next, if we did not choose it.
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) or (port == 0 and sockets):
                absent = error
                continue
            for opened in sockets:
                opened.close()
            raise ListenError(f"cannot listen on {where}: {_reason(error)}") from None
    if not sockets:
        raise ListenError(f"cannot listen on {where}: {_reason(absent) if absent else 'no such address'}")
    return sockets


def _listening_socket(
    family: int, kind: int, protocol: int, address: tuple[object, ...], *, shared: bool
) -> socket.socket:
    opened = _bound_socket(family, kind, protocol, address, shared=shared)
    try:
        opened.listen(BACKLOG)  # the loop does so again; here it fails in time where another has just begun to listen
    except OSError:
        opened.close()
        raise
    return opened


def _bound_socket(family: int, kind: int, protocol: int, address: tuple[object, ...], *, shared: bool) -> socket.socket:
    opened = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.setblocking(False)
        opened.bind(address)
    except OSError:
        opened.close()
        raise
    return opened


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the address is already in use, perhaps by another gateway"
    return os.strerror(error.errno) if error.errno else str(error)


def url_of(server: RunningServer) -> str:
    """Where a listener is reached, without a path."""
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"http://{host}:{server.port}"


def url_for_this_machine(server: RunningServer) -> str:
    """Where a program beside the gateway reaches it; every address at once is none that can be asked."""
    return f"http://127.0.0.1:{server.port}" if server.host in ("0.0.0.0", "::") else url_of(server)  # noqa: S104
