"""Reaching an upstream: names, addresses tried side by side, certificates that hold and those that do not."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import trustme

from gateway.core.errors import TransportError
from gateway.core.types import Endpoint, Phase
from gateway.runtime.tls import client_context
from gateway.upstream.connection import BUFFER_LIMIT
from gateway.upstream.dialer import Address, Dialer, Resolver, SystemDialer, system_resolver
from gateway.upstream.pool import ConnectionPool

from .conftest import DIALER, read_all
from .peer import Do, Peer, Script, turns

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
AGAIN: Script = [Do.REQUEST, OK] * 5


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Our side: trusts the tests' authority and nothing else changed."""
    context = client_context()
    authority.configure_trust(context)
    return context


def presenting(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """The upstream's side."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def resolving(*addresses: str, family: socket.AddressFamily = socket.AF_INET) -> Resolver:
    async def resolve(host: str, port: int) -> list[Address]:
        return [(family, (address, port)) for address in addresses]

    return resolve


async def ask(dialer: SystemDialer, endpoint: Endpoint) -> bytes:
    pool = ConnectionPool(dialer)
    try:
        response = await pool.request(endpoint, "POST", "/", [], b"{}", connect_timeout=5)
        return await read_all(response)
    finally:
        await pool.close()


async def failure(dialer: Dialer, endpoint: Endpoint) -> TransportError:
    """The error of a request that cannot be sent; nothing may be left of it."""
    pool = ConnectionPool(dialer)
    with pytest.raises(TransportError) as caught:
        await pool.request(endpoint, "POST", "/", [], b"{}", connect_timeout=5)
    assert caught.value.phase is Phase.UNSENT
    assert pool.open_count == 0
    await pool.close()
    return caught.value


@pytest.fixture
async def closed_port() -> AsyncIterator[int]:
    """A port that refuses: bound, so that nobody else gets it, and not listened on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def test_a_refused_connection(closed_port: int) -> None:
    error = await failure(SystemDialer(), Endpoint("", "http", "127.0.0.1", closed_port))
    assert error.slug == "connect_refused"
    assert "Connect" in error.detail


async def test_any_other_failure_to_connect_counts_as_refused() -> None:
    async def unreachable(
        endpoint: Endpoint, protocol_factory: Callable[[], asyncio.Protocol]
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    error = await failure(unreachable, Endpoint("", "http", "203.0.113.1", 80))
    assert error.slug == "connect_refused"
    assert "No route to host" in error.detail


async def test_a_name_that_does_not_resolve_is_remembered_for_a_while() -> None:
    asked = 0

    async def resolve(host: str, port: int) -> list[Address]:
        nonlocal asked
        asked += 1
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    dialer = SystemDialer(resolve=resolve, negative_ttl=0.05)
    nowhere = Endpoint("", "http", "nowhere.invalid", 80)
    for _ in range(3):
        error = await failure(dialer, nowhere)
        assert error.slug == "dns_error"
        assert "not known" in error.detail
    assert asked == 1
    await asyncio.sleep(0.06)
    await failure(dialer, nowhere)
    assert asked == 2


async def test_a_name_without_an_address_and_a_name_that_is_none() -> None:
    assert (await failure(SystemDialer(resolve=resolving()), Endpoint("", "http", "h.invalid", 80))).slug == "dns_error"
    assert (await failure(SystemDialer(), Endpoint("", "http", "a" * 64 + ".invalid", 80))).slug == "dns_error"


async def test_the_system_resolver_knows_localhost_and_reads_digits() -> None:
    assert (socket.AF_INET, ("127.0.0.1", 80)) in await system_resolver("localhost", 80)
    assert await system_resolver("127.0.0.1", 80) == [(socket.AF_INET, ("127.0.0.1", 80))]
    assert await system_resolver("::1", 80) == [(socket.AF_INET6, ("::1", 80, 0, 0))]


async def test_localhost_is_reached_by_name() -> None:
    async with Peer(AGAIN) as peer:
        assert await ask(SystemDialer(), peer.endpoint("localhost")) == b"ok"
        assert b"\r\nhost: localhost:%d\r\n" % peer.port in peer.requests[0]


async def test_the_next_address_is_tried_where_one_refuses() -> None:
    """The peer listens on 127.0.0.1 only; the addresses before it refuse."""
    async with Peer(AGAIN) as peer:
        dialer = SystemDialer(resolve=resolving("127.0.0.2", "127.0.0.3", "127.0.0.1"), stagger=5)
        assert await ask(dialer, peer.endpoint("h.test")) == b"ok"
        assert peer.accepted == 1


async def test_every_address_refusing_is_the_first_ones_error(closed_port: int) -> None:
    dialer = SystemDialer(resolve=resolving("127.0.0.2", "127.0.0.3"))
    error = await failure(dialer, Endpoint("", "http", "h.test", closed_port))
    assert error.slug == "connect_refused"
    assert "127.0.0.2" in error.detail


@contextlib.contextmanager
def silent(host: str, port: int = 0) -> Iterator[int]:
    """A port whose queue is full, so that connecting to it hangs."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def test_a_silent_address_does_not_hold_up_the_next() -> None:
    """Nothing answers at the first address; the second is tried beside it, and what loses the race is closed."""
    async with Peer(AGAIN) as peer:
        with silent("127.0.0.2", peer.port):
            dialer = SystemDialer(resolve=resolving("127.0.0.2", "127.0.0.1"), stagger=0.01)
            assert await ask(dialer, peer.endpoint("h.test")) == b"ok"
            assert peer.accepted == 1


async def test_a_dial_cancelled_among_several_addresses_leaves_nothing() -> None:
    with silent("127.0.0.2") as port:
        pool = ConnectionPool(SystemDialer(resolve=resolving("127.0.0.2", "127.0.0.2"), stagger=0.01))
        with pytest.raises(TransportError, match="connect_timeout"):
            await pool.request(Endpoint("", "http", "h.test", port), "POST", "/", [], b"", connect_timeout=0.05)
        await turns()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await pool.close()


async def test_a_silent_address_alone_is_a_connect_timeout() -> None:
    with silent("127.0.0.2") as port:
        pool = ConnectionPool(DIALER)
        with pytest.raises(TransportError) as caught:
            await pool.request(Endpoint("", "http", "127.0.0.2", port), "POST", "/", [], b"", connect_timeout=0.02)
        assert (caught.value.slug, caught.value.phase) == ("connect_timeout", Phase.UNSENT)
        assert pool.open_count == 0
        await pool.close()


async def test_a_tls_handshake_that_never_ends_is_a_connect_timeout(trusting: ssl.SSLContext) -> None:
    async with Peer([asyncio.Event()]) as peer:
        pool = ConnectionPool(SystemDialer(trusting))
        mute = Endpoint("", "https", "127.0.0.1", peer.port)
        with pytest.raises(TransportError) as caught:
            await pool.request(mute, "POST", "/", [], b"", connect_timeout=0.02)
        assert (caught.value.slug, caught.value.phase) == ("connect_timeout", Phase.UNSENT)
        assert pool.open_count == 0
        await pool.close()


async def test_the_socket_sends_at_once_and_notices_a_dead_peer() -> None:
    async with Peer(AGAIN) as peer:
        transport, _ = await SystemDialer()(peer.endpoint(), asyncio.Protocol)
        opened = transport.get_extra_info("socket")
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        transport.abort()
        await peer.until_gone()


async def test_a_certificate_that_holds(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    certificate = authority.issue_cert("upstream.test")
    async with Peer(AGAIN, context=presenting(certificate)) as peer:
        pool = ConnectionPool(SystemDialer(trusting, resolve=resolving("127.0.0.1")))
        for reused in (False, True):
            response = await pool.request(
                peer.endpoint("upstream.test"), "POST", "/", [], bytes(900_000), connect_timeout=5
            )
            assert response.reused is reused
            assert await read_all(response) == b"ok"
        assert peer.accepted == 1
        await pool.close()


async def test_only_http_1_1_is_negotiated(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    certificate = authority.issue_cert("127.0.0.1")
    async with Peer(AGAIN, context=presenting(certificate)) as peer:
        transport, _ = await SystemDialer(trusting)(peer.endpoint(), asyncio.Protocol)
        assert transport.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        transport.write(b"POST / HTTP/1.1\r\n\r\n")
        await peer.until_asked()
        transport.abort()
        await peer.until_gone()


async def test_an_answer_over_tls_that_is_cut_off(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    certificate = authority.issue_cert("127.0.0.1")
    scripts: list[Script] = [[Do.REQUEST, OK[:-1], Do.EOF], [Do.REQUEST, OK[:-1], Do.RST], [Do.REQUEST, Do.EOF]]
    async with Peer(*scripts, context=presenting(certificate)) as peer:
        for phase in (Phase.ANSWERED, Phase.ANSWERED, Phase.UNKNOWN):
            with pytest.raises(TransportError) as caught:
                await ask(SystemDialer(trusting), peer.endpoint())
            assert (caught.value.slug, caught.value.phase) == ("connection_reset", phase)


async def test_a_flood_over_tls_is_held_back_and_comes_whole(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    certificate = authority.issue_cert("127.0.0.1")
    size = 8 * 1024 * 1024
    body = os.urandom(1024) * (size // 1024)
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size
    async with Peer([Do.REQUEST, head, body], context=presenting(certificate)) as peer:
        pool = ConnectionPool(SystemDialer(trusting))
        response = await pool.request(peer.endpoint(), "POST", "/", [], b"", connect_timeout=5)
        await asyncio.sleep(0.05)
        assert response.bytes_received <= 3 * BUFFER_LIMIT
        assert await read_all(response) == body
        await pool.close()


async def test_a_caller_that_goes_leaves_nothing_over_tls(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    certificate = authority.issue_cert("127.0.0.1")
    async with Peer([Do.REQUEST, OK[:-1]], context=presenting(certificate)) as peer:
        pool = ConnectionPool(SystemDialer(trusting))
        response = await pool.request(peer.endpoint(), "POST", "/", [], b"", connect_timeout=5)
        response.close()
        assert pool.open_count == 0
        await peer.until_gone()
        await pool.close()


async def refused_certificate(certificate: trustme.LeafCert, context: ssl.SSLContext | None, host: str) -> str:
    async with Peer(AGAIN, context=presenting(certificate)) as peer:
        dialer = SystemDialer(context, resolve=resolving("127.0.0.1"))
        error = await failure(dialer, peer.endpoint(host))
        assert error.slug == "tls_error"
        assert peer.requests == []
        return error.detail


async def test_a_certificate_for_another_name(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    detail = await refused_certificate(authority.issue_cert("other.test"), trusting, "upstream.test")
    assert "mismatch" in detail


async def test_a_certificate_that_has_expired(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    expired = authority.issue_cert("upstream.test", not_after=yesterday)
    assert "expired" in await refused_certificate(expired, trusting, "upstream.test")


async def test_a_certificate_of_an_authority_nobody_trusts(authority: trustme.CA) -> None:
    detail = await refused_certificate(authority.issue_cert("upstream.test"), None, "upstream.test")
    assert "unable to get local issuer" in detail or "self-signed" in detail


async def test_a_peer_that_does_not_speak_tls(trusting: ssl.SSLContext) -> None:
    async with Peer([b"HTTP/1.1 400 Plain\r\n\r\n"]) as peer:
        error = await failure(SystemDialer(trusting), Endpoint("", "https", "127.0.0.1", peer.port))
        assert error.slug == "tls_error"


@pytest.mark.parametrize("check_hostname", [True, False])
def test_a_context_that_does_not_verify_is_refused(check_hostname: bool) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    if check_hostname:
        context.verify_mode = ssl.CERT_NONE
    with pytest.raises(ValueError, match="verify"):
        SystemDialer(context)


async def test_proxies_named_in_the_environment_are_not_asked(
    monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    async with Peer(AGAIN) as peer:
        assert await ask(SystemDialer(), peer.endpoint()) == b"ok"
