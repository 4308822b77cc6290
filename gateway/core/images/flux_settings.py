"""The settings of a Flux task that are lists of objects: LoRA, ControlNet, and the sides of an outpaint.

Source: PiAPI's documentation (Flux with LoRA and Controlnet; Available LoRA and Controlnet; Flux API with Redux
Variation, Fill, Inpaint and Outpaint; the schemas of Text to Image and Image to Image).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import orjson

from gateway.core.errors import ClientError, shorten
from gateway.core.images.flux_catalogue import FluxFacts, InputRule, TaskType
from gateway.core.images.flux_fields import (
    bad_value,
    missing_field,
    read_flag,
    read_image,
    read_list,
    read_number,
    read_object,
    read_words,
)

Settings = list[dict[str, Any]]

_STRENGTH = InputRule("number")
_ADDED = InputRule("integer", minimum=0)
_OUTPAINT = "outpaint"
_SIDES = ("left", "right", "top", "bottom")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)


def _strength(value: object, param: str) -> int | float:
    return read_number(value, _STRENGTH, param)


@dataclass(frozen=True, slots=True)
class _Adapter:
    """A kind of adapter (LoRA or ControlNet).

    ``label``: its name in error messages.
    ``field``: the client's field that holds the list of them.
    ``type``: the member of an item that names the adapter.
    ``others``: the item's other members, each with its reader.
    ``extra``: the configuration's list of further names.
    """

    label: str
    field: str
    type: str
    others: Mapping[str, Callable[[object, str], Any]]
    extra: str


_LORA = _Adapter(
    "LoRA",
    "lora_settings",
    "lora_type",
    {"lora_image": read_words, "lora_strength": _strength},
    "extra_loras",
)
_CONTROL = _Adapter(
    "ControlNet",
    "control_net_settings",
    "control_type",
    {"control_image": read_image, "control_strength": _strength, "return_preprocessed_image": read_flag},
    "extra_controls",
)


def adapter_settings(fields: Mapping[str, object], task_type: str, task: TaskType, facts: FluxFacts) -> dict[str, Any]:
    """The inputs ``lora_settings`` and ``control_net_settings``, checked, where they are given.

    Raises ClientError 400 naming the member that is wrong, or the list that is missing or too long.
    """
    inputs: dict[str, Any] = {}
    for adapter, (fewest, most), names in (
        (_CONTROL, task.controls, facts.controls),
        (_LORA, task.loras, facts.loras),
    ):
        if adapter.field in fields:
            items = read_list(fields[adapter.field], most, adapter.field)
            inputs[adapter.field] = [
                _setting(adapter, item, names, f"{adapter.field}[{index}]") for index, item in enumerate(items)
            ]
        elif fewest:
            raise missing_field(adapter.field, f"'{task_type}' needs {fewest} {adapter.label}.")
    return inputs


def outpaint_settings(fields: Mapping[str, object], width: int, height: int, max_added_pixels: int) -> Settings:
    """The input ``custom_settings``, from that field of the client's or from its ``outpaint: {left, right, top,
    bottom}``.

    ``width``, ``height``: pixels of the image; 0 where unknown (links), in which case the fewest pixels that could be
        added are checked.
    Raises ClientError 400 for both or neither given, a negative side, nothing to add, more than ``max_added_pixels``.
    """
    if _OUTPAINT in fields and "custom_settings" in fields:
        raise bad_value(_OUTPAINT, "custom_settings says the same; give one of the two")
    if _OUTPAINT in fields:
        param = _OUTPAINT
        sides = _read_sides(read_object(fields[_OUTPAINT], _SIDES, param), param, prefix="")
    elif "custom_settings" in fields:
        param = "custom_settings"
        sides = _custom_sides(fields[param], param)
    else:
        raise missing_field(_OUTPAINT, "It says how many pixels to add: {left, right, top, bottom}.")
    left, right, top, bottom = (sides[side] for side in _SIDES)
    if not any(sides.values()):
        raise bad_value(param, "at least one side must be above 0")
    across, down = max(width, 1), max(height, 1)
    added = (across + left + right) * (down + top + bottom) - across * down
    if added > max_added_pixels:
        raise bad_value(param, f"it would add {added} pixels, and Flux adds at most {max_added_pixels}")
    return [{"setting_type": _OUTPAINT, **{f"outpaint_{side}": sides[side] for side in _SIDES}}]


def _custom_sides(value: object, param: str) -> dict[str, int]:
    (item,) = read_list(value, 1, param)
    name = f"{param}[0]"
    setting = read_object(item, ("setting_type", *(f"outpaint_{side}" for side in _SIDES)), name)
    if setting.get("setting_type") != _OUTPAINT:
        raise bad_value(f"{name}.setting_type", f"it must be '{_OUTPAINT}'")
    return _read_sides(setting, name, prefix="outpaint_")


def _read_sides(members: Mapping[str, object], param: str, *, prefix: str) -> dict[str, int]:
    return {side: int(read_number(members.get(prefix + side, 0), _ADDED, f"{param}.{prefix}{side}")) for side in _SIDES}


def _setting(adapter: _Adapter, item: object, names: tuple[str, ...], param: str) -> dict[str, Any]:
    given = read_object(item, (adapter.type, *adapter.others), param)
    where = f"{param}.{adapter.type}"
    if adapter.type not in given:
        raise missing_field(where, f"It names the {adapter.label}.")
    name = read_words(given[adapter.type], where)
    if name not in names:
        raise _unknown_name(adapter, name, names, where)
    read = {
        member: reader(given[member], f"{param}.{member}")
        for member, reader in adapter.others.items()
        if member in given
    }
    return {adapter.type: name, **read}


def _unknown_name(adapter: _Adapter, name: str, names: tuple[str, ...], param: str) -> ClientError:
    """The error for an adapter name that is not known. PiAPI keeps adding names, so it says how the operator allows
    one.
    """
    near = get_close_matches(name[:100].lower(), names, n=3)
    shown = shorten(name)
    line = shown if _PLAIN_NAME.fullmatch(shown) else orjson.dumps(shown).decode()
    return bad_value(
        param,
        f"'{shown}' is not a {adapter.label} that is known here; "
        + (f"near it: {', '.join(near)}" if near else f"known: {', '.join(names)}")
        + f". If PiAPI has it, this line in the gateway's configuration lets it pass: "
        f"flux: {{{adapter.extra}: [{line}]}}",
    )
