"""The opening of sockets: names resolved, addresses raced, TLS always verified. Nothing here reads the environment."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any, Protocol

from gateway.core.types import Endpoint
from gateway.upstream.tls import TLSContexts
from gateway.upstream.tunnel import open_tunnel

Address = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]
"""A family and the address that ``connect`` takes for it."""

Resolver = Callable[[str, int], Awaitable[list[Address]]]
"""Host and port → addresses in order of preference; raises ``socket.gaierror``."""

_NEGATIVE_ENTRIES = 256

_SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL))


class Dialer(Protocol):
    """Opens one connection; raises OSError or ssl.SSLError as asyncio does, and never TimeoutError."""

    async def __call__(
        self, endpoint: Endpoint, protocol_factory: Callable[[], asyncio.Protocol]
    ) -> tuple[asyncio.Transport, asyncio.Protocol]: ...


def is_shortage(error: BaseException) -> bool:
    """Whether this machine has no descriptor, memory or local port left for a connection: socket(2), connect(2)."""
    if isinstance(error, socket.gaierror):  # its numbers are of another kind
        return error.errno == socket.EAI_MEMORY
    if isinstance(error, ssl.SSLError):  # so are these
        return False
    return isinstance(error, OSError) and error.errno in _SHORTAGES


async def system_resolver(host: str, port: int) -> list[Address]:
    """The operating system's resolver; an address written as digits is not looked up. Raises ``socket.gaierror``."""
    return await _resolved(host, port, None)


def resolver_on(threads: Executor) -> Resolver:
    """``system_resolver`` on these threads: for names that others choose, whose look-ups may take as long as they like
    without keeping the upstreams' waiting.
    """

    async def resolve(host: str, port: int) -> list[Address]:
        return await _resolved(host, port, threads)

    return resolve


async def _resolved(host: str, port: int, threads: Executor | None) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await _looked_up(host, port, threads)
    return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]


async def _looked_up(host: str, port: int, threads: Executor | None) -> list[Any]:
    """What ``getaddrinfo`` finds. A look-up that this machine could not make is a shortage, as EAI_MEMORY is."""
    loop = asyncio.get_running_loop()
    try:
        if threads is None:
            return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return await loop.run_in_executor(threads, partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM))
    except socket.gaierror as error:
        if _has_a_descriptor():
            raise
        # A name service that can open nothing may say that there is no such name (libnss-mdns does).
        raise socket.gaierror(socket.EAI_MEMORY, "the look-up failed: this process has no descriptor left") from error
    except OSError as error:
        # EAI_SYSTEM. errno is what the C library met last: without descriptors EMFILE in a young process, and EBUSY in
        # one that has looked up a name before.
        raise socket.gaierror(socket.EAI_MEMORY, f"the look-up failed on this machine: {error.strerror}") from error


def _has_a_descriptor() -> bool:
    try:
        socket.socket().close()
    except OSError as error:
        return error.errno not in _SHORTAGES
    return True


class SystemDialer:
    """A ``Dialer`` that uses the machine's own resolver and sockets.

    ``ssl_context``: for other certificate authorities; it must verify. None for the system's, and for those that an
        endpoint's options name.
    ``stagger``: seconds one address is given before the next is tried beside it (RFC 8305, section 5: 250 ms).
    ``negative_ttl``: seconds a failed look-up is remembered, so that a name that does not resolve does not fill the
        resolver's threads.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext | None = None,
        *,
        resolve: Resolver = system_resolver,
        stagger: float = 0.25,
        negative_ttl: float = 2.0,
    ) -> None:
        self._contexts = TLSContexts(ssl_context)
        self._resolve = resolve
        self._stagger = stagger
        self._negative_ttl = negative_ttl
        self._unresolved: dict[str, tuple[float, str]] = {}

    async def __call__(
        self, endpoint: Endpoint, protocol_factory: Callable[[], asyncio.Protocol]
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """Open a connection.

        Raises OSError: ``socket.gaierror`` for a name, ``ssl.SSLError`` for TLS; UnicodeError for an invalid name.
        """
        secure = endpoint.scheme == "https"
        context = await self._contexts.of(endpoint.options.tls) if secure else None
        connected = await self._connected(endpoint)
        # From here on the socket is the transport's to close, on failure and cancellation too.
        return await asyncio.get_running_loop().create_connection(
            protocol_factory, sock=connected, ssl=context, server_hostname=endpoint.host if secure else None
        )

    async def _connected(self, endpoint: Endpoint) -> socket.socket:
        """A socket that leads to the endpoint, through its proxy if it has one."""
        proxy = endpoint.options.proxy
        if proxy is None:
            addresses = await self._addresses(endpoint.host, endpoint.port)
            return await _connect_first(_interleaved(addresses), self._stagger)
        addresses = await self._addresses(proxy.host, proxy.port)
        connected = await _connect_first(_interleaved(addresses), self._stagger)
        try:
            await open_tunnel(connected, proxy, endpoint.host, endpoint.port)
        except BaseException:
            connected.close()
            raise
        return connected

    async def _addresses(self, host: str, port: int) -> list[Address]:
        loop = asyncio.get_running_loop()
        if host in self._unresolved:
            until, reason = self._unresolved[host]
            if loop.time() < until:
                raise socket.gaierror(socket.EAI_NONAME, reason)
            del self._unresolved[host]
        try:
            addresses = await self._resolve(host, port)
            if not addresses:
                raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
        except socket.gaierror as error:
            if is_shortage(error):  # which says nothing about the name
                raise
            if len(self._unresolved) >= _NEGATIVE_ENTRIES:
                self._unresolved.clear()
            self._unresolved[host] = (loop.time() + self._negative_ttl, str(error.strerror or error))
            raise
        return addresses


def _interleaved(addresses: list[Address]) -> list[Address]:
    """Alternate between address families, the resolver's first choice first (RFC 8305, section 4)."""
    families: dict[socket.AddressFamily, list[Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    rounds = itertools.zip_longest(*families.values())
    return [address for one_round in rounds for address in one_round if address is not None]


async def _connect_first(addresses: list[Address], stagger: float) -> socket.socket:
    """The first socket to connect; the others are closed.

    If none connects, raises the OSError of a shortage, or without one the OSError that came first.
    """
    if len(addresses) == 1:
        return await _connect(addresses[0])
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[socket.socket]] = set()
    failures: list[BaseException] = []
    waiting = list(reversed(addresses))
    try:
        while waiting or running:
            if waiting:
                running.add(loop.create_task(_connect(waiting.pop())))
            done, running = await asyncio.wait(
                running, timeout=stagger if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            winner: socket.socket | None = None
            for attempt in done:
                error = attempt.exception()
                if error is not None:
                    failures.append(error)
                elif winner is None:
                    winner = attempt.result()
                else:
                    attempt.result().close()
            if winner is not None:
                return winner
        # A shortage here explains most, since it concerns every address.
        raise next((failure for failure in failures if is_shortage(failure)), failures[0])
    finally:
        for attempt in running:
            attempt.cancel()
            attempt.add_done_callback(_close_late)


def _close_late(attempt: asyncio.Task[socket.socket]) -> None:
    """Close the socket of a loser that connected before its cancellation reached it."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _connect(address: Address) -> socket.socket:
    family, where = address
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await asyncio.get_running_loop().sock_connect(opened, where)
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRNOTAVAIL and family == socket.AF_INET6:
            # A machine without IPv6 says so of every such address; no local port is short.
            raise OSError(errno.ENETUNREACH, f"{os.strerror(errno.ENETUNREACH)}: no IPv6 address here") from error
        raise
    except BaseException:
        opened.close()
        raise
    return opened
