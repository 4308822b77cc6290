"""The day it is, by which models end and prices grow old.

It stands apart from ``Clock``, whose time stamps what happens: a test suite can stay on one day, so that it says the
same next year, while the time of its books goes on.
"""

from __future__ import annotations

import time

wall_ns = time.time_ns
"""Where the time is from; only tests replace it."""


def now_ns() -> int:
    """Unix time in nanoseconds."""
    return wall_ns()
