"""Bodies that are too large, too slow, compressed, or never come to their end."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest

from gateway.core.limits.body_memory import BodyBudget
from gateway.server.body import UNCOUNTED, read_body
from gateway.server.request import SenderGone
from tests.raw_client import message, until

from .conftest import front_door

LIMIT = 1_000
LARGE = 2 * UNCOUNTED


@pytest.fixture
async def client(serve, connect):
    """Talks to an endpoint that gives back the size of what it read: at most 1,000 bytes."""
    return await connect(await serve(front_door(reading(idle=30, total=30))))


@pytest.fixture
async def hurried(serve, connect):
    """The same, of an endpoint that waits 0.1 s between pieces, and 0.3 s for all of them."""
    return await connect(await serve(front_door(reading(idle=0.1, total=0.3))))


def reading(idle, total):
    async def endpoint(request, client):
        body = await read_body(request, LIMIT, idle=idle, total=total)
        await client.respond(200, (), b"%d" % len(body))

    return endpoint


async def test_a_body_is_read_whether_it_comes_with_the_head_or_after_it(client):
    assert (await client.request("POST", "/", b"a" * LIMIT)).body == b"1000"
    raw = message("POST", "/", b"a" * LIMIT)
    head = raw.index(b"\r\n\r\n") + 4
    for cuts in ((head,), (head, head + 1, head + 500), (10, head + 999)):
        for begin, end in zip((0, *cuts), (*cuts, len(raw)), strict=True):
            await client.send(raw[begin:end])
            await asyncio.sleep(0.005)
        assert (await client.answer()).body == b"1000"
    assert (await client.request("POST", "/")).body == b"0"


async def test_an_announced_length_beyond_the_limit_is_refused_before_a_byte_is_read(client):
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n")
    answer = await client.answer()
    assert answer.status == 413
    assert answer.error()["code"] == "request_too_large"
    assert answer.header("connection") == "close"
    await client.closed()


@pytest.mark.parametrize("pieces", [1, 11], ids=["one chunk", "many chunks"])
async def test_chunks_are_counted_and_refused_as_soon_as_they_are_too_many(client, pieces):
    size = 1_100 // pieces
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(pieces):
        await client.send(b"%x\r\n" % size + b"a" * size + b"\r\n")
    assert (await client.answer()).error()["code"] == "request_too_large"  # though no last chunk was sent
    await client.closed()


async def test_a_whole_chunked_body_beyond_the_limit_is_refused_and_the_connection_goes_on(client):
    await client.send(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"a" * 1001 + b"\r\n0\r\n\r\n"
    )
    assert (await client.answer()).error()["code"] == "request_too_large"
    assert (await client.request("POST", "/", b"a")).body == b"1"


async def test_a_refused_client_that_goes_on_sending_still_gets_its_answer(client):
    """A reset in the middle of its upload would destroy the answer before it is read."""
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n")
    await client.send(b"a" * 5_000_000)
    assert (await client.answer()).status == 413


async def test_a_body_that_stops_coming_is_answered_408(hurried):
    await hurried.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
    answer = await hurried.answer()
    assert answer.status == 408
    assert answer.error()["code"] == "request_timeout"
    assert answer.header("x-should-retry") == "false"
    await hurried.closed()


async def test_a_body_that_trickles_is_answered_408_when_its_time_is_up(hurried):
    await hurried.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\n")
    answering = asyncio.get_running_loop().create_task(hurried.answer())
    while not answering.done():
        await hurried.send(b"a")
        await asyncio.sleep(0.02)
    assert (await answering).status == 408


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("X-GZip", gzip.compress),
        ("gzip", lambda data: gzip.compress(data[:300]) + gzip.compress(data[300:])),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("deflate, gzip", lambda data: gzip.compress(zlib.compress(data))),
        ("identity", bytes),
        ("identity, gzip", gzip.compress),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_compressed_body_is_inflated(client, coding, pack, chunked):
    packed = pack(b"a" * LIMIT)
    if chunked:
        head = (
            f"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: {coding}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        await client.send(head)
        await asyncio.sleep(0.005)
        await client.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed))
        assert (await client.answer()).body == b"1000"
    else:
        assert (await client.request("POST", "/", packed, f"Content-Encoding: {coding}")).body == b"1000"


async def test_several_headers_name_one_coding_each(client):
    packed = gzip.compress(zlib.compress(b"a" * LIMIT))
    answer = await client.request("POST", "/", packed, "Content-Encoding: deflate", "Content-Encoding: gzip")
    assert answer.body == b"1000"


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, br", "gzip, gzip, gzip"])
async def test_another_coding_is_refused(client, coding):
    answer = await client.request("POST", "/", b"a", f"Content-Encoding: {coding}")
    assert answer.status == 415
    error = answer.error()
    assert (error["type"], error["code"], error["param"]) == (
        "invalid_request_error",
        "unsupported_content_encoding",
        None,
    )
    assert "gzip or deflate" in error["message"]
    assert f"'{coding}'" in error["message"] or coding == "gzip, br"
    assert (await client.request("POST", "/", b"a")).body == b"1"


@pytest.mark.parametrize(
    "packed",
    [gzip.compress(b"a" * 99)[:-1], b"{}", gzip.compress(b"a") + b"b", b"\x1f"],
    ids=["cut", "plain", "more", "a byte"],
)
async def test_a_broken_coding_is_the_clients_fault(client, packed):
    answer = await client.request("POST", "/", packed, "Content-Encoding: gzip")
    assert (answer.status, answer.error()["code"]) == (400, "invalid_content_encoding")
    assert (await client.request("POST", "/", b"a")).body == b"1"


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(b"a" * (LIMIT + 1))),
        ("deflate", zlib.compress(bytes(500_000))),
        ("gzip, gzip", gzip.compress(gzip.compress(bytes(100_000_000)))),
        ("gzip, gzip", gzip.compress(gzip.compress(bytes(LIMIT), 0))),
    ],
    ids=["by a byte", "by far", "a bomb in a bomb", "between the two"],
)
async def test_what_grows_beyond_the_limit_is_refused_as_if_it_had_come_so(client, coding, packed):
    assert len(packed) <= LIMIT
    answer = await client.request("POST", "/", packed, f"Content-Encoding: {coding}")
    assert (answer.status, answer.error()["code"]) == (413, "request_too_large")
    assert (await client.request("POST", "/", b"a")).body == b"1"


async def test_a_bomb_takes_no_more_memory_than_a_body(serve, connect):
    limit, held = 4 << 20, []

    class Watched(BodyBudget):
        def resize(self, owner, before, after):
            held.append(after)
            return super().resize(owner, before, after)

    async def endpoint(request, client):
        body = await read_body(request, limit, budget=Watched(), owner="a")
        await client.respond(200, (), b"%d" % len(body))

    client = await connect(await serve(front_door(endpoint)))
    bomb = gzip.compress(bytes(400 << 20))
    answer = await client.request("POST", "/", bomb, "Content-Encoding: gzip")
    assert answer.status == 413
    assert limit < max(held) <= limit + len(bomb)
    assert held[-1] == 0
    fits = await client.request("POST", "/", gzip.compress(bytes(limit)), "Content-Encoding: gzip")
    assert fits.body == b"%d" % limit


@pytest.mark.parametrize("when", ["before the endpoint looks", "while it waits"])
async def test_a_client_that_leaves_before_its_body_is_complete_is_nobody_to_answer(serve, connect, when):
    ended = asyncio.get_running_loop().create_future()
    looking = asyncio.Event()

    async def endpoint(request, client):
        looking.set()
        if when == "before the endpoint looks":
            left = asyncio.Event()
            client.watch(left.set)
            await left.wait()
        try:
            ended.set_result(await read_body(request, LIMIT))
        except SenderGone as gone:
            ended.set_result(gone)
            raise

    client = await connect(await serve(front_door(endpoint)))
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
    await looking.wait()
    await client.leave()
    assert isinstance(await ended, SenderGone)


@pytest.fixture
async def accounted(serve):
    """A server whose endpoint reads bodies of the key named by the request's X-API-Key, and the budget for them."""
    budget = BodyBudget(4 * LARGE)

    async def endpoint(request, client):
        owner = request.fields[b"x-api-key"].decode()
        body = await read_body(request, LARGE, budget=budget, owner=owner)
        await client.respond(200, (), b"%d" % len(body))

    return await serve(front_door(endpoint)), budget


