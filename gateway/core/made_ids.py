"""The ids that upstreams' answers gave to each virtual key: what a later request of the same key may name."""

from __future__ import annotations

from collections import OrderedDict

MOST_OF_A_KEY = 1_000
"""Ids that are known of one key; of more, the oldest are forgotten."""

MOST_OF_ALL = 50_000

USUAL_LIFE = 3600.0
"""Seconds. OpenAI keeps the sound of an answer for an hour."""

LONGEST_LIFE = 24 * 3600.0


Place = tuple[str, str]
"""An upstream and the name of one of its keys: where something is kept that an id names."""


class MadeIds:
    """Bounded, and in memory: after a restart they are no longer known. Times are Unix seconds."""

    def __init__(self, most_of_a_key: int = MOST_OF_A_KEY, most_of_all: int = MOST_OF_ALL) -> None:
        self._most_of_a_key = most_of_a_key
        self._most_of_all = most_of_all
        self._ends: OrderedDict[str, OrderedDict[str, float]] = OrderedDict()
        self._places: dict[tuple[str, str], Place] = {}
        self._count = 0

    def add(self, key: str, id: str, now: float, until: float | None = None, place: Place | None = None) -> None:
        """An answer to ``key`` has this id. ``until``: when it ends, as the answer says; None if it does not.
        ``place``: the only one where it is known; None if it does not matter.
        """
        if place is not None:
            self._places[key, id] = place
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

    def place(self, key: str, id: str, now: float) -> Place | None:
        """Where alone this id of the key's is known; None if it is no such id."""
        return self._places.get((key, id)) if self.knows(key, id, now) else None

    def _forget_oldest(self, key: str) -> None:
        ids = self._ends[key]
        oldest, _ = ids.popitem(last=False)
        self._places.pop((key, oldest), None)
        self._count -= 1
        if not ids:
            del self._ends[key]
