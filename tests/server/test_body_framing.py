"""Bodies that are mostly framing: they are refused while a segment is parsed, before its end is looked at."""

from __future__ import annotations

import pytest

from gateway.core.errors import GatewayError
from gateway.server.body_framing import BodyFraming
from gateway.server.request import Request

from .conftest import front_door
from .test_protocol import CHUNKED, echo

SEGMENT = 256 * 1024
FLOODS = {
    "chunks of a byte": b"1\r\na\r\n",
    "chunks with extensions": b"1;a=b\r\na\r\n",
    "zeros before the size": b"00000001\r\na\r\n",
    "chunks of three bytes": b"3\r\nabc\r\n",
}


@pytest.mark.parametrize("chunk", FLOODS.values(), ids=FLOODS)
async def test_chunks_that_are_mostly_framing_are_refused_in_the_midst_of_a_segment(serve, connect, monkeypatch, chunk):
    fed = []
    came = Request.feed
    monkeypatch.setattr(Request, "feed", lambda self, data: (fed.append(data), came(self, data))[1])
    server = await serve(front_door(echo))
    flood, asking = await connect(server), await connect(server)
    await flood.send(CHUNKED + chunk * (SEGMENT // len(chunk)))
    assert (await asking.request("GET", "/")).status == 200
    answer = await flood.closed()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"more framing than content" in answer
    assert len(fed) < SEGMENT // len(chunk) / 2, "what comes after is not read"


async def test_trailers_are_counted_as_they_come(serve, connect):
    server = await serve(front_door(echo))
    client = await connect(server)
    await client.send(CHUNKED + b"1\r\na\r\n0\r\n" + b"a: b\r\n" * (SEGMENT // 6))
    answer = await client.closed()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"more than 100 trailers" in answer


async def test_headers_are_counted_as_they_come(serve, connect):
    """A head that never ends is told what is wrong with it by its hundred-and-first header."""
    server = await serve(front_door(echo))
    client = await connect(server)
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a:b\r\n" * 200)
    answer = await client.closed()
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"more than 100 headers" in answer


async def test_small_chunks_of_a_small_body_pass(serve, connect):
    """As of a program that writes letter by letter."""
    server = await serve(front_door(echo))
    client = await connect(server)
    await client.send(CHUNKED + b"1\r\na\r\n" * 5_000 + b"0\r\nx: y\r\n\r\n")
    assert (await client.answer()).body == b"a" * 5_000


async def test_chunks_of_a_long_body_pass_as_long_as_they_hold_something(serve, connect):
    server = await serve(front_door(echo))
    client = await connect(server)
    await client.send(CHUNKED + b"8\r\nabcdefgh\r\n" * 20_000 + b"0\r\n\r\n")
    assert len((await client.answer()).body) == 160_000


def test_another_body_begins_at_nothing():
    framing = BodyFraming(allowance=100)
    for _ in range(20):
        framing.chunk_came()
    with pytest.raises(GatewayError, match="more framing than content"):
        framing.chunk_came()
    framing = BodyFraming(allowance=100)
    framing.chunk_came()
    assert not framing.too_much_after(100, 0)
    assert framing.too_much_after(1, 0)
    framing.content += 1
    assert not framing.too_much_after(1_000, 0)
