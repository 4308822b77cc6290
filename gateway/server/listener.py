"""Listening: uvicorn's server machinery inside a loop that is already running, without its signal handlers.

Several servers may run in one loop. What decides when to stop is whoever holds the ``RunningServer``.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import socket
import time
from collections.abc import Callable
from email.utils import formatdate

import uvicorn
from starlette.types import ASGIApp

from gateway.core.errors import GatewayError, OperatorError
from gateway.server.limits import ServerLimits
from gateway.server.protocol import GuardedProtocol

BACKLOG = 2048
STOP_TIME = 1.0
"""Seconds that applications are given to notice that their connections were cut."""


class ListenError(OperatorError):
    """The address cannot be listened on; the message says which and why."""


class RunningServer:
    """``host`` and ``port`` are what was bound, so that port 0 becomes a real one."""

    def __init__(self, server: uvicorn.Server, sockets: list[socket.socket], quiet: asyncio.Event) -> None:
        self._server = server
        self._state = server.server_state
        self._quiet = quiet
        self._loop = asyncio.get_running_loop()
        self._accepting = True
        self.host, self.port = sockets[0].getsockname()[:2]
        self._date_timer: asyncio.TimerHandle | None = None
        self._stamp()

    @property
    def connections(self) -> int:
        """Open client connections, idle ones included."""
        return len(self._state.connections)

    @property
    def requests(self) -> int:
        """Requests being answered."""
        return len(self._state.tasks)

    def stop_accepting(self) -> None:
        """Let go of the port and of idle connections. What is being answered goes on and closes after its answer."""
        if not self._accepting:
            return
        self._accepting = False
        for listener in self._server.servers:
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
            connection.transport.abort()
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
                    self._quiet.clear()
                    await self._quiet.wait()
        except TimeoutError:
            pass

    def _stamp(self) -> None:
        """Keep the Date header, once a second."""
        now = time.time()
        self._state.default_headers = [(b"date", formatdate(now, usegmt=True).encode("ascii"))]
        self._date_timer = self._loop.call_later(1.0 - now % 1.0, self._stamp)


async def start_server(
    app: ASGIApp,
    host: str,
    port: int,
    *,
    limits: ServerLimits | None = None,
    on_refused: Callable[[GatewayError, str], None] | None = None,
) -> RunningServer:
    """Serve ``app`` on every address of ``host`` (a name, an IPv4 or an IPv6 address), in the running loop.

    ``port`` 0 takes a free one. ``on_refused`` is told of every request refused before the application saw it, with its
    request id. Raise ListenError.
    """
    quiet = asyncio.Event()
    protocol = functools.partial(
        GuardedProtocol, limits=limits or ServerLimits(), on_refused=on_refused, on_closed=quiet.set
    )
    sockets = await _bind(host, port)
    config = uvicorn.Config(
        app,
        loop="none",
        http=protocol,  # type: ignore[arg-type]  # called like a class, which is all that uvicorn does with it
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=sockets)
    return RunningServer(server, sockets, quiet)


async def _bind(host: str, port: int) -> list[socket.socket]:
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
            sockets.append(_listening_socket(family, kind, protocol, address))
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


def _listening_socket(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    opened = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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
