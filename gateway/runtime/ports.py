"""The interfaces to the machine (its clocks, its source of randomness), so that tests can replace them.

Time inside asyncio is always the running loop's own (``loop.time``, ``loop.call_later``), which a test replaces whole
by a loop of virtual time. ``Clock`` is for code outside of the loop's callbacks.
"""

from __future__ import annotations

import random
import time
from typing import Protocol


class Clock(Protocol):
    """The clocks that code may ask."""

    def monotonic(self) -> float:
        """Seconds that never jump; the same scale as the running loop's ``time()``."""
        ...

    def wall_ns(self) -> int:
        """Unix time in nanoseconds, for timestamps only."""
        ...


class SystemClock:
    """The machine's clocks. asyncio's and uvloop's loops use ``time.monotonic`` too."""

    monotonic = staticmethod(time.monotonic)
    wall_ns = staticmethod(time.time_ns)


def system_randomness() -> random.Random:
    """The random numbers for jitter and for choosing among equals; secrets come from ``secrets``."""
    return random.Random()  # noqa: S311
