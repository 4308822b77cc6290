"""Every way an answer may be framed, cut into pieces at every place, over a real socket."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.errors import TransportError
from gateway.core.types import Phase
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.response import Response

from .conftest import Ask, read_all
from .peer import Do, Peer, Script

FIXED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Empty:\r\ncontent-length: 11 \r\n\r\nhello world"
CHUNKED = (
    b"HTTP/1.1 201 Created\r\nTransfer-Encoding: Chunked\r\ntrailer: x-sum\r\n\r\n"
    b'5;name="a\tb"\r\nhello\r\n006\r\n world\r\n0;last\r\nX-Sum: 1\r\nx-empty:\r\n\r\n'
)
UNTIL_CLOSE = b"HTTP/1.0 200\r\nx-a: 1\r\nx-a: 2\r\n\r\nhello world"
EARLY = b"HTTP/1.1 100 Continue\r\nx-hint: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"

ANSWERS = [
    pytest.param(
        FIXED, 200, ((b"content-type", b"text/plain"), (b"x-empty", b""), (b"content-length", b"11")), id="fixed"
    ),
    pytest.param(CHUNKED, 201, ((b"transfer-encoding", b"Chunked"), (b"trailer", b"x-sum")), id="chunked"),
    pytest.param(UNTIL_CLOSE, 200, ((b"x-a", b"1"), (b"x-a", b"2")), id="until close"),
    pytest.param(
        EARLY + FIXED,
        200,
        ((b"content-type", b"text/plain"), (b"x-empty", b""), (b"content-length", b"11")),
        id="after 1xx",
    ),
]


def script_of(pieces: list[bytes], *, kept: bool) -> Script:
    return [Do.REQUEST, *pieces] if kept else [Do.REQUEST, *pieces, Do.EOF]


@pytest.mark.parametrize(("answer", "status", "headers"), ANSWERS)
async def test_an_answer_cut_in_two_at_every_place_reads_the_same(
    ask: Ask, pool: ConnectionPool, answer: bytes, status: int, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    kept = answer != UNTIL_CLOSE
    cuts = [[answer[:place], answer[place:]] for place in range(1, len(answer))]
    if kept:  # all of them, one after the other, on one connection
        scripts = [[step for cut in cuts for step in script_of(cut, kept=True)]]
    else:
        scripts = [list(script_of(cut, kept=False)) for cut in cuts]
    async with Peer(*scripts) as peer:
        for _ in cuts:
            response = await ask(peer.endpoint())
            assert (response.status, response.headers) == (status, headers)
            assert await read_all(response) == b"hello world"
            assert response.bytes_received == len(answer)
        assert peer.accepted == (1 if kept else len(cuts))
        assert pool.open_count == (1 if kept else 0)


@pytest.mark.parametrize(("answer", "status", "headers"), ANSWERS)
async def test_an_answer_sent_byte_by_byte_reads_the_same(
    ask: Ask, answer: bytes, status: int, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    pieces = [answer[place : place + 1] for place in range(len(answer))]
    async with Peer(script_of(pieces, kept=answer != UNTIL_CLOSE)) as peer:
        response = await ask(peer.endpoint())
        assert (response.status, response.headers) == (status, headers)
        assert await read_all(response) == b"hello world"


async def test_the_body_is_handed_out_as_it_arrives(ask: Ask) -> None:
    more, end = asyncio.Event(), asyncio.Event()
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    async with Peer([Do.REQUEST, head, more, b"3\r\none\r\n3\r\ntwo\r\n", end, b"5\r\nthree\r\n0\r\n\r\n"]) as peer:
        response = await ask(peer.endpoint())
        more.set()
        assert await response.receive() == b"onetwo"
        end.set()
        assert await response.receive() == b"three"
        assert await response.receive() == b""
        assert await response.receive() == b""
        response.close()


@pytest.mark.parametrize("framing", [b"", b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n"])
@pytest.mark.parametrize("status", [204, 304])
async def test_204_and_304_have_no_body_whatever_their_head_says(ask: Ask, status: int, framing: bytes) -> None:
    answer = b"HTTP/1.1 %d No\r\n%b\r\n" % (status, framing)
    async with Peer([Do.REQUEST, answer, Do.REQUEST, FIXED]) as peer:
        response = await ask(peer.endpoint())
        assert response.status == status
        assert await read_all(response) == b""
        assert await read_all(await ask(peer.endpoint())) == b"hello world"
        assert peer.accepted == 1


@pytest.mark.parametrize("framing", [b"", b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n"])
async def test_an_answer_to_head_has_no_body_whatever_its_head_says(ask: Ask, framing: bytes) -> None:
    async with Peer([Do.REQUEST, b"HTTP/1.1 200 OK\r\n%b\r\n" % framing], [Do.REQUEST, FIXED]) as peer:
        response = await ask(peer.endpoint(), "HEAD", b"")
        assert await read_all(response) == b""
        assert await read_all(await ask(peer.endpoint())) == b"hello world"


async def test_a_body_sent_in_answer_to_head_is_not_taken_for_the_next_answer(ask: Ask) -> None:
    async with Peer([Do.REQUEST, FIXED], [Do.REQUEST, FIXED]) as peer:
        assert await read_all(await ask(peer.endpoint(), "HEAD", b"")) == b""
        assert await read_all(await ask(peer.endpoint())) == b"hello world"
        assert peer.accepted == 2


async def test_an_encoded_body_is_shown_and_not_decoded(ask: Ask) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00"
    async with Peer([Do.REQUEST, answer]) as peer:
        response = await ask(peer.endpoint())
        assert (b"content-encoding", b"gzip") in response.headers
        assert await read_all(response) == b"\x1f\x8b\x08\x00"


@pytest.mark.parametrize("framing", [b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n"])
async def test_what_a_1xx_says_of_a_body_means_nothing(ask: Ask, framing: bytes) -> None:
    early = b"HTTP/1.1 103 Early\r\nx: 1\r\n%b\r\n" % framing
    async with Peer([Do.REQUEST, early + b"HTTP/1.1 200 OK\r\n\r\nhello world", Do.EOF]) as peer:
        response = await ask(peer.endpoint())
        assert (response.headers, await read_all(response)) == ((), b"hello world")


BAD = {
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a request": b"GET / HTTP/1.1\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "length beside chunked": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked beside length": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n0\r\n\r\n",
    "chunked twice": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "an encoding not asked for": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "an encoding with a parameter": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "an encoding with a tab behind": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\t\r\n\r\n0\r\n\r\n",
    "a length below nought": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "a length too long": b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
    "a folded header": b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "a bare carriage return": b"HTTP/1.1 200 OK\r\nx: a\rb: c\r\ncontent-length: 0\r\n\r\n",
    "a NUL": b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nx : a\r\ncontent-length: 0\r\n\r\n",
    "a status below 100": b"HTTP/1.1 099 No\r\ncontent-length: 0\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n",
    "an upgrade": b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nhello",
    "a bare 101": b"HTTP/1.1 101 Switching\r\n\r\n",
    "HTTP/3": b"HTTP/3.0 200 OK\r\ncontent-length: 0\r\n\r\n",
}


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD.keys())
async def test_what_is_not_http_is_refused(ask: Ask, pool: ConnectionPool, answer: bytes) -> None:
    async with Peer([Do.REQUEST, answer]) as peer:
        with pytest.raises(TransportError) as caught:
            await ask(peer.endpoint())
        assert (caught.value.slug, caught.value.phase) == ("bad_http", Phase.UNKNOWN)
        assert pool.open_count == 0
        await peer.until_gone()


@pytest.mark.parametrize(
    "chunks", [b"-1\r\nx\r\n", b"xyz\r\n", b"fffffffffffffffff\r\n", b"3\nabc\n", b"3\r\nabcd\r\n0\r\n\r\n"]
)
async def test_bad_chunks_break_the_body_off_after_what_was_good(ask: Ask, pool: ConnectionPool, chunks: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ngood\r\n"
    async with Peer([Do.REQUEST, head + chunks]) as peer:
        response = await ask(peer.endpoint())
        assert (await response.receive())[:4] == b"good"
        with pytest.raises(TransportError) as caught:
            await response.receive()
        assert (caught.value.slug, caught.value.phase) == ("bad_http", Phase.ANSWERED)
        response.close()
        assert pool.open_count == 0


async def refused_head(ask: Ask, *pieces: bytes) -> TransportError:
    async with Peer([Do.REQUEST, *pieces]) as peer:
        with pytest.raises(TransportError) as caught:
            await ask(peer.endpoint())
        return caught.value


LIMIT = 64 * 1024


def head_of(size: int) -> bytes:
    start, end = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: ", b"\r\n\r\n"
    return start + b"a" * (size - len(start) - len(end)) + end


@pytest.mark.parametrize("cut", [0, 1, LIMIT // 2, LIMIT - 1])
async def test_a_head_may_take_64_kib_and_not_a_byte_more(ask: Ask, cut: int) -> None:
    fits, too_big = head_of(LIMIT), head_of(LIMIT + 1)
    async with Peer([Do.REQUEST, fits[:cut], fits[cut:] + b"ok"]) as peer:
        assert await read_all(await ask(peer.endpoint())) == b"ok"
    error = await refused_head(ask, too_big[:cut], too_big[cut:] + b"ok")
    assert (error.slug, error.phase) == ("head_too_big", Phase.UNKNOWN)


@pytest.mark.parametrize(
    "flood",
    [
        b"HTTP/1.1 200 " + b"O" * LIMIT * 2,
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * LIMIT * 2,
        b"HTTP/1.1 200 OK\r\n" + b"x: a\r\n" * LIMIT,
        b"HTTP/1.1 100 Continue\r\n\r\n" * LIMIT,
        b"\r\n" * LIMIT,
    ],
    ids=["reason", "value", "headers", "1xx", "empty lines"],
)
async def test_a_head_without_end_is_cut_off(ask: Ask, flood: bytes) -> None:
    assert (await refused_head(ask, flood)).slug == "head_too_big"


@pytest.mark.parametrize(
    "flood", [b"1;" + b"x" * LIMIT * 8, b"0\r\n" + b"x: y\r\n" * LIMIT * 2], ids=["extension", "trailers"]
)
async def test_framing_without_end_is_cut_off(ask: Ask, pool: ConnectionPool, flood: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    async with Peer([Do.REQUEST, head, flood]) as peer:
        response: Response = await ask(peer.endpoint())
        with pytest.raises(TransportError, match="extensions or trailers") as caught:
            await response.receive()
        assert (caught.value.slug, caught.value.phase) == ("bad_http", Phase.ANSWERED)
        response.close()
        assert pool.open_count == 0
