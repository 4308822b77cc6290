"""The size of a task's picture: what the client asked for → the fields that its task type has for it.

A task takes pixels (``width``, ``height``), or a shape (``16:9``) and a scale (``2K``), or nothing of all that. A size
that cannot be made is refused, never replaced by a different one; the nearest shape counts as the same within a
twentieth, and OpenAI's standard sizes are shrunk to fit, since many clients can say no others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gateway.core.images.flux_fields import bad_value
from gateway.core.images.sizes import K as _THOUSAND
from gateway.core.images.sizes import fitting, largest_same_shape, pixels_of, resolution_of, shape_of
from gateway.core.images.task_facts import FieldRule, TaskFacts
from gateway.core.images.types import STANDARD_SIZES, SourceImage

_ROOM = 1.8
"""How many times the pixels of its square a scale stands for: 1792x1024 is still 1K, 3840x2160 is 4K."""

_SAME_SHAPE = 0.05
"""How far apart two ratios of sides may be and still count as the same shape."""


def size_fields(
    size: str | None, given: Mapping[str, Any], facts: TaskFacts, source: SourceImage | None
) -> dict[str, Any]:
    """The fields for ``size``, none for what is left to PiAPI.

    ``given``: the task's own fields as the client gave them; they win over the size.
    ``source``: the first picture to work on.
    Raises ClientError 400 naming ``size``.
    """
    text = size or "auto"
    if text == "auto":
        asks_nothing = facts.width and not facts.works_on_pictures and facts.width not in given
        return {facts.width: facts.side, facts.height: facts.side} if facts.side and asks_nothing else {}
    pixels, side = pixels_of(text), resolution_of(text)
    shape = pixels or shape_of(text)
    if shape is None and side is None:
        raise bad_value("size", "it must be 'auto', WIDTHxHEIGHT in pixels, a shape such as 16:9, or a scale: 2K")
    times = side // _THOUSAND if side is not None else None
    wanted: dict[str, Any] | None = None
    if facts.width:
        width, height = _sides(text, shape, times, facts, bool(pixels))
        wanted = {facts.width: width, facts.height: height}
    elif facts.ratio or facts.resolution:
        wanted = dict(_shape_and_scale(shape, times, facts, whole=bool(pixels)))
    if wanted is not None:
        return {name: value for name, value in wanted.items() if name not in given}
    if shape is not None and pixels and source is not None and shape == (source.width, source.height):
        return {}
    raise bad_value("size", "this task takes no size; leave it out or say 'auto'")


def _sides(
    text: str, shape: tuple[int, int] | None, times: int | None, facts: TaskFacts, exact: bool
) -> tuple[int, int]:
    most = facts.max_pixels or _THOUSAND * _THOUSAND
    if shape is None:
        assert times is not None
        width = height = times * _THOUSAND
    elif exact:
        width, height = shape
        if facts.max_pixels and width * height > facts.max_pixels and f"{width}x{height}" in STANDARD_SIZES:
            width, height = largest_same_shape(width, height, facts.max_pixels)
    else:
        width, height = fitting(shape, min(most, _THOUSAND * _THOUSAND))
    if facts.max_pixels and width * height > facts.max_pixels:
        raise bad_value("size", f"{text} is more than the {facts.max_pixels} pixels that this task makes")
    for side, name in ((width, facts.width), (height, facts.height)):
        rule = facts.fields[name]
        if (rule.minimum is not None and side < rule.minimum) or (rule.maximum is not None and side > rule.maximum):
            raise bad_value("size", f"a side of {side} pixels is not from {rule.minimum} to {rule.maximum}")
    return width, height


def _shape_and_scale(
    shape: tuple[int, int] | None, times: int | None, facts: TaskFacts, *, whole: bool
) -> dict[str, str]:
    """``whole``: the shape is a size in pixels, which has a scale too."""
    found: dict[str, str] = {}
    if shape is not None:
        if not facts.ratio:
            raise bad_value("size", f"this task takes only {_named(facts.fields[facts.resolution])}")
        found[facts.ratio] = _nearest_ratio(*shape, facts.fields[facts.ratio])
    if facts.resolution and (times is not None or (whole and shape is not None)):
        pixels = times * times * _THOUSAND**2 if times is not None else shape[0] * shape[1] if shape else 0
        found[facts.resolution] = _smallest_scale(pixels, facts.fields[facts.resolution], exact=times)
    elif times is not None:
        raise bad_value("size", f"this task takes only {_named(facts.fields[facts.ratio])}")
    return found


def _nearest_ratio(width: int, height: int, rule: FieldRule) -> str:
    if not rule.choices:
        shared = math.gcd(width, height)
        return f"{width // shared}:{height // shared}"
    shapes = {choice: sides for choice in rule.choices if (sides := shape_of(choice)) is not None}
    wanted = math.log(width / height)
    apart = {choice: abs(wanted - math.log(sides[0] / sides[1])) for choice, sides in shapes.items()}
    best = min(apart, key=apart.__getitem__, default=None)
    if best is None or apart[best] > _SAME_SHAPE:
        raise bad_value("size", f"its shape must be one of {_named(rule)}")
    return best


def _smallest_scale(pixels: int, rule: FieldRule, *, exact: int | None) -> str:
    """The scale that was named, or the smallest that the pixels fit in."""
    scales = {choice: side // _THOUSAND for choice in rule.choices if (side := resolution_of(choice)) is not None}
    for choice, times in sorted(scales.items(), key=lambda pair: pair[1]):
        if exact == times or (exact is None and pixels <= _ROOM * (times * _THOUSAND) ** 2):
            return choice
    raise bad_value("size", f"its scale must be one of {_named(rule)}")


def _named(rule: FieldRule) -> str:
    return ", ".join(rule.choices) or "a shape such as 16:9"
