"""The head of an answer, byte by byte, and what may not be in one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.server.response_head import CHUNKED, CLOSE, cookie_line, response_head

DATE = b"date: Sun, 29 Nov 2026 12:00:00 GMT\r\n"


def head(status, headers, **more):
    return response_head(status, DATE, "req-1", headers, **{"framing": b"", **more})


def test_a_head_has_its_status_the_date_the_request_id_and_the_headers_in_their_order():
    assert head(200, [(b"b", b"1"), (b"a", b"2")], default=b"") == (
        b"HTTP/1.1 200 OK\r\ndate: Sun, 29 Nov 2026 12:00:00 GMT\r\nx-request-id: req-1\r\nb: 1\r\na: 2\r\n\r\n"
    )


def test_it_says_how_the_body_is_framed_and_that_the_connection_closes():
    assert head(404, [], framing=CHUNKED + CLOSE).endswith(
        b"\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )


def test_the_body_is_json_unless_the_headers_say_otherwise():
    assert b"\r\ncontent-type: application/json\r\n" in head(200, [(b"a", b"1")])
    told = head(200, [(b"content-type", b"image/png"), (b"a", b"1")])
    assert told.count(b"content-type") == 1
    assert b"\r\ncontent-type: image/png\r\n" in told


def test_a_stream_must_not_be_buffered_on_the_way():
    told = head(200, [(b"content-type", b"text/event-stream; charset=utf-8")])
    assert b"\r\ncache-control: no-cache, no-transform\r\nx-accel-buffering: no\r\n" in told


def test_what_concerns_one_hop_is_left_out():
    assert head(200, [(b"connection", b"keep-alive"), (b"x-request-id", b"theirs"), (b"server", b"a")]) == head(200, [])


def test_a_status_that_has_no_name_goes_without():
    assert head(599, []).startswith(b"HTTP/1.1 599 \r\n")


@pytest.mark.parametrize("status", [0, 99, 100, 101, 199, 600, 1000])
def test_what_is_no_final_status_is_refused(status):
    with pytest.raises(ValueError, match="no final status"):
        head(status, [])


@given(name=st.binary(max_size=8), value=st.binary(max_size=12), after=st.booleans())
def test_no_header_can_add_a_line(name, value, after):
    name = b"x-" + name
    headers = [(name, value), (b"x", b"y")] if after else [(name, value)]
    harmful = any(byte in name + value for byte in b"\r\n\0")
    try:
        told = head(200, headers)
    except ValueError:
        assert harmful
    else:
        assert not harmful
        assert told.split(b"\r\n")[3] == name + b": " + value


@pytest.mark.parametrize("value", [b"a\r\nx: b", b"a\nx: b", b"a\r", b"a\n", b"a\r\n\r\nbody", b"a\0"])
@pytest.mark.parametrize("place", ["name", "value"])
def test_a_header_with_a_line_end_is_refused(value, place):
    header = (value, b"a") if place == "name" else (b"a", value)
    with pytest.raises(ValueError, match="line end"):
        head(200, [header])


def test_a_cookie_of_our_own_is_one_line_and_an_upstreams_never_passes():
    line = cookie_line(b"a=b; HttpOnly")
    assert line == b"set-cookie: a=b; HttpOnly\r\n"
    told = head(200, [(b"set-cookie", b"theirs=1"), (b"a", b"1")], framing=line)
    assert (told.count(b"set-cookie"), b"theirs" in told) == (1, False)


@pytest.mark.parametrize("value", [b"a=b\r\nx: y", b"a=b\n", b"\ra=b", b"a=\0b"])
def test_a_cookie_that_would_end_its_line_is_refused(value):
    with pytest.raises(ValueError, match="one line"):
        cookie_line(value)
