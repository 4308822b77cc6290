"""The ports through which the world comes in, so that tests can bring another one.

Time inside asyncio is always the running loop's own (``loop.time``, ``loop.call_later``): a virtual-time loop replaces
it whole. ``Clock`` is what code outside a loop's callbacks asks.
"""

from __future__ import annotations

import random
import time
from typing import Protocol


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds that never jump; the same scale as the running loop's ``time()``."""
        ...

    def wall_ns(self) -> int:
        """Unix time in nanoseconds, for stamps only."""
        ...


class SystemClock:
    """The machine's clocks. asyncio's and uvloop's loops count ``time.monotonic`` too."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall_ns(self) -> int:
        return time.time_ns()


def system_randomness() -> random.Random:
    """For jitter and for choosing among equals; secrets come from ``secrets``."""
    return random.Random()  # noqa: S311
