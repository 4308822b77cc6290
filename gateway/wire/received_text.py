"""The text of an answer as it comes in, kept up to a bound for counting tokens and finding images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_TO_JOIN = 64
"""Pieces that are joined, each once: a piece of a few characters takes fifty bytes more than these."""


class ReceivedText:
    """The text received so far.

    ``keep``: characters that are kept; of the text beyond them only the length is known.
    """

    __slots__ = ("_keep", "_kept", "_loose", "_pieces", "_total")

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._kept = 0
        self._total = 0
        self._pieces: list[str] = []
        self._loose = 0  # of the pieces, how many at the end have not been joined

    def add(self, piece: str) -> None:
        """Take the next piece."""
        self.extend((piece,))

    @property
    def length(self) -> int:
        """Characters received so far."""
        return self._total

    def extend(self, pieces: Sequence[str]) -> None:
        """Take several pieces."""
        piece = pieces[0] if len(pieces) == 1 else "".join(pieces)
        size = len(piece)
        self._total += size
        if self._kept < self._keep:
            self._kept += size
            self._pieces.append(piece)
            self._loose += 1
            if self._loose == _TO_JOIN:
                self._pieces[-_TO_JOIN:] = ["".join(self._pieces[-_TO_JOIN:])]
                self._loose = 0

    def text(self) -> str:
        """The text that was kept."""
        return "".join(self._pieces)

    def tokens(self, count: Callable[[str], int]) -> int:
        """Tokens of the whole text: those of the kept part by ``count``, in proportion for the rest."""
        if not self._kept:
            return 0
        counted = count(self.text())
        return counted if self._kept == self._total else -(-counted * self._total // self._kept)
