"""When a task is asked after: by what is known of how long tasks like it take, else at growing intervals.

Pure; the seconds here are before chance spreads them (``TaskPolling``).
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.core.routing.durations import Expected
from gateway.core.types import TaskTimes

GROWTH = 1.5
"""The factor by which the time between two polls grows, from ``tasks.poll`` to ``tasks.poll_max``."""

LOOKS = (1.5, 5.0)
"""Looks at a task long before it is expected to be done, since one that is refused ends at once: in times of
``tasks.poll`` after its creation. Each is worth it only where at least twice as long is left."""

LONGEST_BLIND = 45.0
"""Seconds between two polls at most, however long tasks like it take."""

LOOKS_WITHIN = 5
"""Into how many parts the time is divided in which most tasks end: from when 10 of a hundred are done until 90 are."""


def intervals(times: TaskTimes, expected: Expected | None) -> Iterator[float]:
    """The seconds to wait before each poll, without end.

    ``expected``: None where too little is known. A task that is late is asked after as if nothing was known of it.
    """
    if expected is not None:
        yield from _expecting(times, expected)
    interval = times.poll
    while True:
        yield interval
        interval = min(interval * GROWTH, times.poll_max)


def _expecting(times: TaskTimes, expected: Expected) -> Iterator[float]:
    """The polls until 90 of a hundred tasks are done."""
    now, longest = 0.0, max(LONGEST_BLIND, times.poll_max)
    for look in LOOKS:
        at = look * times.poll
        if 3 * at <= expected.p10 and at - now <= longest:
            yield at - now
            now = at
    while now < expected.p10:
        wait = min(max(expected.p10 - now, times.poll), longest)
        yield wait
        now += wait
    step = min(max((expected.p90 - expected.p10) / LOOKS_WITHIN, times.poll), times.poll_max)
    while now < expected.p90:
        yield step
        now += step
