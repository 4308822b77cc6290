"""The ids that upstreams' answers gave to each virtual key: what a later request of the same key may name."""

from __future__ import annotations

from collections import OrderedDict

MOST_OF_A_KEY = 1_000
"""Ids that are known of one key; of more, the oldest are forgotten."""

MOST_OF_ALL = 50_000

USUAL_LIFE = 3600.0
"""Seconds. OpenAI keeps the sound of an answer for an hour."""

LONGEST_LIFE = 24 * 3600.0


class MadeIds:
    """Bounded, and in memory: after a restart they are no longer known. Times are Unix seconds."""

    def __init__(self, most_of_a_key: int = MOST_OF_A_KEY, most_of_all: int = MOST_OF_ALL) -> None:
        self._most_of_a_key = most_of_a_key
        self._most_of_all = most_of_all
        self._ends: OrderedDict[str, OrderedDict[str, float]] = OrderedDict()
        self._count = 0

    def add(self, key: str, id: str, now: float, until: float | None = None) -> None:
        """An answer to ``key`` has this id. ``until``: when it ends, as the answer says; None if it does not."""
        end = now + USUAL_LIFE if until is None or until <= now else min(until, now + LONGEST_LIFE)
        ids = self._ends.setdefault(key, OrderedDict())
        self._ends.move_to_end(key)
        self._count += id not in ids
        ids[id] = end
        if len(ids) > self._most_of_a_key:
            self._forget_oldest(key)
        while self._count > self._most_of_all:
            self._forget_oldest(next(iter(self._ends)))

    def knows(self, key: str, id: str, now: float) -> bool:
        """Whether an answer gave this id to this very key, and it has not ended."""
        return key in self._ends and self._ends[key].get(id, 0.0) > now

    def _forget_oldest(self, key: str) -> None:
        ids = self._ends[key]
        ids.popitem(last=False)
        self._count -= 1
        if not ids:
            del self._ends[key]
