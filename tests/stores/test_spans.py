"""How periods are cut: whatever they are, the pieces are the period, and few of them hours."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.stores.spans import DAY, HOUR, NS, Piece, signed, split

HOUR_NS, DAY_NS = HOUR * NS, DAY * NS
FIRST = 1_700_006_400 * NS
"""Midnight of UTC, 2023-11-15."""

moments = st.one_of(st.integers(0, 10 * DAY_NS), st.integers(0, 240).map(lambda hour: hour * HOUR_NS))
hours = st.integers(0, 240).map(lambda hour: hour * HOUR_NS)


@given(moments, moments, hours)
def test_a_period_is_cut_into_pieces_that_adjoin(start: int, end: int, pruned: int) -> None:
    pieces = list(split(start, end, pruned))
    for piece in pieces:
        assert piece.start < piece.end
        if piece.span:
            assert piece.start % (piece.span * NS) == piece.end % (piece.span * NS) == 0
        else:
            assert piece.end - piece.start < 2 * HOUR_NS
            assert piece.start >= pruned, "there are no rows to be read any more"
    assert [piece.end for piece in pieces[:-1]] == [piece.start for piece in pieces[1:]]
    if pieces:
        assert pieces[0].start == (start if start >= pruned else start - start % HOUR_NS)
        assert pieces[-1].end == (end if end >= pruned else end - end % HOUR_NS)
    else:
        assert start >= end or (start // HOUR_NS == end // HOUR_NS and end < pruned)


@given(moments, moments, hours)
def test_what_is_added_and_taken_away_is_the_same_period(start: int, end: int, pruned: int) -> None:
    def hours_of(pieces: list[tuple[int, Piece]]) -> Counter[int]:
        counted: Counter[int] = Counter()
        for sign, piece in pieces:
            for hour in range(piece.start, piece.end, HOUR_NS):
                counted[hour] += sign
        return Counter({hour: count for hour, count in counted.items() if count})

    plain, pieces = list(split(start, end, pruned)), list(signed(start, end, pruned))
    rolled = [(sign, piece) for sign, piece in pieces if piece.span]
    assert [piece for sign, piece in pieces if not piece.span] == [piece for piece in plain if not piece.span]
    assert all(sign == 1 for sign, piece in pieces if not piece.span)
    assert hours_of(rolled) == hours_of([(1, piece) for piece in plain if piece.span])
    for _, piece in rolled:
        assert piece.start % (piece.span * NS) == piece.end % (piece.span * NS) == 0
        if piece.span == HOUR and len(rolled) > 1:
            assert piece.end - piece.start <= 12 * HOUR_NS


def test_most_of_a_month_is_read_from_its_days() -> None:
    start, end = FIRST + HOUR_NS - 1, FIRST + 30 * DAY_NS + 90 * 60 * NS
    assert list(split(start, end, 0)) == [
        Piece(0, start, FIRST + HOUR_NS),
        Piece(HOUR, FIRST + HOUR_NS, FIRST + DAY_NS),
        Piece(DAY, FIRST + DAY_NS, FIRST + 30 * DAY_NS),
        Piece(HOUR, FIRST + 30 * DAY_NS, FIRST + 30 * DAY_NS + HOUR_NS),
        Piece(0, FIRST + 30 * DAY_NS + HOUR_NS, end),
    ]


def test_a_day_of_a_time_zone_is_a_day_of_utc_and_a_few_hours() -> None:
    start = FIRST - 2 * HOUR_NS
    assert list(signed(start, start + DAY_NS, 0)) == [
        (1, Piece(DAY, FIRST, FIRST + DAY_NS)),
        (1, Piece(HOUR, start, FIRST)),
        (-1, Piece(HOUR, FIRST + 22 * HOUR_NS, FIRST + DAY_NS)),
    ]
