"""What the server makes of clients that break HTTP, by mistake or on purpose."""

from __future__ import annotations

import asyncio
import gc
import resource
import weakref

import pytest

from gateway.server.body import read_body
from gateway.server.client import Client
from gateway.server.request import Request, SenderGone
from tests.raw_client import RawClient, message, until

from .conftest import front_door

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

SMUGGLING = {
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "the same length twice": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": POST + b"Content-Length: 5, 5\r\n\r\nhello",
    "a signed length": POST + b"Content-Length: +5\r\n\r\nhello",
    "another coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a coding too many": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a blank behind chunked": POST + b"Transfer-Encoding: chunked \r\n\r\n0\r\n\r\n",
    "a tab behind chunked": POST + b"Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n",
    "chunked in capitals": POST + b"Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n",
    "a control character before chunked": POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "a folded first header": b"GET / HTTP/1.1\r\n Host: a\r\nX: a\r\n\r\n",
    "bare LF throughout": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare LF in a header": b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "bare CR in a header": b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nHost: a\r\nfoo\r\n\r\n",
    "an odd chunk size": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "a space after the chunk size": CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n",
    "LF after the chunk size": CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    "LF after a chunk extension": CHUNKED + b"5;a\nhello\r\n0\r\n\r\n",
    "LF after a chunk": CHUNKED + b"5\r\nhello\n0\r\n\r\n",
    "a chunk longer than said": CHUNKED + b"5\r\nhelloxx0\r\n\r\n",
    "a chunk size beyond 64 bits": CHUNKED + b"FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
}

OTHERS = {
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "no Host in HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "a Host with a path": b"GET / HTTP/1.1\r\nHost: a/?\r\n\r\n",
    "a Host with a user": b"GET / HTTP/1.1\r\nHost: a/#@b\r\n\r\n",
    "an empty Host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "an absolute target": b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target of *": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tunnel to a path": b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tunnel to a path, upgraded": b"CONNECT / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "a tunnel": b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n",
    "a fragment": b"GET /#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "raw bytes in the target": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "no version": b"GET /\r\nHost: a\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a websocket": message("GET", "/", b"", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
}


async def echo(request: Request, client: Client) -> None:
    """Answers with what it got, so that a test sees exactly what passed."""
    body = await read_body(request, 1 << 20)
    names = b",".join(name for name, _ in request.headers)
    await client.respond(200, ((b"content-type", b"text/plain"), (b"x-names", names)), body)


@pytest.mark.parametrize("raw", [*SMUGGLING.values(), *OTHERS.values()], ids=[*SMUGGLING, *OTHERS])
async def test_a_request_of_two_readings_is_refused_and_what_follows_it_is_never_read(raw, serve, connect):
    answered = []

    async def endpoint(request, client):
        await read_body(request, 1 << 20)
        answered.append(request.path)

    client = await connect(await serve(front_door(endpoint)))
    await client.send(raw + message("GET", "/smuggled"))

    answer = await client.answer()
    assert answer.status == 400
    assert answer.error()["type"] == "invalid_request_error"
    assert answer.error()["code"] == "malformed_http"
    assert answer.header("connection") == "close"
    assert await client.closed() == b""
    assert answered == []


async def test_a_body_broken_off_by_a_bad_chunk_is_a_client_that_left(serve, connect):
    seen = []

    async def endpoint(request, client):
        client.watch(lambda: seen.append("told"))
        try:
            await read_body(request, 1 << 20)
        except SenderGone:
            seen.append(f"gone: {client.gone}")
            raise

    client = await connect(await serve(front_door(endpoint)))
    await client.send(CHUNKED + b"5\r\nhello\r\n")
    await client.send(b"zz\r\n")
    assert (await client.answer()).status == 400
    await client.closed()
    assert seen == ["told", "gone: True"]


