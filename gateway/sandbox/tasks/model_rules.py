"""The rules of PiAPI's task models other than Flux: what their orders may have, what they draw, what that costs.

Sources: PiAPI's documentation and pages of 2026, as far as they say; prices are dollars a picture. A rule that is not
documented is not made up: an unknown field is refused, a value is checked where its range is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_SIDE = 1024
_MEGAPIXEL = 1_000_000
_POINTS_PER_USD = 10_000_000

Input = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelRule:
    """One task type of a model.

    ``keys``: what its input may have; ``needs``: what it must have. ``choices``: the values of a field. ``lists``:
    fields of pictures, and how many they take. ``price``: dollars a picture, None for one that is not known.
    ``count``: the field for the number of pictures.
    """

    keys: frozenset[str]
    needs: frozenset[str]
    choices: Mapping[str, tuple[Any, ...]]
    lists: Mapping[str, int]
    price: Callable[[Input], Decimal | None]
    count: tuple[str, int] | None = None


def _rule(
    keys: str,
    price: Callable[[Input], Decimal | None],
    *,
    needs: str = "prompt",
    choices: Mapping[str, tuple[Any, ...]] | None = None,
    lists: Mapping[str, int] | None = None,
    count: tuple[str, int] | None = None,
) -> ModelRule:
    return ModelRule(frozenset(keys.split()), frozenset(needs.split()), choices or {}, lists or {}, price, count)


def _flat(dollars: str) -> Callable[[Input], Decimal | None]:
    return lambda _: Decimal(dollars)


def _by(field: str, prices: Mapping[str, str], usual: str) -> Callable[[Input], Decimal | None]:
    return lambda wanted: Decimal(prices[str(wanted.get(field) or usual)])


def _unknown(_: Input) -> None:
    return None


def _z_image(wanted: Input) -> Decimal:
    megapixels = wanted.get("width", _SIDE) * wanted.get("height", _SIDE) / _MEGAPIXEL
    steps = ((0.5, "0.002"), (1.0, "0.004"), (1.5, "0.006"))
    return Decimal(next((price for most, price in steps if megapixels <= most), "0.008"))


def _enlarged(wanted: Input) -> Decimal:
    times = int(wanted.get("scale", 2))
    return Decimal("0.001") * math.ceil(_SIDE * _SIDE * times * times / _MEGAPIXEL)


_SCALES = {"resolution": ("1K", "2K", "4K")}
_BANANA = "prompt image_urls output_format aspect_ratio resolution enable_web_search"
_RULES: Mapping[tuple[str, str], ModelRule] = {
    ("gemini", "nano-banana-2"): _rule(
        _BANANA,
        _by("resolution", {"1K": "0.06", "2K": "0.08", "4K": "0.12"}, "1K"),
        choices=_SCALES,
        lists={"image_urls": 14},
    ),
    ("gemini", "nano-banana-pro"): _rule(
        f"{_BANANA} safety_level",
        _by("resolution", {"1K": "0.105", "2K": "0.105", "4K": "0.18"}, "1K"),
        choices=_SCALES,
        lists={"image_urls": 14},
    ),
    ("seedream", "seedream-5-lite"): _rule(
        "prompt image_urls size aspect_ratio output_format",
        _by("size", {"2K": "0.028", "3K": "0.042"}, "2K"),
        choices={"size": ("2K", "3K")},
        lists={"image_urls": 10},
    ),
    ("Qubico/qwen-image", "txt2img"): _rule("prompt width height steps flow_shift seed", _flat("0.015")),
    ("Qubico/qwen-image", "image-edit"): _rule("prompt image1 image2 image3", _flat("0.025"), needs="prompt image1"),
    ("Qubico/z-image", "txt2img"): _rule(
        "prompt negative_prompt flow_shift width height batch_size seed", _z_image, count=("batch_size", 4)
    ),
    ("minimax", "image-01"): _rule("prompt n size aspect_ratio", _flat("0.01"), count=("n", 9)),
    ("Qubico/image-toolkit", "background-remove"): _rule(
        "image rmbg_model", _unknown, needs="image", choices={"rmbg_model": ("RMBG-1.4", "RMBG-2.0", "BEN2")}
    ),
    ("Qubico/image-toolkit", "upscale"): _rule("image scale", _enlarged, needs="image", choices={"scale": (2, 4, 8)}),
    ("Qubico/image-toolkit", "face-swap"): _rule("target_image swap_image", _unknown, needs="target_image swap_image"),
}
MODELS = tuple(dict.fromkeys(model for model, _ in _RULES))


def model_rule(body: Mapping[str, Any]) -> ModelRule | None:
    """The rule of an order, or None."""
    return _RULES.get((str(body.get("model")), str(body.get("task_type"))))


def model_problem(body: Mapping[str, Any], wanted: Input) -> str | None:
    """What is wrong with an order of one of ``MODELS``, or None."""
    rule = model_rule(body)
    if rule is None:
        return f"Sandbox: {body['model']} has no task type {str(body.get('task_type'))[:80]!r}"
    if unknown := sorted(wanted.keys() - rule.keys):
        return f"Sandbox: unknown input {unknown[0][:80]!r}"
    for name in sorted(rule.needs):
        if not isinstance(wanted.get(name), str) or not wanted[name].strip():
            return f"Sandbox: {name} is needed"
    for name, values in rule.choices.items():
        if name in wanted and wanted[name] not in values:
            return f"Sandbox: {name} must be one of {values}"
    for name, most in rule.lists.items():
        listed = wanted.get(name, [])
        if not isinstance(listed, list) or len(listed) > most or not all(isinstance(one, str) for one in listed):
            return f"Sandbox: {name} takes at most {most} links"
    return _wrong_number(rule, wanted)


def _wrong_number(rule: ModelRule, wanted: Input) -> str | None:
    for name in ("width", "height"):
        if name in wanted and (type(wanted[name]) is not int or not 1 <= wanted[name] <= 4096):
            return f"Sandbox: {name} is a whole number from 1 to 4096"
    if rule.count is None or rule.count[0] not in wanted:
        return None
    name, most = rule.count
    fit = type(wanted[name]) is int and 1 <= wanted[name] <= most
    return None if fit else f"Sandbox: {name} is from 1 to {most}"


def model_count(rule: ModelRule, wanted: Input) -> int:
    """How many pictures a good order makes."""
    return int(wanted.get(rule.count[0], 1)) if rule.count is not None else 1


def model_points(rule: ModelRule, wanted: Input) -> int | None:
    """What a good order costs in points, None without a known price."""
    price = rule.price(wanted)
    return None if price is None else int(price * model_count(rule, wanted) * _POINTS_PER_USD)


def model_size(wanted: Input) -> tuple[int, int]:
    """Width and height of the pictures: those asked for, the shape and scale asked for, else 1024x1024."""
    if "width" in wanted and "height" in wanted:
        return wanted["width"], wanted["height"]
    scale = str(wanted.get("resolution") or wanted.get("size") or "1K")
    side = _SIDE * int(scale[0]) if scale[:1].isdigit() and scale[1:] == "K" else _SIDE
    across, colon, down = str(wanted.get("aspect_ratio") or "").partition(":")
    if not (colon and across.isdigit() and down.isdigit()):
        return side, side
    unit = side // max(int(across), int(down))
    return int(across) * unit, int(down) * unit
