"""The periods of budgets: calendar days, weeks from Monday, and months of a time zone, and all of time.

Times are Unix nanoseconds. The days of a zone follow one another without gap or overlap, also when its clocks change: a
day begins when its midnight is first shown, or, where clocks are put forward over midnight, when they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal

PeriodKind = Literal["day", "week", "month", "total"]

_NANO = 1_000_000_000
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_WEEK = timedelta(days=7)
_WRITTEN = re.compile(r"(\d{4}-\d{2}-\d{2}|\d{8})(Z|[+-]\d{2}:\d{2})?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class BudgetPeriod:
    """A period from ``start_ns`` to just before ``end_ns``. ``start_ns`` tells it from others of its kind.

    ``end_ns``: None if it never ends.
    """

    kind: PeriodKind
    start_ns: int
    end_ns: int | None


ALL_TIME = BudgetPeriod("total", 0, None)


def period_at(kind: PeriodKind, wall_ns: int, zone: tzinfo) -> BudgetPeriod:
    """The period that ``wall_ns`` falls into. Raises OverflowError or ValueError beyond the years 1 to 9999."""
    if kind == "total":
        return ALL_TIME
    today = datetime.fromtimestamp(wall_ns // _NANO, zone).date()
    first = _first_day(kind, today)
    # Clocks put back over midnight show yesterday's date again; put forward over it, today's before its midnight.
    if wall_ns >= _begins(_next(kind, first), zone):
        first = _next(kind, first)
    elif wall_ns < _begins(first, zone):
        first = _previous(kind, first)
    return BudgetPeriod(kind, _begins(first, zone), _begins(_next(kind, first), zone))


def day_as_written(text: str, zone: tzinfo) -> BudgetPeriod | None:
    """The day of a date as people write it: ``2026-11-22``, in ``zone``, or ``2026-11-22Z`` and ``2026-11-22+01:00``,
    in that of its own. None for any other text, a date with a time among them.

    Raises ValueError for a date that the calendar does not have, OverflowError for one beyond what it can tell.
    """
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        return None
    if (offset := found[2]) is not None:
        own = datetime.fromisoformat(f"2000-01-01T00:00{offset}").tzinfo
        assert own is not None
        zone = own
    day = date.fromisoformat(found[1])
    return BudgetPeriod("day", _begins(day, zone), _begins(day + _DAY, zone))


def iso_time(wall_ns: int, zone: tzinfo) -> str:
    """RFC 3339, to the second: ``2026-11-22T08:47:01Z``, ``2026-12-01T00:00:00+01:00``."""
    return datetime.fromtimestamp(wall_ns // _NANO, zone).isoformat().replace("+00:00", "Z")


def utc_time(wall_ns: int) -> str:
    """RFC 3339 in UTC, to the second: ``2026-11-22T08:47:01Z``."""
    return iso_time(wall_ns, UTC)


def _begins(day: date, zone: tzinfo) -> int:
    """A day's first midnight. One that no clock shows is computed with the offset before the clocks were put
    forward.
    """
    return (datetime(day.year, day.month, day.day, tzinfo=zone) - _EPOCH) // _SECOND * _NANO


def _first_day(kind: PeriodKind, day: date) -> date:
    """The first day of the period that a day is in."""
    if kind == "week":
        return day - day.weekday() * _DAY
    return day if kind == "day" else day.replace(day=1)


def _next(kind: PeriodKind, first: date) -> date:
    """The first day of the period after the one whose first day is given."""
    if kind == "month":
        return (first.replace(day=28) + 4 * _DAY).replace(day=1)
    return first + (_WEEK if kind == "week" else _DAY)


def _previous(kind: PeriodKind, first: date) -> date:
    return _first_day(kind, first - _DAY)
