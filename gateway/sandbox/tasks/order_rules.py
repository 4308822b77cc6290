"""The rules of task orders: what PiAPI accepts, what it draws and what that costs, after its documentation of Flux.

A wrong order is refused under HTTP 200 with an inner code of 400. The texts of PiAPI's refusals are not documented.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.sandbox.images.png import MAX_SIDE
from gateway.sandbox.tasks.model_rules import MODELS, model_count, model_points, model_problem, model_rule, model_size

SCHNELL, DEV, ADVANCED = "Qubico/flux1-schnell", "Qubico/flux1-dev", "Qubico/flux1-dev-advanced"
OTHER_MODELS = ("kling", "luma", "hailuo", "midjourney")
"""Some of PiAPI's models that are not Flux: any input is accepted, one image is drawn, no price is known."""

_POINTS = {SCHNELL: 20_000, DEV: 150_000, ADVANCED: 200_000}  # an image; 10,000,000 points are one dollar
_SIDE = 1024
_MOST_PIXELS = 1_048_576
_MOST_IMAGES = 4
_MOST_STEPS = 40  # of kontext
_COMMON = frozenset({"prompt", "negative_prompt", "denoise", "guidance_scale", "steps", "seed"})
_ADVANCED = frozenset({"lora_settings", "control_net_settings"})
_SIDES = frozenset({"width", "height"})


@dataclass(frozen=True, slots=True)
class _Rule:
    """The rule of one task type.

    ``keys``: of the input, beside the common ones. ``loras``, ``controls``: the fewest and most of them.
    """

    models: tuple[str, ...] = (ADVANCED,)
    keys: frozenset[str] = frozenset()
    needs_image: bool = False
    loras: tuple[int, int] = (0, 0)
    controls: tuple[int, int] = (0, 0)


_IMAGE = frozenset({"image"})
_RULES: Mapping[str, _Rule] = {
    "txt2img": _Rule((SCHNELL, DEV, ADVANCED), _SIDES | {"batch_size"}),
    "img2img": _Rule((SCHNELL, DEV, ADVANCED), _IMAGE | {"batch_size"}, needs_image=True),
    "txt2img-lora": _Rule(keys=_ADVANCED, loras=(1, 1)),
    "img2img-lora": _Rule(keys=_ADVANCED | _IMAGE, needs_image=True, loras=(1, 1)),
    "controlnet-lora": _Rule(keys=_ADVANCED | _IMAGE, loras=(0, 1), controls=(1, 1)),
    "fill-inpaint": _Rule(keys=_IMAGE, needs_image=True),
    "fill-outpaint": _Rule(keys=_IMAGE | {"custom_settings"}, needs_image=True),
    "redux-variation": _Rule(keys=_IMAGE, needs_image=True),
    "kontext": _Rule(keys=_IMAGE | _SIDES, needs_image=True),
}


def order_problem(body: Any) -> str | None:
    """What is wrong with an order, or None."""
    if not isinstance(body, dict) or body.get("model") not in (*_POINTS, *MODELS, *OTHER_MODELS):
        return "invalid model"
    wanted, task_type = body.get("input"), body.get("task_type")
    if not isinstance(wanted, dict) or not isinstance(task_type, str) or not task_type:
        return "Sandbox: task_type and input are needed"
    if not isinstance(body.get("config") or {}, dict):
        return "Sandbox: config is an object"
    if body["model"] in OTHER_MODELS:
        return None
    if body["model"] in MODELS:
        return model_problem(body, wanted)
    rule = _RULES.get(task_type)
    if rule is None or body["model"] not in rule.models:
        return f"Sandbox: {body['model']} has no task type {task_type[:80]!r}"
    return _wrong_input(wanted, rule) or _wrong_numbers(wanted, str(body["model"]), task_type)


def _wrong_input(wanted: Mapping[str, Any], rule: _Rule) -> str | None:
    unknown = sorted(wanted.keys() - _COMMON - rule.keys)
    if unknown:
        return f"Sandbox: unknown input {unknown[0][:80]!r}"
    if not isinstance(wanted.get("prompt"), str) or not wanted["prompt"].strip():
        return "Sandbox: a prompt is needed"
    if rule.needs_image and not wanted.get("image"):
        return "Sandbox: an image is needed"
    if wanted.get("image") and not may_be_image(wanted["image"]):
        return "failed to get valid image"
    for name, kind, bounds in (
        ("lora_settings", "lora_type", rule.loras),
        ("control_net_settings", "control_type", rule.controls),
    ):
        settings = wanted.get(name) or []
        if not isinstance(settings, list) or not bounds[0] <= len(settings) <= bounds[1]:
            return f"Sandbox: {name} takes from {bounds[0]} to {bounds[1]} entries here"
        if not all(isinstance(entry, dict) and isinstance(entry.get(kind), str) for entry in settings):
            return f"Sandbox: each of {name} needs a {kind}"
    return None


