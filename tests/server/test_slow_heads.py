"""Hundreds of clients that never end their heads, and one that asks beside them."""

from __future__ import annotations

import asyncio

from tests.raw_client import RawClient

from .conftest import front_door
from .test_protocol import echo

MANY = 400
DRIBBLE = b"GET / HTTP/1.1\r\nHost: a\r\nX-A: "


async def test_slow_heads_by_the_hundred_hold_up_nobody(serve, connect):
    """Each of them sends a byte now and then. All are told 408, and whoever asks meanwhile is answered."""
    server = await serve(front_door(echo), head_timeout=4)
    slow = [await connect(server) for _ in range(MANY)]
    for client in slow:
        await client.send(DRIBBLE)
    waiting = asyncio.gather(*(client.closed() for client in slow))
    pings = 0
    asking = await connect(server)
    while not waiting.done():
        assert (await asking.request("GET", "/")).status == 200
        pings += 1
        for client in slow[pings % 10 :: 10]:
            if not client.writer.is_closing():
                client.writer.write(b"x")
        await asyncio.sleep(0.01)
    answers = await waiting
    assert pings >= 10, "answered while they dribbled"
    told = [answer for answer in answers if answer.startswith(b"HTTP/1.1 408 ")]
    assert len(told) > MANY / 2, "a byte that crosses the answer may reset a connection"
    assert not [answer for answer in answers if answer and not answer.startswith(b"HTTP/1.1 408 ")]


async def test_idle_connections_by_the_hundred_are_let_go(serve, connect):
    server = await serve(front_door(echo), head_timeout=0.3)
    idle: list[RawClient] = [await connect(server) for _ in range(MANY)]
    asking = await connect(server)
    assert (await asking.request("GET", "/")).status == 200
    assert await asyncio.gather(*(client.closed() for client in idle)) == [b""] * MANY
    assert (await asking.request("GET", "/")).status == 200
