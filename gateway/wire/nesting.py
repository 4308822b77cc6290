"""The depth and number of members of a JSON document, counted in its bytes.

orjson reads 1,024 levels and writes 254, and joining chunks recurses once a level: a document between the two limits
would be read and could not be passed on.
"""

from __future__ import annotations

import re
from itertools import accumulate

MAX_DEPTH = 200
"""Levels of arrays and objects that an upstream's document may have. Real answers have about ten."""

MOST_MEMBERS = 300_000
"""The most commas and opening brackets of an answer about images. Such an answer is big because of a few long texts;
millions of small members would only fill the memory, with many times their size on the wire."""

_FIRST_LOOK = 1 << 16

# Possessive, and closed or not: no byte is read twice, for any input.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
# An opening bracket becomes +1, a closing one -1 (as a signed byte); everything else is left out.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_BETWEEN_MEMBERS = bytes(byte for byte in range(256) if byte not in b",[{")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[{]}")


def too_deep(data: bytes) -> bool:
    """Whether the JSON document ``data`` has more than ``MAX_DEPTH`` levels. Takes time linear in its size.

    Usual documents only need their brackets counted. One with very many brackets is examined, its beginning first,
    which is enough for a document that is all brackets. The result means nothing for bytes that are not JSON.
    """
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return False
    return _deepest(data[:_FIRST_LOOK]) > MAX_DEPTH or _deepest(data) > MAX_DEPTH


def too_crowded(data: bytes, most: int = MOST_MEMBERS) -> bool:
    """Whether the JSON document ``data`` may have more than ``most`` members."""
    return len(data.translate(None, _BETWEEN_MEMBERS)) > most


def _deepest(data: bytes) -> int:
    """The deepest level of the document, or of its beginning."""
    steps = memoryview(_STRING.sub(b"", data).translate(_STEPS, _NO_BRACKETS)).cast("b")
    return max(accumulate(steps), default=0)
