"""The day on which the suite stands still, where ends of models and the age of prices are concerned."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest

from gateway.runtime import today

TODAY = date(2026, 11, 29)


def noon_ns(day: date) -> int:
    """Unix nanoseconds at noon of a day, in UTC."""
    return int(datetime.combine(day, time(12), UTC).timestamp()) * 10**9


def move_to(day: date, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be another day until the test is over."""
    monkeypatch.setattr(today, "wall_ns", lambda: noon_ns(day))


def in_days(days: int) -> str:
    """A day from ``TODAY``, as a configuration file has it."""
    return (TODAY + timedelta(days=days)).isoformat()
