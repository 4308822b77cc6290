"""The request reader: what a client may send is read at every split, anything else is named and refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.wire.http import BODY_LIMIT, HEAD_LIMIT, BadRequest, Request, RequestReader, chunk, response_head

FIXED = b"POST /v1/x?y=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX-Api-Key: sk-b\r\n\r\nhello"
CHUNKED = b"POST /v1/x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
BARE = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"


def read_all(pieces: list[bytes]) -> list[Request]:
    reader = RequestReader()
    found = []
    waiting = False
    for piece in pieces:
        reader.feed(piece)
        while True:
            if not waiting and reader.head() is None:
                break
            waiting = True
            request = reader.body()
            if request is None:
                break
            waiting = False
            found.append(request)
    return found


@pytest.mark.parametrize("message", [FIXED, CHUNKED])
def test_a_request_is_read_whole_at_every_split(message: bytes) -> None:
    for place in range(len(message) + 1):
        (request,) = read_all([message[:place], message[place:]])
        assert request.body == b"hello"


def test_pipelined_requests_come_out_in_order() -> None:
    requests = read_all([BARE + FIXED + CHUNKED + BARE])

    assert [(request.method, request.body) for request in requests] == [
        ("GET", b""),
        ("POST", b"hello"),
        ("POST", b"hello"),
        ("GET", b""),
    ]


@given(st.lists(st.integers(1, len(FIXED + CHUNKED))))
def test_splits_never_matter(places: list[int]) -> None:
    message = FIXED + CHUNKED
    cuts = sorted({0, *places, len(message)})
    pieces = [message[start:end] for start, end in pairwise(cuts)]

    assert [request.body for request in read_all(pieces)] == [b"hello", b"hello"]


def test_a_request_knows_its_path_and_key() -> None:
    (own,) = read_all([FIXED])
    (bearer,) = read_all([b"GET /a%20b HTTP/1.1\r\nhost: h\r\nauthorization: bearer sk-a\r\nx-api-key: sk-b\r\n\r\n"])
    (keyless,) = read_all([BARE])

    assert (own.path, own.key) == ("/v1/x", "sk-b")
    assert (bearer.path, bearer.key) == ("/a b", "sk-a")
    assert keyless.key is None
    assert "sk-" not in repr(own) + repr(bearer)


@pytest.mark.parametrize(
    "message",
    [
        b"GET / HTTP/1.0\r\nhost: h\r\n\r\n",
        b"GET http://h/ HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET  / HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: h\r\nhost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: h\r\n folded: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost : h\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: h\r\nbad\x00name: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: h\r\nx: a\nb: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: h\r\nx: a\rb\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: +1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % (BODY_LIMIT + 1),
        b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        CHUNKED.replace(b"3;a=b", b"3 "),
        CHUNKED.replace(b"3;a=b", b"-3"),
        CHUNKED.replace(b"3;a=b", b"ffffffff"),
        CHUNKED.replace(b"hel\r\n", b"hell\r"),
        CHUNKED.replace(b"0\r\n\r\n", b"0\r\nx: trailer\r\n\r\n"),
        b"GET / HTTP/1.1\r\nhost: h\r\nx: " + b"y" * HEAD_LIMIT,
    ],
)
def test_what_breaks_http_is_refused(message: bytes) -> None:
    with pytest.raises(BadRequest):
        read_all([message])


def test_heads_and_chunks_are_written_to_the_byte() -> None:
    assert response_head(200, ((b"a", b"b"),)) == b"HTTP/1.1 200 OK\r\na: b\r\n\r\n"
    assert response_head(524, ()) == b"HTTP/1.1 524 Unknown\r\n\r\n"
    assert chunk(b"x" * 16) == b"10\r\n" + b"x" * 16 + b"\r\n"
    assert chunk(b"") == b""
