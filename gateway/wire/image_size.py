"""The size of an image as clients write it → one spelling of each meaning.

``1536x1024`` (pixels, also written with ``X``, ``*`` or ``×``), ``16:9`` (a shape), ``2K`` (a resolution: so many times
1024 pixels squared, in any shape), ``auto``.
"""

from __future__ import annotations

import re

MAX_SIDE = 16_384
"""Pixels of one side. What a model really makes is the model's choice."""

SIZE_RULE = (
    f"it must be 'auto', WIDTHxHEIGHT with sides from 1 to {MAX_SIDE} such as 1024x1024, a shape such as 16:9, or a "
    "resolution such as 2K"
)

_PIXELS = re.compile(r"([1-9][0-9]{0,4})\s*[xX*×✕]\s*([1-9][0-9]{0,4})(?:\s*px)?", re.ASCII)
_SHAPE = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,3})?)\s*[:：∶/]\s*([0-9]{1,4}(?:\.[0-9]{1,3})?)", re.ASCII)
_RESOLUTION = re.compile(r"([1-8])\s*[kK]", re.ASCII)


def read_size(text: str) -> str | None:
    """The size in its one spelling; None for blank text, which says nothing.

    Raises ValueError for any other text.
    """
    text = text.strip()
    if not text:
        return None
    if text.lower() == "auto":
        return "auto"
    if (pixels := _PIXELS.fullmatch(text)) is not None:
        if int(pixels[1]) > MAX_SIDE or int(pixels[2]) > MAX_SIDE:
            raise ValueError(SIZE_RULE)
        return f"{pixels[1]}x{pixels[2]}"
    if (shape := _SHAPE.fullmatch(text)) is not None and float(shape[1]) and float(shape[2]):
        return f"{shape[1]}:{shape[2]}"
    if (resolution := _RESOLUTION.fullmatch(text)) is not None:
        return f"{resolution[1]}K"
    raise ValueError(SIZE_RULE)
