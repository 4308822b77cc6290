"""A count of recent events in constant memory."""

from __future__ import annotations


class RollingCount:
    """The number of events in the last ``window`` seconds, kept in ``buckets`` steps. Time must never move back."""

    def __init__(self, window: float, buckets: int = 10) -> None:
        self._step = window / buckets
        self._buckets = buckets
        self._counts = [0] * buckets
        self._newest = 0
        self._total = 0

    def add(self, now: float, count: int = 1) -> None:
        tick = int(now / self._step)
        if tick > self._newest:
            self._forget(tick)
        self._counts[self._newest % self._buckets] += count
        self._total += count

    def total(self, now: float) -> int:
        tick = int(now / self._step)
        if tick > self._newest:
            self._forget(tick)
        return self._total

    def clear(self) -> None:
        self._counts = [0] * self._buckets
        self._total = 0

    def _forget(self, tick: int) -> None:
        if tick - self._newest >= self._buckets:
            self.clear()
        else:
            for passed in range(self._newest + 1, tick + 1):
                slot = passed % self._buckets
                self._total -= self._counts[slot]
                self._counts[slot] = 0
        self._newest = tick
