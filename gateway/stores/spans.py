"""How a period of the books is cut: whole hours and days of UTC from a roll-up, what is left at the edges from rows.

Pure, and the same for every engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

NS = 1_000_000_000

HOUR, DAY = 3_600, 86_400
"""Seconds: the spans of a roll-up, always of UTC."""


@dataclass(frozen=True, slots=True)
class Piece:
    """``start <= at < end``, Unix nanoseconds. ``span``: the roll-up's to read it from, or 0 for the rows."""

    span: int
    start: int
    end: int


def split(start_ns: int, end_ns: int, pruned_ns: int) -> Iterator[Piece]:
    """Cut a period at the hours and days of UTC, in order of time.

    ``pruned_ns``: a whole hour; before it there may be no rows any more. A boundary there is moved back to its hour,
    so that periods which adjoin still do, and nothing is counted twice or not at all.
    """
    start, end = (
        floor_ns(moment, HOUR) if moment < pruned_ns else moment for moment in (max(start_ns, 0), max(end_ns, 0))
    )
    first_hour, last_hour = ceiling_ns(start, HOUR), floor_ns(end, HOUR)
    if first_hour >= last_hour:
        cuts = [(0, start, end)]
    else:
        first_day, last_day = ceiling_ns(start, DAY), floor_ns(end, DAY)
        if first_day >= last_day:
            hours = [(HOUR, first_hour, last_hour)]
        else:
            hours = [(HOUR, first_hour, first_day), (DAY, first_day, last_day), (HOUR, last_day, last_hour)]
        cuts = [(0, start, first_hour), *hours, (0, last_hour, end)]
    for span, first, last in cuts:
        if first < last:
            yield Piece(span, first, last)


def signed(start_ns: int, end_ns: int, pruned_ns: int) -> Iterator[tuple[int, Piece]]:
    """``split``, with as few hours as can be: 1 or -1 for each piece, whether it is to be added or taken away.

    What begins two hours before a day is these two hours and the days; what ends two hours before one is the days
    without its last two hours. So a day of a time zone is a day of UTC and a few hours.
    """
    pieces = list(split(start_ns, end_ns, pruned_ns))
    rolled = [piece for piece in pieces if piece.span]
    yield from ((1, piece) for piece in pieces if not piece.span)
    if not rolled:
        return
    first, last = rolled[0].start, rolled[-1].end
    first_day, last_day = (floor_ns(moment + DAY * NS // 2, DAY) for moment in (first, last))
    if first_day >= last_day:
        yield 1, Piece(HOUR, first, last)
        return
    yield 1, Piece(DAY, first_day, last_day)
    for sign, start, end in ((1, first, first_day), (1, last_day, last)):
        if start < end:
            yield sign, Piece(HOUR, start, end)
        elif start > end:
            yield -sign, Piece(HOUR, end, start)


def floor_ns(moment_ns: int, span: int) -> int:
    """The begin of the span of so many seconds that a moment is in; Unix nanoseconds."""
    return moment_ns - moment_ns % (span * NS)


def ceiling_ns(moment_ns: int, span: int) -> int:
    """The moment itself if a span begins with it, else the begin of the next one; Unix nanoseconds."""
    return -floor_ns(-moment_ns, span)


def days(start_ns: int, end_ns: int, zone: tzinfo) -> Iterator[tuple[str, int, int]]:
    """The days of ``zone`` within a period: YYYY-MM-DD, first nanosecond, first one after."""
    if start_ns >= end_ns:
        return
    start = start_ns
    day = datetime.fromtimestamp(start // NS, zone).date()
    while start < end_ns:
        after = day + timedelta(days=1)
        end = min(_midnight(after, zone), end_ns)
        if start < end:  # a zone that crossed the date line has a day of no length
            yield day.isoformat(), start, end
            start = end
        day = after


def _midnight(day: date, zone: tzinfo) -> int:
    """The first nanosecond of a day; where the clock skips midnight, the moment it does (PEP 495, fold 0)."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * NS
