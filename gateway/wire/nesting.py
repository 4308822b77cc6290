"""How deep a JSON document is nested, told from its bytes.

orjson reads 1,024 levels and writes 254, and what folds chunks calls itself once a level: a document between the two
limits would be taken in and could not be passed on.
"""

from __future__ import annotations

import re
from itertools import accumulate

MAX_DEPTH = 200
"""Levels of arrays and objects that an upstream's document may have. Real answers have about ten."""

# Possessive, and closed or not: no bytes are looked at twice, whatever comes.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
# An opening bracket becomes +1, a closing one -1 (as a signed byte); everything else is left out.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[{]}")


def too_deep(data: bytes) -> bool:
    """Whether the JSON document ``data`` has more than ``MAX_DEPTH`` levels. Takes time in proportion to its size.

    Usual documents are done with counting their brackets; only one that has very many is looked at closely. The answer
    means nothing for bytes that are not JSON.
    """
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return False
    steps = memoryview(_STRING.sub(b"", data).translate(_STEPS, _NO_BRACKETS)).cast("b")
    return max(accumulate(steps), default=0) > MAX_DEPTH
