"""A count of recent events in constant memory."""

from __future__ import annotations


class RollingCount:
    """The number of events in the last ``window`` seconds, kept in ``buckets`` steps. Time must never move back."""

    def __init__(self, window: float, buckets: int = 10) -> None:
        self._step = window / buckets
        self._counts = [0] * buckets
        self._newest = 0
        self._total = 0

    def add(self, now: float, count: int = 1) -> None:
        self._forget(now)
        self._counts[self._newest % len(self._counts)] += count
        self._total += count

    def total(self, now: float) -> int:
        self._forget(now)
        return self._total

    def clear(self) -> None:
        self._counts = [0] * len(self._counts)
        self._total = 0

    def _forget(self, now: float) -> None:
        tick = int(now / self._step)
        if tick <= self._newest:
            return
        if tick - self._newest >= len(self._counts):
            self.clear()
        else:
            for passed in range(self._newest + 1, tick + 1):
                slot = passed % len(self._counts)
                self._total -= self._counts[slot]
                self._counts[slot] = 0
        self._newest = tick
