"""Draws from a seeded source: the only randomness of the fuzz."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

_WORDS = (
    "the", "a", "weather", "in", "Oslo", "is", "fine", "{", "}", '"', "\\", "\n", "data:", "[DONE]", "null", "é",
    "中文",
    "\u2028", "\u0085", "\x0b", "<b>", "😀", "👩‍👩‍👧", "𝒳", "0", "1.5", "stop", "error", "\r\n", "\t", ":", "//", "'",
)  # fmt: skip
_NAMES = ("city", "zone", "days", "q", "a b", "日", "n", "list", "deep")


class Draw:
    """A stream of choices; the same seed makes the same choices."""

    def __init__(self, seed: int | str) -> None:
        self.random = Random(seed)

    def chance(self, share: float) -> bool:
        """True in ``share`` of the cases."""
        return self.random.random() < share

    def one_of(self, *values: T) -> T:
        return values[int(self.random.random() * len(values))]

    def of(self, values: Sequence[T]) -> T:
        return values[int(self.random.random() * len(values))]

    def mostly(self, usual: T, *others: T, odd: float = 0.3) -> T:
        """``usual``, or in ``odd`` of the cases one of the others."""
        return self.of(others) if self.random.random() < odd else usual

    def number(self, low: int, high: int) -> int:
        """From ``low`` to ``high``, both included."""
        return low + int(self.random.random() * (high - low + 1))

    def text(self, most: int = 6) -> str:
        """A text of some words, never empty."""
        words = [self.of(_WORDS) for _ in range(self.number(1, most))]
        return ("" if self.chance(0.2) else " ").join(words)

    def name(self) -> str:
        """A name unlike those drawn before."""
        return f"{self.one_of('weather', 'time', 'get', 'x')}_{self.random.randrange(1 << 30):x}"

    def pieces(self, whole: str, most: int = 5, *, halves: bool = False) -> list[str]:
        """A text in pieces that joined are the text; empty ones may be among them.

        ``halves``: a cut may fall within a character, between the two escapes that make it.
        """
        wide = whole.encode("utf-16-le", "surrogatepass")
        units = len(wide) // 2
        places = sorted(self.number(0, units) for _ in range(self.number(0, most - 1)))
        cuts = [0, *places, units]
        pieces = []
        for begin, end in pairwise(cuts):
            pieces.append(wide[2 * begin : 2 * end].decode("utf-16-le", "surrogatepass"))
        if halves or not any("\ud800" <= letter <= "\udfff" for piece in pieces for letter in piece):
            return pieces
        return [whole]

    def cut(self, data: bytes, most: int = 12) -> list[bytes]:
        """Bytes in pieces, none of them empty."""
        if not data:
            return []
        style = self.random.random()
        if style < 0.3:
            return [data]
        if style < 0.36 and len(data) < 600:
            return [data[place : place + 1] for place in range(len(data))]
        places = sorted({self.number(1, max(1, len(data) - 1)) for _ in range(self.number(1, most))})
        cuts = [0, *places, len(data)]
        return [data[begin:end] for begin, end in pairwise(cuts) if begin < end]

    def value(self, depth: int = 2) -> Any:
        """Any JSON value."""
        kind = self.number(0, 8 if depth else 5)
        if kind == 0:
            return None
        if kind == 1:
            return self.chance(0.5)
        if kind == 2:
            return self.one_of(0, 1, -1, 7, 1 << 40, 1.5, -0.25, 1e300)
        if kind in (3, 4):
            return self.text(4)
        if kind == 5:
            return ""
        if kind == 6:
            return [self.value(depth - 1) for _ in range(self.number(0, 3))]
        return {self.of(_NAMES): self.value(depth - 1) for _ in range(self.number(0, 3))}

    def wrong(self, *fine: type) -> Any:
        """A value that is of none of these types, and not None."""
        values = [True, 5, 2.5, "odd", [], [1], {}, {"a": 1}]
        return self.of([value for value in values if type(value) not in fine])
