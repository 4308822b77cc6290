"""One line a minute for each kind, whatever happens how often, and none is lost."""

from __future__ import annotations

from typing import Any

from gateway.telemetry.minute_lines import BEYOND, KINDS, MinuteLines


class Book:
    def __init__(self) -> None:
        self.now = 0.0
        self.lines: list[tuple[int, dict[str, Any]]] = []
        self.book = MinuteLines(lambda number, fields: self.lines.append((number, fields)), lambda: self.now)

    def tell(self, kind: str, times: int = 1) -> None:
        for number in range(times):
            self.book.tell((kind,), {"kind": kind, "last": number})


def test_the_first_at_once_and_then_one_a_minute() -> None:
    written = Book()
    for _ in range(30):
        written.tell("a", 10)
        written.book.write_counts()
        written.now += 10.0
    assert [number for number, _ in written.lines] == [1, 69, 60, 60, 60]
    assert written.lines[1][1] == {"kind": "a", "last": 9}
    written.book.write_counts(all_=True)
    assert sum(number for number, _ in written.lines) == 300


def test_a_kind_that_was_silent_for_a_minute_is_new() -> None:
    written = Book()
    written.tell("a")
    written.now = 60.0
    written.book.write_counts()
    assert written.book._until == {}
    written.tell("a")
    assert [number for number, _ in written.lines] == [1, 1]


def test_of_very_many_kinds_the_rest_is_one() -> None:
    written = Book()
    for number in range(KINDS + 500):
        written.tell(f"{number}")
    assert len(written.book._until) == KINDS + 1
    written.book.write_counts(all_=True)
    assert sum(number for number, _ in written.lines) == KINDS + 500
    assert len(written.lines) == KINDS + 2
    assert written.lines[-1] == (499, {})
    assert BEYOND in written.book._until
