"""The parts of a body that are worked on in one turn of the loop."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.received_body import ReceivedBody
from gateway.wire.turns import MOST_BYTES, MOST_LINES, end_of_turn


def test_a_few_bytes_go_at_once():
    assert end_of_turn(b"\n" * 2048) == 2048


def test_a_part_has_few_lines_or_many_bytes():
    assert end_of_turn(b"x" * (1 << 20)) == MOST_BYTES
    for line in (b"\n", b"\r", b"\r\n", b"data:\n\n", b": x\n"):
        data = line * (1 << 18)
        end = end_of_turn(data)
        assert end > 0
        assert data[:end].count(b"\n") + data[:end].count(b"\r") <= 2048


def test_lines_count_wherever_they_stand():
    data = b"x" * 100_000 + b"\n" * 100_000
    start = 0
    while start < len(data):
        end = end_of_turn(data, start)
        lines = data.count(b"\n", start, end)
        assert lines <= MOST_LINES or end - start <= 2048
        start = end


@given(st.lists(st.binary(min_size=1, max_size=5000), max_size=30), st.data())
def test_what_was_added_is_taken_in_order_and_once(pieces, data):
    body = ReceivedBody()
    taken = []
    for piece in pieces:
        body.add(piece * 40)
        if data.draw(st.booleans()):
            continue
        assert body.gather()
        if data.draw(st.booleans()):
            taken.append(body.take())
    body.gather()
    while body.size:
        taken.append(body.take())
    assert b"".join(taken) == b"".join(piece * 40 for piece in pieces)
    assert body.take() == b""
