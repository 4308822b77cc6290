"""Answers on their way to clients that read, that are slow, that stop reading, that leave."""

from __future__ import annotations

import asyncio
import socket

import pytest

from gateway.core.errors import UpstreamFault, gateway_overloaded, internal_error
from gateway.server.body import read_body
from tests.raw_client import message, until

from .conftest import front_door

SSE = (b"content-type", b"text/event-stream; charset=utf-8")
CUT = UpstreamFault(502, "upstream_error", "upstream_stream_interrupted", "The upstream broke off.")


def endpoint(answer):
    """An endpoint that has read its request before ``answer(client)`` begins."""

    async def run(request, client):
        await read_body(request, 1 << 20)
        await answer(client)

    return front_door(run)


async def test_a_whole_answer_has_its_length_type_and_request_id(serve, connect):
    async def answer(client):
        await client.respond(200, ((b"x-gateway-attempts", b"1"),), b'{"a":1}')
        assert client.started
        assert client.finished
        assert not client.gone

    client = await connect(await serve(endpoint(answer)))
    got = await client.request("POST", "/", b"a", "X-Request-Id: mine")
    assert got.status == 200
    assert got.json() == {"a": 1}
    assert got.header("content-type") == "application/json"
    assert got.header("content-length") == "7"
    assert got.header("x-request-id") == "mine"
    assert got.header("x-gateway-attempts") == "1"
    assert got.header("date")
    assert got.header("server") is None


async def test_a_stream_is_passed_on_piece_by_piece_and_must_not_be_buffered_on_the_way(serve, connect):
    go_on = asyncio.Event()

    async def answer(client):
        await client.start(200, (SSE,))
        await client.write(b"data: 1\n\n")
        await go_on.wait()
        await client.write(b"data: 2\n\n")
        await client.finish()

    client = await connect(await serve(endpoint(answer)))
    await client.send(message("POST", "/", b"a"))
    head = await client.head()
    assert head.status == 200
    assert dict(head.headers).items() >= {
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("transfer-encoding", "chunked"),
    }
    assert await client.reader.readexactly(14) == b"9\r\ndata: 1\n\n\r\n"
    go_on.set()
    assert await client.reader.readexactly(19) == b"9\r\ndata: 2\n\n\r\n0\r\n\r\n"


