"""The size of a Flux image: the client's wish → the width and height of the task.

Source: PiAPI's documentation. Only txt2img and kontext take a size; width × height of txt2img is at most 1,048,576.
OpenAI's larger standard sizes are shrunk in proportion, so that clients with a fixed list of sizes can be served.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import gcd, isqrt, lcm

from gateway.core.errors import ClientError
from gateway.core.images.flux_catalogue import FluxFacts, InputRule
from gateway.core.images.flux_fields import bad_value, read_number
from gateway.core.images.flux_task_type import TEXT_TO_IMAGE
from gateway.core.images.types import STANDARD_SIZES

_SIDE = 1024
"""Pixels: the side that ``auto`` stands for, in a task whose sides have no default of their own."""

_GRID = 8
"""Pixels: both sides of a shrunk size are multiples of this."""

_SIZE = re.compile(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})", re.ASCII)


def task_size(
    size: str | None, fields: Mapping[str, object], task_type: str, facts: FluxFacts
) -> tuple[int | None, int | None]:
    """Width and height to ask for, in pixels; None leaves a side to PiAPI.

    ``size``: OpenAI's field.
    ``fields``: Flux's own fields; their ``width`` and ``height`` override ``size``.
    Raises ClientError 400 for a size the task does not take, for one too large, and where the fields disagree.
    """
    rules = facts.task_types[task_type].inputs
    wanted = None if size is None or size == "auto" else _parse(size)
    if "width" not in rules:
        if wanted is not None:
            raise bad_value("size", f"'{task_type}' takes no size; leave it out or say 'auto'")
        return None, None
    width, height = (_side(name, fields, rules) for name in ("width", "height"))
    if size == "auto" and width is None and height is None:
        return _SIDE, _SIDE
    if wanted is not None:
        if width not in (None, wanted[0]) or height not in (None, wanted[1]):
            raise bad_value("size", "width and height, which are given too, say something else")
        if width is None and height is None:
            return _within(wanted, facts.max_pixels, strict=task_type == TEXT_TO_IMAGE)
        width, height = wanted
    if task_type == TEXT_TO_IMAGE:
        if (width or _SIDE) * (height or _SIDE) > facts.max_pixels:
            raise _too_large(
                "width" if width is not None else "height", width or _SIDE, height or _SIDE, facts.max_pixels
            )
        return width or _SIDE, height or _SIDE
    return width or _default("width", rules), height or _default("height", rules)


def largest_same_shape(width: int, height: int, max_pixels: int) -> tuple[int, int]:
    """The largest size of exactly this shape, both sides multiples of 8, with at most ``max_pixels`` pixels."""
    shape = gcd(width, height)
    across, down = width // shape, height // shape
    step = lcm(_GRID // gcd(across, _GRID), _GRID // gcd(down, _GRID))
    times = isqrt(max_pixels // (across * down)) // step * step
    return across * times, down * times


def _within(wanted: tuple[int, int], max_pixels: int, *, strict: bool) -> tuple[int, int]:
    """``wanted``, shrunk or refused if Flux cannot make it.

    ``strict``: the task has an upper bound; Kontext's page names none.
    """
    width, height = wanted
    if width * height <= max_pixels:
        return wanted
    if f"{width}x{height}" in STANDARD_SIZES:
        return largest_same_shape(width, height, max_pixels)
    if not strict:
        return wanted
    raise _too_large("size", width, height, max_pixels)


def _parse(size: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(size)
    if match is None:
        raise bad_value("size", "it must be 'auto' or WIDTHxHEIGHT in pixels, such as 1024x1024")
    return int(match[1]), int(match[2])


def _side(name: str, fields: Mapping[str, object], rules: Mapping[str, InputRule]) -> int | None:
    return int(read_number(fields[name], rules[name], name)) if name in fields else None


def _default(name: str, rules: Mapping[str, InputRule]) -> int | None:
    default = rules[name].default
    return None if default is None else int(default)


def _too_large(param: str, width: int, height: int, max_pixels: int) -> ClientError:
    return bad_value(param, f"{width} x {height} is {width * height} pixels, and Flux makes at most {max_pixels}")
