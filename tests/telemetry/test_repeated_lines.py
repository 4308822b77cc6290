"""A flood of equal lines becomes a count; other lines are not held up by it."""

from __future__ import annotations

from typing import Any

from gateway.telemetry.repeated_lines import EACH, KINDS, MINUTE, TOGETHER, RepeatedLines


class Written:
    def __init__(self) -> None:
        self.now = 0.0
        self.lines: list[dict[str, Any]] = []
        self.counts: list[tuple[int, dict[str, Any]]] = []
        self.repeated = RepeatedLines(
            self.lines.append, lambda number, fields: self.counts.append((number, fields)), lambda: self.now
        )


def test_so_many_of_a_kind_are_written_and_the_rest_is_counted():
    written = Written()
    for number in range(EACH + 50):
        written.repeated.tell(("one",), {"n": number})
    written.repeated.tell(("other",), {"n": 0})
    assert len(written.lines) == EACH + 1
    written.repeated.write_counts()
    written.repeated.write_counts()
    assert written.counts == [(50, {"n": EACH + 49})]


def test_a_minute_later_lines_are_written_again_and_no_count_is_lost():
    written = Written()
    for number in range(EACH + 1):
        written.repeated.tell(("one",), {"n": number})
    written.now = MINUTE
    written.repeated.tell(("one",), {"n": -1})
    assert written.counts == [(1, {"n": EACH})]
    assert written.lines[-1] == {"n": -1}


def test_from_many_addresses_at_once_the_lines_are_bounded_and_the_sum_is_right():
    written = Written()
    asked = TOGETHER + 3 * KINDS
    for number in range(asked):
        written.repeated.tell((number,), {"n": number})
    written.repeated.write_counts()
    assert len(written.lines) == TOGETHER
    assert len(written.counts) <= KINDS + 1
    assert len(written.lines) + sum(number for number, _ in written.counts) == asked
