"""The size of a Flux image: the client's wish → the width and height of the task.

Source: PiAPI's documentation. Only txt2img and kontext take a size; width × height of txt2img is at most 1,048,576.
OpenAI's larger standard sizes are shrunk in proportion, so that clients with a fixed list of sizes can be served.
Kontext edits a picture, so what it makes has the picture's shape unless the client asks for another.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core.errors import ClientError
from gateway.core.images.flux_catalogue import FluxFacts, InputRule
from gateway.core.images.flux_fields import bad_value, read_number
from gateway.core.images.flux_task_type import KONTEXT, TEXT_TO_IMAGE
from gateway.core.images.sizes import alike, fitting, largest_same_shape, pixels_of, resolution_of, shape_of
from gateway.core.images.types import STANDARD_SIZES

Sides = tuple[int, int]

_SIDE = 1024
"""Pixels: the side that ``auto`` stands for, in a task whose sides have no default of their own."""

_GRID = 16
"""Pixels: both sides of a picture that Kontext gives the shape of its source are multiples of this (Flux.1's patches of
2 × 2 latents, each 8 pixels wide)."""


def task_size(
    size: str | None, fields: Mapping[str, object], task_type: str, facts: FluxFacts, source: Sides | None = None
) -> tuple[int | None, int | None]:
    """Width and height to ask for, in pixels; None leaves a side to PiAPI.

    ``size``: OpenAI's field, in the spelling of ``wire/image_size.py``.
    ``fields``: Flux's own fields; their ``width`` and ``height`` override ``size``.
    ``source``: width and height of the image the task works on; None without one, and if they are not known (links).
    Raises ClientError 400 for a size the task does not take, for one too large, and where the fields disagree.
    """
    rules = facts.task_types[task_type].inputs
    if "width" not in rules:
        if not _is_its_own(size, source):
            own = f" but its image's own, {source[0]}x{source[1]}" if source is not None else ""
            raise bad_value("size", f"'{task_type}' takes no size{own}; leave it out or say 'auto'")
        return None, None
    width, height = (_side(name, fields, rules) for name in ("width", "height"))
    strict = task_type == TEXT_TO_IMAGE
    if size is not None and size != "auto":
        wanted = _wanted(size, facts.max_pixels, source, strict=strict)
        plain = pixels_of(size) or wanted
        if width not in (None, plain[0]) or height not in (None, plain[1]):
            raise bad_value("size", "width and height, which are given too, say something else")
        return wanted if width is None and height is None else _checked("width", plain, facts.max_pixels, strict=strict)
    if task_type == KONTEXT:
        return _edited(width, height, source, facts)
    return _checked(
        "width" if width is not None else "height", (width or _SIDE, height or _SIDE), facts.max_pixels, strict=strict
    )


def _is_its_own(size: str | None, source: Sides | None) -> bool:
    """Whether a size asks for nothing that a task without sizes does not do anyway."""
    if size is None or size == "auto":
        return True
    shape = shape_of(size)
    return source is not None and (pixels_of(size) == source or (shape is not None and alike(shape, source)))


def _wanted(size: str, max_pixels: int, source: Sides | None, *, strict: bool) -> Sides:
    """The sides that a size stands for, shrunk or refused if Flux cannot make them.

    ``strict``: the task has an upper bound; Kontext's page names none.
    """
    sides, shape, side = pixels_of(size), shape_of(size), resolution_of(size)
    if side is not None:
        return fitting(source or (1, 1), min(side * side, max_pixels), _GRID)
    if shape is not None:
        return fitting(shape, max_pixels)
    if sides is None:
        raise bad_value("size", "it must be 'auto' or WIDTHxHEIGHT in pixels, such as 1024x1024")
    if sides[0] * sides[1] > max_pixels and size in STANDARD_SIZES:
        return largest_same_shape(*sides, max_pixels)
    return _checked("size", sides, max_pixels, strict=strict)


def _edited(
    width: int | None, height: int | None, source: Sides | None, facts: FluxFacts
) -> tuple[int | None, int | None]:
    """The sides of an edited picture whose client asked for none, for one of them, or for both."""
    if source is None and width is None and height is None:
        return None, None
    if source is None:
        rules = facts.task_types[KONTEXT].inputs
        return width or _default("width", rules), height or _default("height", rules)
    if width is not None and height is not None:
        return width, height
    if width is not None:
        return width, _on_grid(width * source[1] / source[0])
    if height is not None:
        return _on_grid(height * source[0] / source[1]), height
    return fitting(source, facts.max_pixels, _GRID)


def _on_grid(side: float) -> int:
    return max(_GRID, round(side / _GRID) * _GRID)


def _checked(param: str, sides: Sides, max_pixels: int, *, strict: bool) -> Sides:
    if strict and sides[0] * sides[1] > max_pixels:
        raise _too_large(param, *sides, max_pixels)
    return sides


def _side(name: str, fields: Mapping[str, object], rules: Mapping[str, InputRule]) -> int | None:
    return int(read_number(fields[name], rules[name], name)) if name in fields else None


def _default(name: str, rules: Mapping[str, InputRule]) -> int | None:
    default = rules[name].default
    return None if default is None else int(default)


def _too_large(param: str, width: int, height: int, max_pixels: int) -> ClientError:
    return bad_value(param, f"{width} x {height} is {width * height} pixels, and Flux makes at most {max_pixels}")