async def test_headers_that_never_end_are_cut_off_and_not_kept(serve, connect):
    client = await connect(await serve(front_door(echo), linger=0.1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
    reading = asyncio.get_running_loop().create_task(client.answer())

    async def flood():
        while True:
            await client.send(b"X-Flood: " + b"a" * 65_536 + b"\r\n")
            await asyncio.sleep(0)

    with pytest.raises(ConnectionError):
        await flood()
    assert (await reading).error()["code"] == "request_headers_too_large"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 8 << 10  # KiB


@pytest.mark.parametrize(
    "raw",
    [
        message("GET", "/", b"", "X: " + "a" * 40_000),
        message("GET", "/", b"", *(f"X-{number}: a" for number in range(100))),
        message("GET", "/?" + "a" * 9_000),
        b"GET /" + b"a" * 9_000,
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 33_000,
    ],
    ids=["one long header", "too many headers", "a long URL", "an endless URL", "an endless header"],
)
async def test_a_head_beyond_a_limit_is_refused(raw, serve, connect):
    client = await connect(await serve(front_door(echo)))
    await client.send(raw)
    answer = await client.answer()
    assert answer.status == 431
    assert answer.error()["code"] == "request_headers_too_large"
    await client.closed()


async def test_a_head_at_the_limits_passes_in_one_piece_or_byte_by_byte(serve, connect):
    server = await serve(front_door(echo))
    raw = message("POST", "/", b"hello", *(f"X-{number}: {'a' * 200}" for number in range(97)))
    client = await connect(server)
    await client.send(raw)
    assert (await client.answer()).body == b"hello"
    for number in range(0, len(raw), 97):
        await client.send(raw[number : number + 97])
        await asyncio.sleep(0)
    assert (await client.answer()).body == b"hello"


async def test_every_split_of_a_request_reads_the_same(serve, connect):
    client = await connect(await serve(front_door(echo)))
    raw = CHUNKED + b"3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\nX-Trailer: a\r\n\r\n"
    for cut in range(1, len(raw)):
        await client.send(raw[:cut])
        await asyncio.sleep(0.001)
        await client.send(raw[cut:])
        answer = await client.answer()
        assert answer.status == 200
        assert answer.body == b"hello"
        assert answer.header("x-names") == "host,transfer-encoding"


async def test_trailers_add_nothing_to_a_request(serve, connect):
    client = await connect(await serve(front_door(echo)))
    await client.send(CHUNKED + b"0\r\nAuthorization: Bearer x\r\nHost: b\r\n\r\n")
    answer = await client.answer()
    assert answer.header("x-names") == "host,transfer-encoding"


@pytest.mark.parametrize("framing", [b"1;" + b"a" * 60_000, b"0\r\nX: " + b"a" * 60_000], ids=["extension", "trailer"])
async def test_framing_without_content_is_not_read_for_ever(framing, serve, connect):
    client = await connect(await serve(front_door(echo)))
    await client.send(CHUNKED)
    for begin in range(0, len(framing), 4_000):
        await client.send(framing[begin : begin + 4_000])
        await asyncio.sleep(0.001)
    assert (await client.answer()).status == 400
    await client.closed()


async def test_a_head_that_does_not_end_in_time_is_answered_408(serve, connect):
    client = await connect(await serve(front_door(echo), head_timeout=0.1))
    await client.send(b"GET / HTTP/1.1\r\nHost:")
    answer = await client.answer()
    assert answer.status == 408
    assert answer.error()["code"] == "request_timeout"
    await client.closed()


async def test_bytes_that_keep_coming_do_not_stretch_the_time_for_a_head(serve, connect):
    client = await connect(await serve(front_door(echo), head_timeout=0.2))
    await client.send(b"GET / HTTP/1.1\r\nHost: ")
    answering = asyncio.get_running_loop().create_task(client.answer())
    while not answering.done():
        await client.send(b"a")
        await asyncio.sleep(0.02)
    assert (await answering).status == 408


async def test_connections_without_a_request_are_closed_in_silence(serve, connect):
    server = await serve(front_door(echo), head_timeout=0.1, keep_alive=0.1)
    idle = await connect(server)
    assert await idle.closed() == b""
    served = await connect(server)
    assert (await served.request("POST", "/", b"a")).status == 200
    assert await served.closed() == b""


async def test_keep_alive_serves_a_thousand_requests_and_leaves_nothing_behind(serve, connect):
    server = await serve(front_door(echo))
    client = await connect(server)
    await client.request("POST", "/", b"warm")
    tasks = len(asyncio.all_tasks())
    for number in range(1_000):
        assert (await client.request("POST", "/", b"%d" % number)).body == b"%d" % number
    assert server.connections == 1
    assert server.requests == 0
    assert len(asyncio.all_tasks()) == tasks


async def test_a_dead_connection_is_freed_without_the_garbage_collector(serve, connect):
    """Which is frozen in production, and would come by too rarely for 10,000 streams."""
    server = await serve(front_door(echo))
    clients = [await connect(server) for _ in range(20)]
    for number, client in enumerate(clients):
        await client.request("POST", "/", b"a")
        if number % 2:
            await client.send(CHUNKED + b"zz\r\n")
            await client.answer()
    connections = [weakref.ref(connection) for connection in server._state.connections]
    assert connections
    gc.collect()
    gc.disable()
    try:
        for client in clients:
            await client.leave()
        await until(lambda: not server.connections and all(connection() is None for connection in connections))
    finally:
        gc.enable()


async def test_a_request_sent_before_the_last_one_was_answered_is_dropped(serve, connect):
    paths = []
    answer_now = asyncio.Event()

    async def endpoint(request: Request, client: Client) -> None:
        paths.append(request.query)
        await read_body(request, 1 << 20)
        await answer_now.wait()
        await client.respond(200, (), b"{}")

    server = await serve(front_door(endpoint))
    together, apart = await connect(server), await connect(server)
    await together.send(message("POST", "/?first", b"a") + message("POST", "/?second", b"b"))
    await apart.send(message("POST", "/?first", b"a"))
    await until(lambda: len(paths) == 2)
    await apart.send(message("POST", "/?second", b"b"))
    await asyncio.sleep(0.02)
    answer_now.set()
    for client in (together, apart):
        answer = await client.answer()
        assert answer.status == 200
        assert answer.header("connection") == "close"
        assert await client.closed() == b""
    assert paths == [b"first", b"first"]


@pytest.mark.parametrize("more", [b"\r\n", b"junk", message("GET", "/smuggled")], ids=["CRLF", "junk", "a request"])
async def test_what_follows_a_last_request_is_dropped(more, serve, connect):
    """A client that says ``Connection: close`` has said that nothing follows."""
    client = await connect(await serve(front_door(echo)))
    await client.send(message("POST", "/", b"hello", "Connection: close") + more)
    answer = await client.answer()
    assert (answer.status, answer.body, answer.header("connection")) == (200, b"hello", "close")
    assert await client.closed() == b""


async def test_an_offer_of_http2_is_ignored_and_the_body_is_not_lost(serve, connect):
    """Java's HttpClient makes it on every cleartext request; taking its body for another protocol would lose it."""
    client = await connect(await serve(front_door(echo)))
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    raw = message("POST", "/", b"hello", *offer)
    await client.send(raw)
    assert (await client.answer()).body == b"hello"
    await client.send(raw[:60])
    await asyncio.sleep(0.01)
    await client.send(raw[60:-3])
    await asyncio.sleep(0.01)
    await client.send(raw[-3:])
    answer = await client.answer()
    assert answer.body == b"hello"
    assert answer.header("x-names") == "host,content-length"


async def test_http_1_0_and_connection_close_are_answered_and_closed(serve, connect):
    server = await serve(front_door(echo))
    for raw in (
        b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
    ):
        client = await connect(server)
        await client.send(raw)
        assert (await client.answer()).body == b"hi"
        assert await client.closed() == b""


async def test_a_head_request_that_is_refused_gets_no_body(serve, connect):
    client = await connect(await serve(front_door(echo)))
    await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n")
    head = await client.reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert await client.closed() == b""


async def test_a_health_check_may_come_without_a_host(serve, connect):
    server = await serve(front_door(echo), hostless=lambda path: path == b"/")
    for line, host in (("HTTP/1.1", ""), ("HTTP/1.0", ""), ("HTTP/1.1", "Host:\r\n")):
        client = await connect(server)
        await client.send(f"GET /?a {line}\r\n{host}\r\n".encode())
        assert (await client.answer()).status == 200
        client = await connect(server)
        await client.send(f"GET /other {line}\r\n{host}\r\n".encode())
        assert (await client.answer()).error()["code"] == "malformed_http"


async def test_a_client_that_waits_for_100_continue_is_told_to_go_on_or_refused_first(serve, connect):
    server = await serve(front_door(echo))
    client = await connect(server)
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert (await client.head(interim=True)).status == 100
    await client.send(b"hi")
    assert (await client.answer()).body == b"hi"
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n")
    assert (await client.answer()).status == 413


@pytest.mark.parametrize("host", ["localhost", "a.example:8400", "my_service:80", "[::1]:8400", "127.0.0.1"])
async def test_hosts_that_are_hosts_pass(host, serve, connect):
    client = await connect(await serve(front_door(echo)))
    await client.send(f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\nhi".encode())
    assert (await client.answer()).body == b"hi"


async def test_connections_beyond_the_limit_are_told_so(serve, connect):
    server = await serve(front_door(echo), connections=1)
    first = await connect(server)
    second = await connect(server)
    assert (await first.request("POST", "/", b"a")).status == 200
    assert (await second.request("POST", "/", b"a")).error()["code"] == "gateway_overloaded"
    await second.closed()
    assert (await first.request("POST", "/", b"a")).status == 200


async def test_a_flood_of_connections_is_not_even_answered(serve, connect):
    """An answer takes a descriptor, so only so many are told; room is there again as soon as somebody leaves."""
    server = await serve(front_door(echo), connections=1, refusals=1)
    first, second = await connect(server), await connect(server)
    assert (await first.request("POST", "/", b"a")).status == 200
    for _ in range(5):
        assert await (await connect(server)).closed() == b""
    assert server.connections == 2
    assert (await second.request("POST", "/", b"a")).error()["code"] == "gateway_overloaded"
    await first.leave()
    await until(lambda: server.connections == 0)
    assert (await (await connect(server)).request("POST", "/", b"a")).status == 200


async def silent(request, client):
    """Answers nothing."""


async def crashing(request, client):
    raise ZeroDivisionError("oh")


@pytest.mark.parametrize("application", [silent, crashing])
async def test_an_application_that_fails_to_answer_is_answered_for(application, serve, connect):
    server = await serve(application)
    client = await connect(server)
    answer = await client.request("POST", "/", b"a", "X-Request-Id: mine")
    assert answer.status == 500
    assert answer.error()["code"] == "internal_error"
    assert answer.header("x-request-id") == "mine"
    assert answer.header("connection") == "close"
    assert await client.closed() == b""
    head = await connect(server)
    assert (await head.request("HEAD", "/")).status == 500
    assert await head.closed() == b"", "a HEAD has no body"


@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize("alone", [False, True])
async def test_an_answer_that_is_broken_off_is_not_taken_for_the_whole(crashes, alone, serve, connect):
    async def application(request, client):
        await client.start(200, ())
        if not alone:
            await client.write(b"half")
        if crashes:
            raise ZeroDivisionError("oh")

    client = await connect(await serve(application))
    await client.send(message("GET", "/"))
    assert (await client.head()).status == 200
    assert await client.closed() == (b"" if alone else b"4\r\nhalf\r\n"), "no last chunk"


async def test_a_crash_after_the_answer_does_not_concern_the_connection(serve, connect):
    ended = []

    async def application(request, client):
        await client.respond(200, (), b"")
        await asyncio.sleep(0.02)
        ended.append(request.path)
        raise ZeroDivisionError("oh")

    client = await connect(await serve(application))
    assert (await client.request("GET", "/1")).status == 200
    assert (await client.request("GET", "/2")).status == 200  # while the first still runs
    await until(lambda: ended == [b"/1", b"/2"])
    assert (await client.request("GET", "/3")).status == 200


async def test_a_header_that_would_be_two_is_never_written(serve, connect):
    async def endpoint(request, client):
        await client.respond(200, ((b"x-a", b"1\r\nset-cookie: a=b"),), b"{}")

    client = await connect(await serve(front_door(endpoint)))
    answer = await client.request("POST", "/", b"a")
    assert answer.status == 500
    assert answer.header("set-cookie") is None


async def test_refusals_are_told_to_the_operator(connect):
    from gateway.server.listener import start_server

    told = []

    def tell(request):
        told.append((request.status, request.id, request.path))

    server = await start_server(front_door(echo), "127.0.0.1", 0, on_refused=tell)
    client = await RawClient.connect(server.port)
    await client.send(b"GET / HTTP/1.1\r\nX-Request-Id: mine\r\n\r\n")
    assert (await client.answer()).header("x-request-id") == "mine"
    await client.leave()
    await server.close(1)
    assert told == [(400, "mine", b"/")]
