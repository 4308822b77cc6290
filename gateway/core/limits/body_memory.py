"""How many bytes of request bodies may be held before anything has decided whether their requests are let in."""

from __future__ import annotations

TOTAL = 256 * 1024 * 1024


class BodyBudget:
    """Room for ``total`` bytes, shared by owners (the names of virtual keys). One thread only.

    An owner may always hold a quarter, and more while less than half of all is held: one that is alone is not slowed
    down, and one that floods leaves half of the room to the others. A body that is alone always has room, since its
    own limit bounds it.
    """

    def __init__(self, total: int = TOTAL) -> None:
        self._total = total
        self._share = total // 4
        self._by_owner: dict[str, int] = {}
        self.held = 0
        """Bytes held now."""

    def lease(self, owner: str) -> BodyLease:
        """Room for one body, nothing at first."""
        return BodyLease(self, owner)

    def resize(self, owner: str, before: int, after: int) -> bool:
        """Let a lease hold ``after`` bytes instead of ``before``; False, changing nothing, if there is no room."""
        others = self.held - before
        siblings = self._by_owner.get(owner, 0) - before
        if after > before and others:
            if others + after > self._total:
                return False
            if siblings and siblings + after > self._share and others + after > self._total // 2:
                return False
        self.held = others + after
        if siblings + after:
            self._by_owner[owner] = siblings + after
        else:
            self._by_owner.pop(owner, None)
        return True


class BodyLease:
    """What one body holds of the budget. ``release`` it, whatever happens."""

    __slots__ = ("_budget", "_owner", "_size")

    def __init__(self, budget: BodyBudget, owner: str) -> None:
        self._budget = budget
        self._owner = owner
        self._size = 0

    def grow(self, size: int) -> bool:
        """Hold ``size`` bytes in all, no less than before. False if there is no room for them."""
        granted = self._budget.resize(self._owner, self._size, size)
        if granted:
            self._size = size
        return granted

    def release(self) -> None:
        """Hold nothing."""
        self._budget.resize(self._owner, self._size, 0)
        self._size = 0
