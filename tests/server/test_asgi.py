"""What an application of ASGI is told of a request, and what becomes of its messages."""

from __future__ import annotations

import pytest

from gateway.server.asgi import request_of as request_behind
from gateway.server.asgi import scope_of, serve_asgi
from gateway.server.connection import address_of
from tests.heads import client_of, request_of
from tests.raw_client import RawClient, message, until

from .test_client import at_once


class Transport:
    """``ends``: an address, or what asking for it raises."""

    def __init__(self, **ends: object) -> None:
        self._ends = ends

    def get_extra_info(self, name: str) -> object:
        found = self._ends.get(name)
        if isinstance(found, OSError):
            raise found
        return found


def test_a_request_has_its_scope():
    request = request_of([(b"host", b"a")], method="POST", target=b"/v1/a%2Fb%20c?x=%31&y", params={"a": "b"})
    request.connection.transport = Transport(sockname=("127.0.0.1", 8400))
    assert scope_of(request) == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8400),
        "client": ("192.0.2.1", 50_000),
        "scheme": "http",
        "root_path": "",
        "method": "POST",
        "path": "/v1/a/b c",
        "raw_path": b"/v1/a%2Fb%20c",
        "query_string": b"x=%31&y",
        "headers": [(b"host", b"a")],
        "path_params": {"a": "b"},
        "piapi.request": request,
    }
    assert request_behind(scope_of(request)) is request


@pytest.mark.parametrize(
    ("found", "client"),
    [
        (("::1", 50_000, 0, 0), ("::1", 50_000)),
        (None, None),
        ("", None),  # of a Unix socket
        (OSError(107, "Transport endpoint is not connected"), None),
    ],
)
def test_a_client_is_its_address_and_port_or_has_none(found, client):
    assert address_of(Transport(peername=found), "peername") == client


async def test_a_real_request_knows_both_ends(serve, connect):
    scopes = []

    async def application(request, client):
        scopes.append(scope_of(request))
        await client.respond(200, (), b"")

    server = await serve(application)
    client: RawClient = await connect(server)
    for target in ("/a?b", "/"):
        await client.send(message("GET", target))
        assert (await client.answer()).status == 200
    first, second = scopes
    assert first["server"] == ("127.0.0.1", server.port)
    assert first["client"] == client.writer.get_extra_info("sockname")
    assert (first["raw_path"], first["query_string"], second["query_string"]) == (b"/a", b"b", b"")


def answered(*messages, method="GET"):
    """What is written for the messages."""
    request = request_of(method=method)

    async def app(scope, receive, send):
        for kind, fields in messages:
            await send({"type": kind, **fields})

    at_once(serve_asgi(app, request, client_of(request)))
    return request.connection.written


START, BODY = "http.response.start", "http.response.body"


def test_an_answer_has_its_headers_and_the_request_id():
    headers = [(b"content-length", b"2"), (b"x-a", b"1")]
    for pieces in ([(BODY, {"body": b"hi"})], [(BODY, {"body": b"h", "more_body": True}), (BODY, {"body": b"i"})]):
        written = answered((START, {"status": 201, "headers": headers}), *pieces)
        assert written.startswith(b"HTTP/1.1 201 Created\r\n")
        assert b"\r\nx-a: 1\r\ncontent-length: 2\r\n\r\nhi" in written
        assert written.count(b"x-request-id: req-1\r\n") == 1
        assert b"content-type" not in written
    unknown = answered((START, {"status": 200}), (BODY, {"body": b"hi"}))
    assert unknown.endswith(b"transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")


def test_an_application_may_say_that_the_connection_closes():
    headers = [(b"content-length", b"0"), (b"connection", b"Close")]
    assert answered((START, {"status": 200, "headers": headers}), (BODY, {})).count(b"connection: close") == 1


@pytest.mark.parametrize(
    ("messages", "what"),
    [
        ([(BODY, {"body": b"a"})], "cannot be sent"),
        ([(START, {"status": 200}), (START, {"status": 200})], "cannot be sent"),
        ([(START, {"status": 200}), (BODY, {}), (BODY, {})], "cannot be sent"),
        ([("websocket.accept", {})], "cannot be sent"),
        ([(START, {"status": 200, "headers": [(b"transfer-encoding", b"chunked")]})], "framed"),
        ([(START, {"status": 101})], "101"),
        ([(START, {"status": 200, "headers": [(b"x", b"a\r\ny: b")]})], "line end"),
        ([(START, {"status": 200, "headers": [(b"content-length", b"1")]}), (BODY, {"body": b"ab"})], "longer"),
        ([(START, {"status": 200, "headers": [(b"content-length", b"3")]}), (BODY, {"body": b"ab"})], "shorter"),
    ],
)
def test_what_is_no_answer_is_an_error_of_the_application(messages, what):
    with pytest.raises((RuntimeError, ValueError), match=what):
        answered(*messages)


def test_a_client_that_left_is_sent_nothing_and_told_of():
    request = request_of(body=None)
    client = client_of(request)
    received = []

    async def app(scope, receive, send):
        request.feed(b"a")
        received.append(await receive())
        client.left()
        received.append(await receive())
        await send({"type": START, "status": 200})
        await send({"type": BODY, "body": b"late"})

    at_once(serve_asgi(app, request, client))
    assert received == [{"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"}]
    assert request.connection.written == b""


async def test_over_a_socket(serve, connect):
    ended = []

    async def app(scope, receive, send):
        came = await receive()
        await send({"type": START, "status": 200, "headers": []})
        await send({"type": BODY, "body": came["body"], "more_body": True})
        ended.append(await receive())

    server = await serve(lambda request, client: serve_asgi(app, request, client))
    client: RawClient = await connect(server)
    await client.send(message("POST", "/", b"hello"))
    await client.head()
    assert await client.reader.readexactly(10) == b"5\r\nhello\r\n"
    await client.leave()
    await until(lambda: ended == [{"type": "http.disconnect"}])
