"""Chance as pure code is given it."""

from __future__ import annotations

from typing import Protocol


class Randomness(Protocol):
    """The part of ``random.Random`` that deciding needs."""

    def random(self) -> float:
        """A number in [0, 1)."""
        ...
