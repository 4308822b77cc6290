"""A body that is handed over as it arrives, within the transport's own callback."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.errors import TransportError
from gateway.core.types import Phase
from gateway.upstream.pool import ConnectionPool

from .conftest import Ask, read_all
from .peer import Do, Peer

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Taker:
    """Takes pieces. ``most``: how many; then it says that it takes no more."""

    def __init__(self, most: int = 1000) -> None:
        self.got: list[bytes] = []
        self.most = most
        self.came = asyncio.Event()

    def __call__(self, data: bytes) -> bool:
        self.got.append(data)
        self.came.set()
        return len(self.got) < self.most

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.got) < count:
                self.came.clear()
                await self.came.wait()


async def test_every_piece_is_handed_over_at_once_and_the_end_is_told(ask: Ask, pool: ConnectionPool) -> None:
    go = [asyncio.Event(), asyncio.Event()]
    script = [Do.REQUEST, HEAD + chunk(b"one"), go[0], chunk(b"two"), go[1], chunk(b"three") + END]
    async with Peer(script) as peer:
        response = await ask(peer.endpoint())
        taker = Taker()
        handing = asyncio.get_running_loop().create_task(response.hand_over(taker))
        for count, event in enumerate(go, 1):
            await taker.until(count)
            assert not handing.done()
            event.set()
        await handing
        response.close()
        assert pool.idle_count == 1  # in step: the connection may serve another request
    assert taker.got == [b"one", b"two", b"three", b""]


async def test_what_was_here_before_comes_first(ask: Ask) -> None:
    async with Peer([Do.REQUEST, HEAD + chunk(b"early"), chunk(b" late") + END]) as peer:
        response = await ask(peer.endpoint())
        await asyncio.sleep(0.01)
        taker = Taker()
        await response.hand_over(taker)
        response.close()
    assert b"".join(taker.got) == b"early late"
    assert taker.got[-1] == b""


async def test_a_taker_that_has_enough_leaves_the_rest_for_the_next(ask: Ask) -> None:
    async with Peer([Do.REQUEST, HEAD + chunk(b"one"), chunk(b"two"), chunk(b"three") + END]) as peer:
        response = await ask(peer.endpoint())
        first = Taker(most=1)
        await response.hand_over(first)
        await asyncio.sleep(0.01)  # what comes now is kept, and handed to nobody
        assert len(first.got) == 1
        assert first.got[0] + await read_all(response) == b"onetwothree"


async def test_a_body_that_breaks_off_is_handed_over_up_to_there(ask: Ask, pool: ConnectionPool) -> None:
    async with Peer([Do.REQUEST, HEAD + chunk(b"one"), Do.RST]) as peer:
        response = await ask(peer.endpoint())
        taker = Taker()
        with pytest.raises(TransportError) as error:
            await response.hand_over(taker)
        response.close()
    assert (taker.got, error.value.slug, error.value.phase) == ([b"one"], "connection_reset", Phase.ANSWERED)
    assert pool.open_count == 0


async def test_framing_that_is_broken_ends_it_after_what_was_sound(ask: Ask) -> None:
    async with Peer([Do.REQUEST, HEAD + chunk(b"one") + b"zz\r\n"]) as peer:
        response = await ask(peer.endpoint())
        taker = Taker()
        with pytest.raises(TransportError, match="chunk"):
            await response.hand_over(taker)
        response.close()
    assert taker.got == [b"one"]


async def test_what_the_taker_raises_reaches_the_caller_and_not_the_transport(ask: Ask, pool: ConnectionPool) -> None:
    go = asyncio.Event()

    def fails(data: bytes) -> bool:
        if data == b"two":
            raise ZeroDivisionError
        return True

    async with Peer([Do.REQUEST, HEAD + chunk(b"one"), go, chunk(b"two")]) as peer:
        response = await ask(peer.endpoint())
        asyncio.get_running_loop().call_later(0.01, go.set)
        with pytest.raises(ZeroDivisionError):
            await response.hand_over(fails)
        response.close()
        await peer.until_gone()
    assert pool.open_count == 0


async def test_a_cancelled_hand_over_closes_the_connection_and_hands_over_no_more(
    ask: Ask, pool: ConnectionPool
) -> None:
    go = asyncio.Event()
    async with Peer([Do.REQUEST, HEAD + chunk(b"one"), go, chunk(b"two")]) as peer:
        response = await ask(peer.endpoint())
        taker = Taker()
        handing = asyncio.get_running_loop().create_task(response.hand_over(taker))
        await taker.until(1)
        handing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await handing
        go.set()
        await asyncio.sleep(0.01)
        response.close()
    assert taker.got == [b"one"]
    assert pool.open_count == 0


async def test_more_than_is_buffered_waits_for_the_taker_that_comes_back(ask: Ask) -> None:
    """Between two calls the peer is held back as in any other wait."""
    body = [bytes([65 + number % 26]) * 65536 for number in range(40)]
    async with Peer([Do.REQUEST, HEAD, *(chunk(piece) for piece in body), END]) as peer:
        response = await ask(peer.endpoint())
        got = []
        while True:
            taker = Taker(most=1)
            await response.hand_over(taker)
            got += taker.got
            if taker.got == [b""]:
                break
            await asyncio.sleep(0)
        response.close()
    assert b"".join(got) == b"".join(body)
