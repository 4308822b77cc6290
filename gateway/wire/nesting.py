"""The depth of a JSON document, counted in its bytes.

orjson reads 1,024 levels and writes 254, and joining chunks recurses once a level: a document between the two limits
would be read and could not be passed on.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from gateway.core.json_weight import openings_in, structure

MAX_DEPTH = 200
"""Levels of arrays and objects that an upstream's document may have. Real answers have about ten."""

WRITTEN_DEPTH = 254
"""Levels that orjson writes."""

# An opening bracket becomes +1, a closing one -1 (as a signed byte); everything else is left out.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[{]}")


def too_deep(data: bytes) -> bool:
    """Whether the JSON document ``data`` has more than ``MAX_DEPTH`` levels. Takes time linear in its size.

    Usual documents only need their brackets counted. One with very many brackets is examined, block by block, up to the
    first that is too deep. The result means nothing for bytes that are not JSON.
    """
    if len(data) <= 2 * MAX_DEPTH or openings_in(data) <= MAX_DEPTH:  # a level opens and closes
        return False
    level = 0
    for block in structure(data):
        steps = memoryview(block.translate(_STEPS, _NO_BRACKETS)).cast("b")
        levels = list(accumulate(steps, initial=level))
        if max(levels) > MAX_DEPTH:
            return True
        level = levels[-1]
    return False


def writable_depth(data: bytes, document: Any) -> bool:
    """Whether the document that was parsed from ``data`` can be written again, for all its depth.

    ``data``: its opening brackets will do.
    """
    if len(data) <= WRITTEN_DEPTH or openings_in(data) <= WRITTEN_DEPTH:
        return True
    level = [document]
    for _ in range(WRITTEN_DEPTH):
        below: list[Any] = []
        for value in level:
            if type(value) is dict:
                below.extend(value.values())
            elif type(value) is list:
                below.extend(value)
        level = [value for value in below if type(value) is dict or type(value) is list]
        if not level:
            return True
    return False
