"""What OpenAI's gpt-image models call the sizes and qualities that clients ask for in other words.

Sources: openai-python 3.57, types/image_generate_params.py. gpt-image-1, -1.5 and -1-mini have three sizes; later
models take any whose sides are multiples of 16, within bounds that the upstream checks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.core.images.sizes import fitting, resolution_of, shape_of

_SQUARE, _WIDE, _TALL = "1024x1024", "1536x1024", "1024x1536"
_LATER = re.compile(r"gpt-image-(?:[2-9]|[1-9][0-9])")
_GRID = 16
_MOST_PIXELS = 8_294_400
_NEAREST: Mapping[str, str] = {"256x256": _SQUARE, "512x512": _SQUARE, "1792x1024": _WIDE, "1024x1792": _TALL}
"""Sizes of older models → the gpt-image size of the same orientation."""

_TOO_SMALL = ("256x256", "512x512")
"""Those of them that the later models do not take either."""

_QUALITIES: Mapping[str, str] = {"standard": "medium", "hd": "high"}
"""DALL·E's words: ``hd`` was the better and dearer of its two."""


def is_gpt_image(model: str) -> bool:
    """Whether a model, as its upstream calls it, is one of OpenAI's gpt-image family."""
    return "gpt-image" in model


def gpt_image_quality(quality: str) -> str:
    """The quality as the family names it."""
    return _QUALITIES.get(quality, quality)


def gpt_image_size(size: str, model: str, source: tuple[int, int] | None) -> str:
    """The size as ``model`` takes it; what is no shape, resolution or older size stays as it is.

    ``source``: width and height of the image to edit; None without one, and if that is not known. A resolution alone
    keeps its shape.
    """
    shape, side = shape_of(size), resolution_of(size)
    if _LATER.search(model) is None:
        if shape is None and side is None:
            return _NEAREST.get(size, size)
        across, down = shape or source or (1, 1)
        return _WIDE if across * 4 > down * 5 else _TALL if down * 4 > across * 5 else _SQUARE
    if shape is None and side is None:
        return _NEAREST[size] if size in _TOO_SMALL else size
    most = min((side or 1024) ** 2, _MOST_PIXELS)
    width, height = fitting(shape or source or (1, 1), most, _GRID)
    return f"{width}x{height}"
