"""An answer's text is kept up to a limit; what lies beyond it is counted in proportion."""

from __future__ import annotations

from gateway.wire.received_text import ReceivedText


def test_what_fits_is_kept_whole_and_counted_exactly() -> None:
    text = ReceivedText(100)
    text.add("Hello")
    text.extend([" ", "world"])
    assert text.text() == "Hello world"
    assert text.tokens(len) == 11


def test_pieces_are_joined_as_they_come_and_none_is_lost() -> None:
    text = ReceivedText(1 << 20)
    pieces = [f"{number} " for number in range(1000)]
    for piece in pieces:
        text.add(piece)
    assert text.text() == "".join(pieces)
    assert len(text._pieces) < 100


def test_nothing_received_is_nothing_counted() -> None:
    assert ReceivedText(100).tokens(lambda _: 1 / 0) == 0  # type: ignore[arg-type,return-value]


def test_beyond_the_limit_memory_stays_and_the_count_grows_in_proportion() -> None:
    text = ReceivedText(1000)
    for _ in range(10_000):
        text.add("0123456789")
    assert len(text.text()) == 1000
    assert text.tokens(len) == 100_000
    assert text.tokens(lambda kept: len(kept) // 4) == 25_000
