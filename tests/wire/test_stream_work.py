"""The bound on what a stream may send that says nothing: what honest upstreams do is far below it."""

from __future__ import annotations

import pytest

from gateway.wire.sse import Comment, Event, SSEParser
from gateway.wire.stream_work import CREDIT, EARNED, StreamWork

PING = Comment(b"ping")


def empty(size: int = 10) -> Event:
    return Event(b"", None, b"x" * size)


def test_a_ping_a_second_for_half_an_hour_is_fine():
    work = StreamWork()
    assert not any(work.overdrawn([PING], 0, 0) for _ in range(1_800))


def test_pings_behind_every_chunk_are_fine_for_as_long_as_the_answer_goes_on():
    work = StreamWork()
    for chunk in range(1, 100_000):
        assert not work.overdrawn([empty(), *[PING] * EARNED], chunk, 0)


def test_the_credit_ends_where_nothing_comes_of_it():
    work = StreamWork()
    assert not any(work.overdrawn([PING], 0, 0) for _ in range(CREDIT))
    assert work.overdrawn([PING], 0, 0)


def test_one_chunk_now_and_then_does_not_pay_for_thousands_of_pings():
    work = StreamWork()
    assert any(work.overdrawn([empty(), *[PING] * 1_000], chunk, 0) for chunk in range(1, 30))


def test_lines_that_become_no_event_count():
    work = StreamWork()
    assert not work.overdrawn([], 0, CREDIT)
    assert work.overdrawn([], 0, CREDIT + 1)


def test_a_huge_event_without_meaning_counts_by_its_bytes_and_one_with_meaning_does_not():
    work = StreamWork()
    assert not work.overdrawn([empty(32 << 20)], 0, 0)
    assert not work.overdrawn([empty(32 << 20)], 1, 0)
    assert any(work.overdrawn([empty(32 << 20)], 1, 0) for _ in range(3))
    work = StreamWork()
    assert not any(work.overdrawn([empty(32 << 20)], chunk, 0) for chunk in range(1, 100))


@pytest.mark.parametrize(
    ("stream", "silent"),
    [
        (b"\n\n\n", 3),
        (b"\r\n\r\n", 2),
        (b"\r\r\r", 3),
        (b"id: 1\n\nretry: 5\n\n", 4),
        (b"event: x\ndata: y\n\n", 1),
        (b"data: x\n\n", 0),
        (b"data: x\ndata: y\n\n: ping\n", 0),
    ],
)
def test_the_parser_counts_the_lines_that_say_nothing_wherever_the_stream_is_cut(stream, silent):
    for cut in range(len(stream) + 1):
        parser = SSEParser()
        parser.feed(stream[:cut])
        parser.feed(stream[cut:])
        assert parser.silent == silent
