"""A loop whose time passes only when nothing is left to do, and then at once: hours take milliseconds, to the second.

with asyncio.Runner(loop_factory=VirtualTime) as runner:
    runner.run(story())
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class VirtualTime(asyncio.SelectorEventLoop):
    """Starts at 0. AssertionError if the loop would sleep for ever."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Skipping(self))

    def time(self) -> float:
        return self._now

    def skip(self, seconds: float) -> None:
        self._now += seconds


class _Skipping(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTime) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everything waits, and nothing will ever happen"
            self._loop.skip(timeout)
        return ready
