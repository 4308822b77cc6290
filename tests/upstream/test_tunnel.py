"""Reaching an upstream through a proxy: what it is asked, what it may answer, and what is kept from it."""

from __future__ import annotations

import base64
import ssl
from dataclasses import replace

import pytest
import trustme

from gateway.core.connection_options import ConnectionOptions, Proxy
from gateway.core.errors import TransportError
from gateway.core.types import Endpoint, Phase
from gateway.runtime.tls import client_context
from gateway.upstream.dialer import SystemDialer
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.tunnel import HEAD_LIMIT

from .conftest import DIALER, read_all
from .peer import Do, Peer, Script
from .tunnels import ForwardProxy

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
AGAIN: Script = [Do.REQUEST, OK] * 5


def through(proxy: Proxy, endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, options=ConnectionOptions(proxy))


async def failure(proxy: Proxy, endpoint: Endpoint) -> TransportError:
    pool = ConnectionPool(DIALER)
    try:
        with pytest.raises(TransportError) as caught:
            await pool.request(through(proxy, endpoint), "POST", "/", [], b"", connect_timeout=5)
        assert pool.open_count == 0
        return caught.value
    finally:
        await pool.close()


async def test_the_proxy_gets_a_name_and_a_port_and_the_tunnel_is_kept() -> None:
    async with Peer(AGAIN) as peer, ForwardProxy(leads={"upstream.test": "127.0.0.1"}) as proxy:
        pool = ConnectionPool(DIALER)
        for reused in (False, True):
            response = await pool.request(
                through(proxy.proxy, peer.endpoint("upstream.test")), "POST", "/v1", [], b"{}", connect_timeout=5
            )
            assert response.reused is reused
            assert await read_all(response) == b"ok"
        assert proxy.targets == [f"upstream.test:{peer.port}"]
        assert peer.requests[0].startswith(b"POST /v1 HTTP/1.1\r\nhost: upstream.test:")
        await pool.close()


async def test_its_credentials_go_to_the_proxy_alone() -> None:
    login = "Basic " + base64.b64encode(b"ann:s3cret!").decode()
    async with Peer(AGAIN) as peer, ForwardProxy() as proxy:
        pool = ConnectionPool(DIALER)
        known = replace(proxy.proxy, authorization=login)
        await read_all(await pool.request(through(known, peer.endpoint()), "GET", "/", [], b"", connect_timeout=5))
        assert f"Proxy-Authorization: {login}\r\n".encode() in proxy.heads[0]
        assert b"roxy-" not in peer.requests[0]
        assert "s3cret" not in repr(known)
        assert known.secrets == {"s3cret!", login[6:]}
        await pool.close()


async def test_tls_is_spoken_with_the_upstream_inside_the_tunnel() -> None:
    authority = trustme.CA()
    ours, theirs = client_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(ours)
    authority.issue_cert("upstream.test").configure_cert(theirs)
    async with Peer(AGAIN, context=theirs) as peer, ForwardProxy(leads={"upstream.test": "127.0.0.1"}) as proxy:
        pool = ConnectionPool(SystemDialer(ours))
        endpoint = through(proxy.proxy, peer.endpoint("upstream.test"))
        assert await read_all(await pool.request(endpoint, "GET", "/", [], b"", connect_timeout=5)) == b"ok"
        with pytest.raises(TransportError) as caught:  # a proxy that leads elsewhere cannot pass for the upstream
            other = through(proxy.proxy, peer.endpoint("127.0.0.1"))
            await pool.request(other, "GET", "/", [], b"", connect_timeout=5)
        assert (caught.value.slug, caught.value.phase) == ("tls_error", Phase.UNSENT)
        await pool.close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "answered 407 to CONNECT"),
        (b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 5\r\n\r\nsorry", "answered 502 to CONNECT"),
        (b"HTTP/1.0 403 Forbidden\r\n\r\n", "answered 403 to CONNECT"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://elsewhere.test/\r\n\r\n", "answered 302 to CONNECT"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "is not HTTP"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno", "sent more than the head"),
        (b"HTTP/1.1 200 OK\r\nx: " + bytes(2 * HEAD_LIMIT), "more than 16384 bytes"),
        (b"", "closed the connection"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_proxy_that_opens_no_tunnel_is_a_refused_connection(answer: bytes, said: str) -> None:
    async with Peer(AGAIN) as peer, ForwardProxy(answer) as proxy:
        error = await failure(proxy.proxy, peer.endpoint())
        assert (error.slug, error.phase) == ("connect_refused", Phase.UNSENT)
        assert said in str(error)
        assert peer.accepted == 0


async def test_a_proxy_that_is_not_there() -> None:
    async with Peer(AGAIN) as peer, ForwardProxy() as gone:
        pass
    error = await failure(gone.proxy, peer.endpoint())
    assert error.slug == "connect_refused"
    assert (await failure(Proxy("proxy.invalid", 3128), peer.endpoint())).slug == "dns_error"


async def test_a_proxy_that_says_nothing_is_a_connect_timeout() -> None:
    async with Peer([Do.HEAD]) as silent:
        pool = ConnectionPool(DIALER)
        endpoint = through(Proxy("127.0.0.1", silent.port), Endpoint("", "http", "upstream.test", 80))
        with pytest.raises(TransportError) as caught:
            await pool.request(endpoint, "GET", "/", [], b"", connect_timeout=0.05)
        assert (caught.value.slug, caught.value.phase) == ("connect_timeout", Phase.UNSENT)
        await silent.until_gone()
        await pool.close()


async def test_connections_with_and_without_a_proxy_are_not_shared() -> None:
    async with Peer(AGAIN) as peer, ForwardProxy() as proxy:
        pool = ConnectionPool(DIALER)
        for endpoint in (peer.endpoint(), through(proxy.proxy, peer.endpoint()), peer.endpoint()):
            await read_all(await pool.request(endpoint, "GET", "/", [], b"", connect_timeout=5))
        assert (peer.accepted, len(proxy.targets)) == (2, 1)
        await pool.close()
