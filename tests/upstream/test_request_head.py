"""The head on the wire, and the requests that are refused because they could be two."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.request_head import host_header, request_head


def test_a_post_as_it_goes_on_the_wire() -> None:
    headers = [(b"authorization", b"Bearer k"), (b"content-type", b"application/json")]
    assert request_head("POST", "/v1/x?a=1", b"api.piapi.ai", headers, 12) == (
        b"POST /v1/x?a=1 HTTP/1.1\r\n"
        b"host: api.piapi.ai\r\n"
        b"authorization: Bearer k\r\n"
        b"content-type: application/json\r\n"
        b"content-length: 12\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("method", "length", "written"),
    [("GET", 0, False), ("HEAD", 0, False), ("DELETE", 0, False), ("DELETE", 3, True), ("POST", 0, True)],
)
def test_content_length_is_written_where_a_body_is_or_could_be(method: str, length: int, written: bool) -> None:
    assert (b"content-length: %d\r\n" % length in request_head(method, "/", b"h", [], length)) is written


def test_heads_that_differ_in_their_length_alone_are_told_apart() -> None:
    headers = [(b"authorization", b"Bearer k")]
    first, second, bare = (request_head("DELETE", "/v1/x", b"h", headers, length) for length in (12, 7, 0))
    assert first.replace(b"content-length: 12\r\n", b"content-length: 7\r\n") == second
    assert first.replace(b"content-length: 12\r\n", b"") == bare
    assert b"Bearer other" in request_head("DELETE", "/v1/x", b"h", [(b"authorization", b"Bearer other")], 0)


@pytest.mark.parametrize(
    ("scheme", "host", "port", "value"),
    [
        ("https", "api.piapi.ai", 443, b"api.piapi.ai"),
        ("http", "api.piapi.ai", 80, b"api.piapi.ai"),
        ("https", "api.piapi.ai", 80, b"api.piapi.ai:80"),
        ("http", "::1", 8080, b"[::1]:8080"),
        ("https", "fe80::1%eth0", 443, b"[fe80::1]"),
        ("https", "bücher.example", 443, b"xn--bcher-kva.example"),
    ],
)
def test_host_carries_the_port_only_where_it_is_not_the_schemes_own(
    scheme: str, host: str, port: int, value: bytes
) -> None:
    assert host_header(scheme, host, port) == value  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", ["\r\nx: y", "\n", "\r", "\0", " HTTP/1.1", "\t", "\x7f", "ü"])
def test_a_target_that_could_end_its_line_is_refused(bad: str) -> None:
    with pytest.raises(ValueError):
        request_head("POST", "/v1" + bad, b"h", [], 0)


def test_a_target_must_be_a_path() -> None:
    with pytest.raises(ValueError, match="begin with"):
        request_head("POST", "http://elsewhere/", b"h", [], 0)


@pytest.mark.parametrize("method", ["", "post", "GET /", "GET\r\n", "GÉT"])
def test_a_method_is_upper_case_letters(method: str) -> None:
    with pytest.raises(ValueError, match="method"):
        request_head(method, "/", b"h", [], 0)


@pytest.mark.parametrize(
    "header",
    [
        (b"x", b"a\r\nb: c"),
        (b"x", b"a\nb"),
        (b"x", b"a\rb"),
        (b"x", b"a\0b"),
        (b"x\r\ny", b"a"),
        (b"x y", b"a"),
        (b"x:", b"a"),
        (b"", b"a"),
        (b"Host", b"elsewhere"),
        (b"content-length", b"1"),
        (b"Transfer-Encoding", b"chunked"),
    ],
)
def test_a_header_that_could_be_more_than_one_or_end_the_message_is_refused(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="header"):
        request_head("POST", "/", b"h", [(b"accept", b"*/*"), header], 0)


def test_a_host_with_a_line_end_is_refused() -> None:
    with pytest.raises(ValueError):
        request_head("POST", "/", b"h\r\nx: y", [], 0)


HEADER = st.tuples(st.binary(max_size=8), st.binary(max_size=12))


@given(st.text(max_size=8), st.lists(HEADER, max_size=3))
def test_whatever_is_accepted_is_one_request_with_just_these_headers(
    path: str, headers: list[tuple[bytes, bytes]]
) -> None:
    try:
        head = request_head("POST", "/" + path, b"h", headers, 0)
    except ValueError:
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(head)
    event = server.next_event()
    assert isinstance(event, h11.Request)
    assert event.target == b"/" + path.encode()
    sent = [
        (b"host", b"h"),
        *((name.lower(), value.strip(b" \t")) for name, value in headers),
        (b"content-length", b"0"),
    ]
    assert list(event.headers) == sent
    assert isinstance(server.next_event(), h11.EndOfMessage)
    assert server.trailing_data[0] == b""
