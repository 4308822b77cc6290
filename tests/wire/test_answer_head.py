"""The head of an answer: looked up by need, and the same as a parser tells it."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.answer_head import Head

NAMES = st.text("abcDEF-", min_size=1, max_size=5).map(str.encode)
VALUES = st.text("ab:; \t", max_size=6).map(lambda text: text.strip(" \t").encode())


class _Parser:
    """What httptools tells of a head."""

    def __init__(self, came: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        httptools.HttpResponseParser(self).feed_data(came)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.rstrip(b" \t")))


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.sampled_from([b"", b" ", b" \t "]))
def test_says_what_the_parser_says(headers, space):
    lines = b"HTTP/1.1 200 ab: c\r\n" + b"".join(
        b"%b:%b%b%b\r\n" % (name, space, value, space) for name, value in headers
    )
    head = Head(200, lines=lines)
    told = _Parser(lines + b"\r\n").headers
    assert head.headers == tuple(told)
    for name in {name.lower() for name, _ in headers} | {b"ab", b"http/1.1 200 ab"}:
        values = [value for other, value in told if other == name]
        assert head.get(name) == (values[0] if values else None)
        assert head.count(name) == len(values)


@pytest.mark.parametrize("headers", [(), ((b"content-type", b"text/plain"), (b"a", b""), (b"a", b"2"))])
def test_of_pairs(headers):
    head = Head(404, headers)
    assert (head.status, head.headers) == (404, headers)
    assert head.get(b"a") == (b"" if headers else None)
