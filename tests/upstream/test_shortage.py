"""When this machine can open no further connection, no upstream is to blame."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from gateway.core.errors import TransportError
from gateway.core.types import Endpoint, Phase
from gateway.upstream import dialer as dialling
from gateway.upstream.dialer import Address, SystemDialer
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.transport import PoolTransport

from .conftest import DIALER, Ask, read_all
from .peer import Do, Peer

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 5, before[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for descriptor in held:
            os.close(descriptor)


async def dial(dialer: Any, host: str = "127.0.0.1", port: int = 9) -> TransportError:
    """How a request to ``host`` fails."""
    pool = ConnectionPool(dialer)
    with pytest.raises(TransportError) as caught:
        await pool.request(Endpoint("", "http", host, port), "POST", "/", [], b"", connect_timeout=5)
    assert caught.value.phase is Phase.UNSENT
    assert pool.open_count == 0
    await pool.close()
    return caught.value


@pytest.mark.parametrize("host", ["127.0.0.1", "upstream.invalid"], ids=["while connecting", "while resolving"])
async def test_a_process_without_descriptors(host: str) -> None:
    dialer = SystemDialer()
    with no_descriptors():
        for _ in range(2):  # a name that did not resolve would be remembered
            assert (await dial(dialer, host)).slug == "pool_timeout"


async def test_a_process_without_descriptors_that_looked_up_a_name_before() -> None:
    """The C library has loaded its modules for names by then, and says EBUSY where a young process is told EMFILE."""
    with pytest.raises(socket.gaierror):
        await asyncio.get_running_loop().getaddrinfo("upstream.invalid", 9)
    with no_descriptors():
        assert (await dial(SystemDialer(), "upstream.invalid")).slug == "pool_timeout"


@pytest.mark.parametrize("name", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRNOTAVAIL"])
async def test_every_shortage_is_our_own(name: str) -> None:
    async def short(endpoint: Endpoint, factory: Callable[[], asyncio.Protocol]) -> Any:
        number = getattr(errno, name)
        raise OSError(number, os.strerror(number))

    assert (await dial(short)).slug == "pool_timeout"


async def test_a_resolver_without_memory_is_no_fault_of_the_name() -> None:
    async def short(host: str, port: int) -> list[Address]:
        raise socket.gaierror(socket.EAI_MEMORY, "Memory allocation failure")

    dialer = SystemDialer(resolve=short)
    for _ in range(2):  # a name that did not resolve would be remembered
        assert (await dial(dialer, "h.test")).slug == "pool_timeout"


async def test_the_numbers_of_tls_errors_are_not_the_systems() -> None:
    async def untrusted(endpoint: Endpoint, factory: Callable[[], asyncio.Protocol]) -> Any:
        raise ssl.SSLError(errno.ENOMEM, "some error of the TLS library")

    assert (await dial(untrusted)).slug == "tls_error"


async def test_what_rests_is_let_go_so_that_the_next_request_has_room(pool: ConnectionPool, ask: Ask) -> None:
    async with Peer([Do.REQUEST, OK]) as peer:
        await read_all(await ask(peer.endpoint()))
        assert pool.idle_count == 1
        with no_descriptors(), pytest.raises(TransportError, match="pool_timeout"):
            await ask(Endpoint("", "http", "127.0.0.2", peer.port))
        assert pool.idle_count == 0
        assert await read_all(await ask(peer.endpoint())) == b"ok"


async def test_a_shortage_at_one_of_many_addresses_is_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first address refuses; for the second there is no descriptor: whether it would have answered, who knows."""

    async def connect(address: Address) -> socket.socket:
        number = errno.ECONNREFUSED if address[1][0] == "127.0.0.2" else errno.EMFILE
        raise OSError(number, os.strerror(number))

    async def resolve(host: str, port: int) -> list[Address]:
        return [(socket.AF_INET, ("127.0.0.2", port)), (socket.AF_INET, ("127.0.0.3", port))]

    monkeypatch.setattr(dialling, "_connect", connect)
    assert (await dial(SystemDialer(resolve=resolve), "h.test")).slug == "pool_timeout"


async def test_a_machine_without_ipv6_is_not_short_of_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sock_connect(sock: socket.socket, address: Any) -> None:
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    async def resolve(host: str, port: int) -> list[Address]:
        return [(socket.AF_INET6, ("2001:db8::1", port, 0, 0))]

    class Loop:
        """The running loop, except that nothing can be reached over it."""

        def __getattr__(self, name: str) -> Any:
            return sock_connect if name == "sock_connect" else getattr(running, name)

    running = asyncio.get_running_loop()
    monkeypatch.setattr(asyncio, "get_running_loop", Loop)
    error = await dial(SystemDialer(resolve=resolve), "h.test")
    assert error.slug == "connect_refused"


async def test_httpx_knows_the_shortage_as_a_pool_timeout() -> None:
    pool = ConnectionPool(DIALER)
    client = httpx2.AsyncClient(transport=PoolTransport(pool), trust_env=False)
    with no_descriptors(), pytest.raises(httpx2.PoolTimeout):
        await client.get("http://127.0.0.1:9/")
    await client.aclose()
    await pool.close()