def part_of_a_body(key: str, size: int) -> bytes:
    return f"POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\nContent-Length: {LARGE}\r\n\r\n".encode() + bytes(size)


async def test_unfinished_bodies_of_one_key_are_refused_beyond_its_share_and_others_are_not(accounted, connect):
    server, budget = accounted
    unfinished = [await connect(server) for _ in range(2)]
    for client in unfinished:
        held = budget.held
        await client.send(part_of_a_body("greedy", LARGE - 1))
        await until(lambda held=held: budget.held == held + LARGE - 1)
    refused = await connect(server)
    await refused.send(part_of_a_body("greedy", LARGE - 1))
    answer = await refused.answer()
    assert answer.status == 503
    assert answer.error()["code"] == "gateway_overloaded"
    await refused.closed()
    assert budget.held == 2 * (LARGE - 1)
    other = await connect(server)
    assert (await other.request("POST", "/", bytes(LARGE), "X-API-Key: modest")).status == 200
    for client in unfinished:
        await client.send(b"x")
        assert (await client.answer()).body == b"%d" % LARGE
    assert budget.held == 0


async def test_what_a_body_is_inflated_to_counts_as_what_has_come(accounted, connect):
    server, budget = accounted
    unfinished = [await connect(server) for _ in range(3)]
    for number, client in enumerate(unfinished):
        await client.send(part_of_a_body(f"key {number}", LARGE - 1))
    await until(lambda: budget.held == 3 * (LARGE - 1))
    packed = gzip.compress(bytes(LARGE - 1))
    late = await connect(server)
    refused = await late.request("POST", "/", packed, "X-API-Key: late", "Content-Encoding: gzip")
    assert (refused.status, refused.error()["code"]) == (503, "gateway_overloaded")
    for client in unfinished:
        await client.leave()
    await until(lambda: budget.held == 0)
    late = await connect(server)
    again = await late.request("POST", "/", packed, "X-API-Key: late", "Content-Encoding: gzip")
    assert again.body == b"%d" % (LARGE - 1)
    assert budget.held == 0


async def test_small_bodies_are_not_counted(accounted, connect):
    server, budget = accounted
    client = await connect(server)
    await client.send(part_of_a_body("a", UNCOUNTED - 1))
    await until(lambda: server.requests == 1)
    await asyncio.sleep(0.02)
    assert budget.held == 0
    await client.leave()


async def test_a_client_that_leaves_in_the_midst_gives_its_room_back(accounted, connect):
    server, budget = accounted
    client = await connect(server)
    await client.send(part_of_a_body("a", LARGE - 1))
    await until(lambda: budget.held == LARGE - 1)
    await client.leave()
    await until(lambda: budget.held == 0)
