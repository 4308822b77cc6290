"""The head of an answer, byte by byte, and what may not be in one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.server.response_head import response_head

DATE = b"date: Sun, 29 Nov 2026 12:00:00 GMT\r\n"


def test_a_head_has_its_status_the_date_and_the_headers_in_their_order():
    assert response_head(200, DATE, [(b"b", b"1"), (b"a", b"2")]) == (
        b"HTTP/1.1 200 OK\r\ndate: Sun, 29 Nov 2026 12:00:00 GMT\r\nb: 1\r\na: 2\r\n\r\n"
    )


def test_it_says_how_the_body_is_framed_and_that_the_connection_closes():
    assert response_head(404, DATE, [], close=True, chunked=True) == (
        b"HTTP/1.1 404 Not Found\r\n" + DATE + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    )


def test_a_status_that_has_no_name_goes_without():
    assert response_head(599, DATE, []).startswith(b"HTTP/1.1 599 \r\n")


@pytest.mark.parametrize("status", [0, 99, 100, 101, 199, 600, 1000])
def test_what_is_no_final_status_is_refused(status):
    with pytest.raises(ValueError, match="no final status"):
        response_head(status, DATE, [])


@given(name=st.binary(max_size=8), value=st.binary(max_size=12), after=st.booleans())
def test_no_header_can_add_a_line(name, value, after):
    headers = [(name, value), (b"x", b"y")] if after else [(name, value)]
    harmful = any(byte in name + value for byte in b"\r\n\0")
    try:
        head = response_head(200, DATE, headers)
    except ValueError:
        assert harmful
    else:
        assert not harmful
        assert head.split(b"\r\n")[2] == name + b": " + value


@pytest.mark.parametrize("value", [b"a\r\nx: b", b"a\nx: b", b"a\r", b"a\n", b"a\r\n\r\nbody", b"a\0"])
@pytest.mark.parametrize("place", ["name", "value"])
def test_a_header_with_a_line_end_is_refused(value, place):
    header = (value, b"a") if place == "name" else (b"a", value)
    with pytest.raises(ValueError, match="line end"):
        response_head(200, DATE, [header])
