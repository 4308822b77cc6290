"""The source of randomness that callers hand to pure code, so that a test can hand in another one."""

from __future__ import annotations

from typing import Protocol


class Randomness(Protocol):
    """The part of ``random.Random`` that the gateway uses."""

    def random(self) -> float:
        """A number in [0, 1)."""
        ...

    def getrandbits(self, k: int, /) -> int:
        """A whole number of ``k`` random bits."""
        ...