def _wrong_numbers(wanted: Mapping[str, Any], model: str, task_type: str) -> str | None:
    for name, least, most in (("denoise", 0.0, 1.0), ("guidance_scale", 1.5, 5.0)):
        value = wanted.get(name)
        if value is not None and (type(value) not in (int, float) or not least <= value <= most):
            return f"Sandbox: {name} is from {least} to {most}"
    batch = wanted.get("batch_size", 1)
    if type(batch) is not int or not 1 <= batch <= (_MOST_IMAGES if model == SCHNELL else 1):
        return f"Sandbox: batch_size is from 1 to {_MOST_IMAGES}, for schnell only"
    for name in _SIDES & wanted.keys():
        if type(wanted[name]) is not int or not 1 <= wanted[name] <= MAX_SIDE:
            return f"Sandbox: {name} is from 1 to {MAX_SIDE}"
    if task_type == "txt2img" and wanted.get("width", _SIDE) * wanted.get("height", _SIDE) > _MOST_PIXELS:
        return f"Sandbox: width*height cannot exceed {_MOST_PIXELS}"
    if not all(type(wanted.get(name, 1)) is int for name in ("steps", "seed")):
        return "Sandbox: steps and seed are whole numbers"
    if task_type == "kontext" and wanted.get("steps", 1) > _MOST_STEPS:
        return f"Sandbox: steps is at most {_MOST_STEPS}"
    return _wrong_margins(wanted) if task_type == "fill-outpaint" else None


def _wrong_margins(wanted: Mapping[str, Any]) -> str | None:
    settings = wanted.get("custom_settings")
    first = settings[0] if isinstance(settings, list) and len(settings) == 1 else None
    if not isinstance(first, dict) or first.get("setting_type") != "outpaint":
        return "Sandbox: custom_settings takes one entry of the setting_type outpaint"
    for side in ("left", "right", "top", "bottom"):
        margin = first.get(f"outpaint_{side}", 0)
        if type(margin) is not int or not 0 <= margin <= MAX_SIDE:
            return f"Sandbox: outpaint_{side} is from 0 to {MAX_SIDE}"
    width, height = source_size(wanted["image"])
    grown = _painted_size(wanted)
    if grown[0] * grown[1] - width * height >= _MOST_PIXELS:
        return "Sandbox: the total delta pixel size should be less than 1024*1024"
    return None


def may_be_image(value: object) -> bool:
    """Whether a value may be an image: a link, or base64 with or without the head of a data URL."""
    if not isinstance(value, str) or value.startswith(("http://", "https://")):
        return isinstance(value, str)
    try:
        return bool(base64.b64decode(_payload(value), validate=True))
    except (binascii.Error, ValueError):
        return False


def _payload(value: str) -> str:
    return value.partition(",")[2] if value.startswith("data:") else value


def source_size(image: str | None) -> tuple[int, int]:
    """Width and height of a PNG sent as base64; no image, or what is behind a link, counts as 1024x1024."""
    if not image or image.startswith(("http://", "https://")):
        return _SIDE, _SIDE
    data = base64.b64decode(_payload(image)[:32])
    if len(data) < 24 or data[12:16] != b"IHDR":
        return _SIDE, _SIDE
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _painted_size(wanted: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height of the image with the margins painted around it."""
    (margins,) = wanted["custom_settings"]
    width, height = source_size(wanted["image"])
    left, right, top, bottom = (margins.get(f"outpaint_{side}", 0) for side in ("left", "right", "top", "bottom"))
    return width + left + right, height + top + bottom


def image_size(body: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height of the images a good order brings: those asked for, or its image's, else 1024x1024."""
    wanted = body["input"]
    if body["model"] in OTHER_MODELS:
        return _SIDE, _SIDE
    if body["model"] in MODELS:
        return model_size(wanted)
    if body["task_type"] in ("txt2img", "kontext"):
        return wanted.get("width", _SIDE), wanted.get("height", _SIDE)
    outpaint = body["task_type"] == "fill-outpaint"
    width, height = _painted_size(wanted) if outpaint else source_size(wanted.get("image"))
    return max(1, min(width, MAX_SIDE)), max(1, min(height, MAX_SIDE))


def image_count(body: Mapping[str, Any]) -> int:
    rule = model_rule(body)
    if rule is not None:
        return model_count(rule, body["input"])
    return 1 if body["model"] in OTHER_MODELS else int(body["input"].get("batch_size", 1))


def order_points(body: Mapping[str, Any]) -> int | None:
    """What a good order costs in points, None for a model without a known price."""
    rule = model_rule(body)
    if rule is not None:
        return model_points(rule, body["input"])
    price = _POINTS.get(body["model"])
    return None if price is None else price * image_count(body)
