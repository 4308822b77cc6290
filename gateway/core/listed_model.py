"""A model as an upstream lists it itself, in its answer to ``GET /v1/models``; and when the last day of one is over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One entry of an upstream's list.

    ``owned_by``: the upstream's own word; empty if it says none.
    ``created``: Unix seconds; None if it says none that can be believed.
    ``shutdown``, ``ends_ns``: the last day on which the upstream serves it (``2027-01-14``), and when that day is over;
        empty and None if it names none.
    """

    id: str
    owned_by: str = ""
    created: int | None = None
    shutdown: str = ""
    ends_ns: int | None = None


_YEARS = range(2020, 2100)
"""A last day in any other year is a mistake."""


_LONGEST_MOMENT = 40
"""Characters."""


def read_last_day(text: str) -> tuple[str, int | None]:
    """``2027-01-14`` and when that day is over in UTC; empty and None for a text that is no believable day."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return "", None
    return (text, end_of_day_ns(day)) if day.year in _YEARS else ("", None)


def read_moment(value: object) -> int | None:
    """The Unix seconds of ``2025-02-19T00:00:00Z``; None for what is no moment with its place in the day."""
    if not isinstance(value, str) or "T" not in value or len(value) > _LONGEST_MOMENT:
        return None
    try:
        moment = datetime.fromisoformat(value)
        return None if moment.tzinfo is None else int(moment.timestamp())
    except (ValueError, OverflowError):
        return None


def end_of_day_ns(last_day: date) -> int:
    """Unix nanoseconds at which the day is over in UTC."""
    end = datetime.combine(last_day + timedelta(days=1), time(), UTC)
    return int(end.timestamp()) * 1_000_000_000