async def test_a_stream_to_http_1_0_has_no_chunks_and_ends_with_the_connection(serve, connect):
    """As nginx asks for by default; RFC 9112 §6.1 forbids chunks there."""

    async def answer(client):
        await client.start(200, (SSE,))
        if not client.write_now(b"data: 1\n\n"):
            await client.write(b"data: 1\n\n")
        await client.write(b"data: 2\n\n")
        await client.finish()

    client = await connect(await serve(endpoint(answer)))
    await client.send(b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 1\r\n\r\na")
    head = await client.head()
    assert head.status == 200
    assert head.header("transfer-encoding") is None
    assert head.header("connection") == "close"
    assert await client.closed() == b"data: 1\n\ndata: 2\n\n"


async def test_what_concerns_one_hop_or_another_server_is_never_passed_on(serve, connect):
    upstream = (
        (b"connection", b"keep-alive"),
        (b"transfer-encoding", b"chunked"),
        (b"content-length", b"999"),
        (b"set-cookie", b"a=b"),
        (b"server", b"cloudflare"),
        (b"date", b"Mon, 01 Jan 2001 00:00:00 GMT"),
        (b"x-request-id", b"theirs"),
    )

    async def answer(client):
        await client.respond(200, upstream, b"{}")

    client = await connect(await serve(endpoint(answer)))
    got = await client.request("POST", "/", b"a", "X-Request-Id: mine")
    names = [name for name, _ in got.headers]
    assert sorted(names) == ["content-length", "content-type", "date", "x-request-id"]
    assert got.header("x-request-id") == "mine"
    assert got.header("date") != "Mon, 01 Jan 2001 00:00:00 GMT"
    assert got.json() == {}


async def test_an_error_is_openai_shaped_and_says_whether_to_try_again(serve, connect):
    async def answer(client):
        await client.error(gateway_overloaded(), ((b"x-gateway-attempts", b"0"),))

    client = await connect(await serve(endpoint(answer)))
    got = await client.request("POST", "/", b"a")
    assert got.status == 503
    assert got.error()["code"] == "gateway_overloaded"
    assert got.header("x-should-retry") == "true"
    assert got.header("retry-after") == "1"
    assert got.header("x-gateway-attempts") == "0"
    assert (await client.request("POST", "/", b"a")).status == 503  # the connection goes on


async def test_a_broken_stream_ends_in_an_error_event_without_done_and_the_connection_closes(serve, connect):
    async def answer(client):
        await client.start(200, (SSE,))
        await client.write(b"data: 1\n\n")
        await client.stream_error(CUT)

    client = await connect(await serve(endpoint(answer)))
    got = await client.request("POST", "/", b"a")
    assert got.body == b"data: 1\n\ndata: " + CUT.body() + b"\n\n"
    assert await client.closed() == b""


@pytest.mark.parametrize("begun", ["nothing", "a stream", "a file", "all"])
async def test_a_failure_is_told_in_the_way_that_is_still_open(begun, serve, connect):
    async def answer(client):
        if begun == "a stream":
            await client.start(200, (SSE,))
        elif begun == "a file":
            await client.start(200, ((b"content-type", b"image/png"),))
            await client.write(b"PNG")
        elif begun == "all":
            await client.respond(200, (), b"{}")
        await client.fail(internal_error())

    client = await connect(await serve(endpoint(answer)))
    if begun == "a file":
        await client.send(message("POST", "/", b"a"))
        await client.head()
        assert not (await client.closed()).endswith(b"0\r\n\r\n")  # cut, so that nobody takes it for the whole
        return
    got = await client.request("POST", "/", b"a")
    assert (got.status, b"internal_error" in got.body) == {
        "nothing": (500, True),
        "a stream": (200, True),
        "all": (200, False),
    }[begun]


@pytest.mark.parametrize("when", ["before the head", "between chunks"])
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_client_that_leaves_is_noticed_at_once_and_writing_on_does_no_harm(when, how, serve, connect):
    told = asyncio.Event()
    ready = asyncio.Event()
    ended = asyncio.get_running_loop().create_future()

    async def answer(client):
        client.watch(told.set)
        if when == "between chunks":
            await client.start(200, (SSE,))
            await client.write(b"data: 1\n\n")
        ready.set()
        await told.wait()
        late = asyncio.Event()
        client.watch(late.set)
        if not client.started:
            await client.start(200, (SSE,))
        await client.write(b"data: 2\n\n")
        await client.stream_error(CUT)
        await client.fail(CUT)
        ended.set_result((client.gone, client.stalled, late.is_set()))

    client = await connect(await serve(endpoint(answer)))
    await client.send(message("POST", "/", b"a"))
    await ready.wait()
    if how == "close":
        client.writer.close()
    else:
        await client.leave()
    assert await ended == (True, False, True)


async def test_a_client_that_has_its_answer_and_then_leaves_has_not_left_early(serve, connect):
    told = []
    kept = []

    async def answer(client):
        client.watch(lambda: told.append(client))
        kept.append(client)
        await client.respond(200, (), b"{}")

    server = await serve(endpoint(answer))
    client = await connect(server)
    await client.request("POST", "/", b"a")
    await client.leave()
    await until(lambda: not server.connections)
    assert told == []
    assert not kept[0].gone


async def test_a_thousand_clients_that_leave_in_mid_stream_leave_nothing_behind(serve, connect):
    left = 0

    async def answer(client):
        nonlocal left
        gone = asyncio.Event()
        client.watch(gone.set)
        await client.start(200, (SSE,))
        await client.write(b"data: 1\n\n")
        await gone.wait()
        left += 1

    server = await serve(endpoint(answer))
    tasks = len(asyncio.all_tasks())
    raw = message("POST", "/", b"a")
    loop = asyncio.get_running_loop()
    for _ in range(1_000):
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", server.port))
            await loop.sock_sendall(sock, raw)
            assert await loop.sock_recv(sock, 4096)
    await until(lambda: not server.connections and not server.requests)
    assert left == 1_000
    assert len(asyncio.all_tasks()) == tasks


class Flood:
    """An endpoint that streams 64 MiB and records how far ahead of its reader it ever was."""

    CHUNK = 16 * 1024
    CHUNKS = 4_096

    def __init__(self) -> None:
        self.written = 0
        self.ended = asyncio.get_running_loop().create_future()

    async def __call__(self, client):
        await client.start(200, (SSE,))
        while self.written < self.CHUNKS and not client.gone:
            await client.write(b"a" * self.CHUNK)
            self.written += 1
        await client.finish()
        self.ended.set_result((client.gone, client.stalled))


async def test_a_slow_reader_holds_the_writer_back_and_gets_everything_in_the_end(serve, connect):
    flood = Flood()
    server = await serve(endpoint(flood))
    client = await connect(server, rcvbuf=4_096)
    await client.send(message("POST", "/", b"a"))
    await client.head()
    written = -1
    while written != flood.written:  # until it stands still: the kernel's buffers are full, and ours
        written = flood.written
        await asyncio.sleep(0.05)
    assert written < flood.CHUNKS
    (connection,) = server._state.connections
    assert connection.transport.get_write_buffer_size() <= 256 * 1024
    got = 0
    while not flood.ended.done():
        got += len(await client.reader.read(1 << 20))
    assert flood.ended.result() == (False, False)
    assert got > 32 << 20


async def test_a_reader_that_stands_still_is_cut_off(serve, connect):
    flood = Flood()
    client = await connect(await serve(endpoint(flood), write_stall=0.2), rcvbuf=4_096)
    await client.send(message("POST", "/", b"a"))
    assert await flood.ended == (True, True)


async def test_a_reader_that_stands_still_after_its_answer_was_handed_over_is_cut_off_too(serve, connect):
    async def answer(client):
        await client.respond(200, (), b"a" * (32 << 20))

    server = await serve(endpoint(answer), write_stall=0.2)
    client = await connect(server, rcvbuf=4_096)
    await client.send(message("POST", "/", b"a"))
    await client.head()
    await until(lambda: not server.connections)


async def test_a_reader_slower_than_the_limit_that_does_read_is_not_cut_off(serve, connect):
    async def answer(client):
        await client.respond(200, ((b"connection", b"close"),), b"a" * (16 << 20))

    client = await connect(await serve(endpoint(answer), write_stall=0.5, linger=0.05), rcvbuf=65_536)
    await client.send(message("POST", "/", b"a", "Connection: close"))
    await client.head()
    begin = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() < begin + 1.2:
        await client.reader.readexactly(64 << 10)
        await asyncio.sleep(0.02)
    rest = await client.closed()
    assert rest.endswith(b"a")
    assert len(rest) > 4 << 20
