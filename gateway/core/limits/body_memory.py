"""The memory that request bodies may take before their requests are admitted."""

from __future__ import annotations

BODY_MEMORY = 256 * 1024 * 1024
"""Bytes that all bodies together may take."""


class BodyBudget:
    """Memory for ``total`` bytes, shared by owners (the names of virtual keys). One thread only.

    An owner may always hold a quarter, and more while less than half of the total is held: a single owner is not slowed
    down, and one that floods leaves half of the memory to the others. A body is always admitted while no other is held,
    since its own limit bounds it.
    """

    def __init__(self, total: int = BODY_MEMORY) -> None:
        self._total = total
        self._share = total // 4
        self._by_owner: dict[str, int] = {}
        self.held = 0
        """Bytes held now."""

    def lease(self, owner: str) -> BodyLease:
        """A lease for one body, which holds nothing at first."""
        return BodyLease(self, owner)

    def resize(self, owner: str, before: int, after: int) -> bool:
        """Let a lease hold ``after`` bytes instead of ``before``. False, changing nothing, if there is not enough
        memory.
        """
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
    """The memory one body holds. ``release`` it in a ``finally``."""

    __slots__ = ("_budget", "_owner", "_size")

    def __init__(self, budget: BodyBudget, owner: str) -> None:
        self._budget = budget
        self._owner = owner
        self._size = 0

    def grow(self, size: int) -> bool:
        """Hold ``size`` bytes in all, no less than before. False if there is not enough memory."""
        granted = self._budget.resize(self._owner, self._size, size)
        if granted:
            self._size = size
        return granted

    def release(self) -> None:
        """Give all of it back."""
        self._budget.resize(self._owner, self._size, 0)
        self._size = 0
