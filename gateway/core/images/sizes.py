"""What a size says, and the sizes that a shape stands for.

A size is ``WIDTHxHEIGHT`` in pixels, a shape (``16:9``), a resolution (``2K``: 2048 × 2048 pixels, in any shape)
or ``auto``; ``wire/image_size.py`` reads what clients write into these spellings.
"""

from __future__ import annotations

from decimal import Decimal
from math import gcd, inf, isqrt, lcm, sqrt

K = 1024
"""Pixels: the side of a square of ``1K``."""

_ALIKE = 50
"""Two shapes count as one if their ratios differ by at most one in so many parts: sides are rounded to a grid."""

_GOOD_PART = 0.75
"""The least part of the pixels there may be that a size takes for the sake of its shape."""


def pixels_of(size: str | None) -> tuple[int, int] | None:
    """Width and height of ``1536x1024``; None for any other size."""
    width, cross, height = (size or "").partition("x")
    if not cross or not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        return None
    return (int(width), int(height)) if int(width) and int(height) else None


def shape_of(size: str | None) -> tuple[int, int] | None:
    """The sides of ``16:9``, as the smallest whole numbers; None for any other size."""
    across, colon, down = (size or "").partition(":")
    if not colon:
        return None
    width, height = int(Decimal(across) * 1000), int(Decimal(down) * 1000)
    common = gcd(width, height)
    return width // common, height // common


def resolution_of(size: str | None) -> int | None:
    """The side, in pixels, of a square of ``2K``; None for any other size."""
    return int(size[:-1]) * K if size is not None and size.endswith("K") else None


def alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes have one shape, as far as rounding lets them."""
    first, second = one[0] * other[1], other[0] * one[1]
    return abs(first - second) * _ALIKE <= max(first, second)


def largest_same_shape(width: int, height: int, max_pixels: int, grid: int = 8) -> tuple[int, int]:
    """The largest size of exactly this shape, both sides multiples of ``grid``, with at most ``max_pixels`` pixels;
    zeros if there is none.
    """
    shape = gcd(width, height)
    across, down = width // shape, height // shape
    step = lcm(grid // gcd(across, grid), grid // gcd(down, grid))
    times = isqrt(max_pixels // (across * down)) // step * step
    return across * times, down * times


def fitting(shape: tuple[int, int], max_pixels: int, grid: int = 8) -> tuple[int, int]:
    """A large size of this shape, both sides multiples of ``grid``, with at most ``max_pixels`` pixels: as near to the
    shape as the grid allows without making it much smaller than there is room for.
    """
    wide = max(shape) / min(shape)
    steps = max(1, int(sqrt(max_pixels / wide)) // grid)
    best = (grid * max(1, max_pixels // grid // grid), grid)  # of a shape that no grid can hold
    nearest = (inf, 0)
    for down in range(grid, (steps + 1) * grid, grid):
        across = round(down * wide / grid) * grid
        if not _GOOD_PART * max_pixels <= across * down <= max_pixels:
            continue
        off = (abs(across / down - wide), -across * down)
        if off < nearest:
            nearest, best = off, (across, down)
    return best if shape[0] >= shape[1] else (best[1], best[0])
