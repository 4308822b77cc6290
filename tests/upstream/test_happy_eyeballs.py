"""Hosts with addresses of both families, over real sockets: RFC 8305, as far as a client of few hosts needs it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.core.errors import TransportError
from gateway.upstream import dialer
from gateway.upstream.dialer import Address, Resolver, SystemDialer
from gateway.upstream.pool import ConnectionPool

from .conftest import read_all
from .peer import Do, Peer, Script, turns

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
AGAIN: Script = [Do.REQUEST, OK] * 5


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as tried:
        tried.bind(("::1", 0))
        return True
    return False


pytestmark = pytest.mark.skipif(not has_ipv6(), reason="THIS MACHINE HAS NO IPv6: NOBODY TESTS WHAT A DUAL STACK GETS")


@contextlib.asynccontextmanager
async def both_families() -> AsyncIterator[tuple[Peer, Peer]]:
    """Two peers on one port: on ::1, and on 127.0.0.3, where no connection of other tests holds a port."""
    async with Peer(AGAIN, host="::1") as six:
        four = Peer(AGAIN)
        server = await asyncio.start_server(four._accept, "127.0.0.3", six.port)
        four.port = six.port
        try:
            yield six, four
        finally:
            server.close()
            for task in list(four._tasks):
                task.cancel()


@contextlib.contextmanager
def silent(family: socket.AddressFamily, host: str, port: int = 0) -> Iterator[int]:
    """A port whose queue is full, so that connecting to it hangs, as behind a firewall that drops."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket(family))
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            filler = sockets.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def known(*hosts: str) -> Resolver:
    async def resolve(host: str, port: int) -> list[Address]:
        return [(socket.AF_INET6, (one, port, 0, 0)) if ":" in one else (socket.AF_INET, (one, port)) for one in hosts]

    return resolve


async def ask(peer: Peer, *hosts: str, stagger: float = 0.01, timeout: float = 5) -> None:
    pool = ConnectionPool(SystemDialer(resolve=known(*hosts), stagger=stagger))
    try:
        answer = await pool.request(peer.endpoint("h.test"), "GET", "/", [], b"", connect_timeout=timeout)
        assert await read_all(answer) == b"ok"
        assert pool.open_count == 1
    finally:
        await pool.close()
        await turns()
        assert [task for task in asyncio.all_tasks() if task.get_coro().__name__ == "_connect"] == []  # type: ignore[union-attr]


async def test_the_resolvers_first_family_is_preferred() -> None:
    for hosts, wanted in ((("::1", "127.0.0.3"), 0), (("127.0.0.3", "::1"), 1)):
        async with both_families() as peers:
            await ask(peers[0], *hosts, stagger=5)
            assert [peer.accepted for peer in peers] == [int(wanted == 0), int(wanted == 1)]


async def test_a_host_with_ipv6_alone() -> None:
    async with Peer(AGAIN, host="::1") as peer:
        await ask(peer, "::1")


async def test_an_address_written_as_ipv6() -> None:
    async with Peer(AGAIN, host="::1") as peer:
        pool = ConnectionPool(SystemDialer())
        answer = await pool.request(peer.endpoint("::1"), "GET", "/", [], b"", connect_timeout=5)
        assert await read_all(answer) == b"ok"
        assert b"host: [::1]:%d\r\n" % peer.port in peer.requests[0]
        await pool.close()


@pytest.mark.parametrize("host", ["::1", "127.0.0.1"])
async def test_localhost_on_one_family_alone(host: str) -> None:
    """As development servers listen: the system's own resolver, whichever order it has."""
    async with Peer(AGAIN, host=host) as peer:
        pool = ConnectionPool(SystemDialer(resolve=known("::1", "127.0.0.1"), stagger=5))
        answer = await pool.request(peer.endpoint("localhost"), "GET", "/", [], b"", connect_timeout=4)
        assert await read_all(answer) == b"ok"
        await pool.close()


async def test_a_family_that_swallows_everything_does_not_hold_up_the_other() -> None:
    async with Peer(AGAIN) as four:
        with silent(socket.AF_INET6, "::1", four.port):
            await ask(four, "::1", "127.0.0.1")
    async with Peer(AGAIN, host="::1") as six:
        with silent(socket.AF_INET, "127.0.0.3", six.port):
            await ask(six, "127.0.0.3", "::1")


async def test_many_addresses_that_swallow_everything_take_turns_with_the_other_family() -> None:
    """Twenty addresses of the first family do not come before the first of the second."""
    async with Peer(AGAIN) as four, contextlib.AsyncExitStack() as dead:
        dead.enter_context(silent(socket.AF_INET6, "::1", four.port))
        await ask(four, *["::1"] * 20, "127.0.0.1", stagger=0.2, timeout=2)


async def test_a_family_that_refuses_is_left_at_once() -> None:
    """A refusal is not waited out: the stagger is far longer than the test's patience."""
    async with Peer(AGAIN) as four:
        await ask(four, "::1", "127.0.0.1", stagger=60)
        await ask(four, *["::1"] * 30, *["127.0.0.9"] * 30, "127.0.0.1", stagger=60)


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EACCES])
async def test_a_machine_without_a_way_for_a_family(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    real = dialer._connect

    async def without_ipv6(address: Address) -> socket.socket:
        if address[0] == socket.AF_INET6:
            raise OSError(number, "no way there")
        return await real(address)

    monkeypatch.setattr(dialer, "_connect", without_ipv6)
    async with Peer(AGAIN) as four:
        await ask(four, "::1", "127.0.0.1", stagger=60)


async def test_everything_silent_is_a_connect_timeout_that_leaves_nothing() -> None:
    with silent(socket.AF_INET6, "::1") as port, silent(socket.AF_INET, "127.0.0.2", port):
        pool = ConnectionPool(SystemDialer(resolve=known("::1", "127.0.0.2"), stagger=0.01))
        peer = Peer()
        peer.port = port
        with pytest.raises(TransportError, match="connect_timeout"):
            await pool.request(peer.endpoint("h.test"), "GET", "/", [], b"", connect_timeout=0.1)
        assert pool.open_count == 0
        await pool.close()
