"""httpx2's client on the gateway's own connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from gateway.upstream.pool import ConnectionPool
from gateway.upstream.transport import PoolTransport

from .peer import Do, Peer, Script

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n" + b'{"ok": "yes"}'


@pytest.fixture
async def client(pool: ConnectionPool) -> AsyncIterator[httpx2.AsyncClient]:
    timeout = httpx2.Timeout(5, read=0.05)
    async with httpx2.AsyncClient(transport=PoolTransport(pool), timeout=timeout) as client:
        yield client


def url(peer: Peer) -> str:
    return peer.endpoint().url + "/v1/models?limit=2"


async def test_a_request_and_its_answer(client: httpx2.AsyncClient, pool: ConnectionPool) -> None:
    async with Peer([Do.REQUEST, OK] * 2) as peer:
        for reused in (False, True):
            answer = await client.post(url(peer), json={"a": 1}, headers={"x-trace": "7"})
            assert answer.json() == {"ok": "yes"}
            assert answer.extensions["reused"] is reused
        head, _, body = peer.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/models?limit=2 HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n" % peer.port)
        assert b"\r\nx-trace: 7" in head.lower()
        assert head.lower().count(b"\r\naccept-encoding: identity") == head.lower().count(b"accept-encoding") == 1
        assert body == b'{"a":1}'
        assert pool.idle_count == peer.accepted == 1


async def test_a_body_that_is_produced_bit_by_bit_is_sent_whole(client: httpx2.AsyncClient) -> None:
    async def bits() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    async with Peer([Do.REQUEST, OK]) as peer:
        await client.post(url(peer), content=bits())
        assert peer.requests[0].endswith(b"content-length: 7\r\n\r\none two")


async def test_a_streamed_answer_left_early_closes_its_connection(
    client: httpx2.AsyncClient, pool: ConnectionPool
) -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    more = asyncio.Event()
    async with Peer([Do.REQUEST, head, b"2\r\nab\r\n", more, b"0\r\n\r\n"]) as peer:
        async with client.stream("GET", url(peer)) as answer:
            async for piece in answer.aiter_raw():
                assert piece == b"ab"
                break
        assert pool.open_count == 0
        await asyncio.sleep(0)
        more.set()
        await peer.until_gone()


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ([Do.REQUEST, Do.EOF], httpx2.ReadError),
        ([Do.REQUEST, OK[:-1], Do.EOF], httpx2.ReadError),
        ([Do.REQUEST, b"no HTTP\r\n"], httpx2.RemoteProtocolError),
        ([Do.REQUEST, b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000], httpx2.RemoteProtocolError),
        ([Do.REQUEST], httpx2.ReadTimeout),
        ([Do.REQUEST, OK[:-1]], httpx2.ReadTimeout),
    ],
)
async def test_failures_are_httpx2s_own(
    client: httpx2.AsyncClient, pool: ConnectionPool, script: Script, error: type[Exception]
) -> None:
    client.timeout = httpx2.Timeout(0.1)
    async with Peer(script) as peer:
        with pytest.raises(error):
            await client.get(url(peer))
        assert pool.open_count == 0


async def test_failures_to_connect_are_httpx2s_own(client: httpx2.AsyncClient) -> None:
    async with Peer([Do.REQUEST, OK]) as peer:
        closed = url(peer)
    with pytest.raises(httpx2.ConnectError):
        await client.get(closed)
    with pytest.raises(httpx2.UnsupportedProtocol):
        await client.get("ftp://127.0.0.1/")


async def test_what_may_not_be_sent_is_a_local_protocol_error(client: httpx2.AsyncClient) -> None:
    async with Peer([Do.REQUEST, OK]) as peer:
        with pytest.raises(httpx2.LocalProtocolError):
            await client.get(url(peer), headers={b"x": b"a\r\nb: c"})
        assert peer.accepted == 0


async def test_closing_the_client_leaves_the_pool_to_its_other_users(pool: ConnectionPool) -> None:
    async with Peer([Do.REQUEST, OK] * 2) as peer:
        for _ in range(2):
            async with httpx2.AsyncClient(transport=PoolTransport(pool)) as client:
                assert (await client.get(url(peer))).status_code == 200
        assert peer.accepted == 1
