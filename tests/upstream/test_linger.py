"""An answer of which all was said, but whose end has not come: its connection is kept if that comes soon."""

from __future__ import annotations

import asyncio

import pytest

from gateway.upstream.pool import ConnectionPool
from tests.upstream.conftest import Ask
from tests.upstream.peer import Do, Peer, Script

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
DONE = b"6\r\n[DONE]\r\n"
END = b"0\r\n\r\n"
LONG = 60.0


async def all_said(ask: Ask, peer: Peer, linger: float) -> None:
    """Read a stream up to its last event, and let it go."""
    response = await ask(peer.endpoint())
    assert await response.receive() == b"[DONE]"
    response.close(linger)


async def turns_until(pool: ConnectionPool, *, idle: int, opened: int) -> None:
    async with asyncio.timeout(5):
        while (pool.idle_count, pool.open_count) != (idle, opened):
            await asyncio.sleep(0.005)


async def test_an_end_that_comes_keeps_the_connection(ask: Ask, pool: ConnectionPool) -> None:
    go = asyncio.Event()
    async with Peer([Do.REQUEST, HEAD + DONE, go, END, Do.REQUEST, HEAD + DONE + END]) as peer:
        await all_said(ask, peer, LONG)
        assert (pool.idle_count, pool.open_count) == (0, 1)
        go.set()
        await turns_until(pool, idle=1, opened=1)
        await all_said(ask, peer, 0.0)
        assert pool.open_count == 1


async def test_what_comes_meanwhile_is_dropped_however_much(ask: Ask, pool: ConnectionPool) -> None:
    go, much = asyncio.Event(), b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    async with Peer([Do.REQUEST, HEAD + DONE, go, much, b"1\r\nx\r\n" * 5000, END]) as peer:
        await all_said(ask, peer, LONG)
        go.set()
        await turns_until(pool, idle=1, opened=1)


@pytest.mark.parametrize(
    "script",
    [[], [Do.EOF], [Do.RST], [b"no chunk\r\n"], [END + b"HTTP/1.1 200 OK\r\n"]],
    ids=["never", "closed", "reset", "broken", "too much"],
)
async def test_any_other_end_closes_it(ask: Ask, pool: ConnectionPool, script: Script) -> None:
    go = asyncio.Event()
    async with Peer([Do.REQUEST, HEAD + DONE, go, *script]) as peer:
        await all_said(ask, peer, LONG if script else 0.01)
        go.set()
        await turns_until(pool, idle=0, opened=0)


async def test_a_pool_that_is_closed_does_not_wait_for_it(ask: Ask, pool: ConnectionPool) -> None:
    async with Peer([Do.REQUEST, HEAD + DONE]) as peer:
        await all_said(ask, peer, LONG)
        await pool.close()
        assert pool.open_count == 0
