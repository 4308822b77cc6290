"""The text fields of a form → the values they would be in a JSON body.

The OpenAI SDKs flatten nested values into names with brackets: ``outpaint[left]``, ``lora_settings[][lora_type]``.
openai-python writes column by column (all values of one name together, ``_serialize_multipartform``), openai-node row
by row (``addFormValue``). Neither says where one item of an array ends, so every ambiguous form is refused; the field
can be sent as JSON text instead.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from gateway.core.errors import ClientError, invalid_request, shorten
from gateway.wire.client_json import loads
from gateway.wire.form_data import invalid_form

MAX_BRACKETS = 8
"""Levels of nesting below a field."""

EXTRA_BODY = "extra_body"
"""The field whose members count as fields of their own, like the Python SDK's argument of this name in JSON."""

_INTEGERS = frozenset(
    {
        *("n", "output_compression", "partial_images", "frame_count", "frame_duration_ms"),
        *("width", "height", "steps", "seed", "batch_size"),
        *("left", "right", "top", "bottom"),
        *("outpaint_left", "outpaint_right", "outpaint_top", "outpaint_bottom"),
    }
)
_NUMBERS = frozenset({"denoise", "guidance_scale", "lora_strength", "control_strength"})
_BOOLEANS = frozenset({"stream", "return_preprocessed_image"})
_TYPED = _INTEGERS | _NUMBERS | _BOOLEANS
_STRUCTURES = frozenset(
    {
        *("outpaint", "lora_settings", "control_net_settings", "custom_settings", "config", EXTRA_BODY),
        *("image", "images", "mask", "svg"),
    }
)
"""Fields by the last name in their brackets. Any other field is text, even if it looks like a number: a prompt may be
``2``."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,4})?")
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_INDEX = re.compile(r"[0-9]{1,3}")

_Path = tuple[str, ...]
_Entry = tuple[_Path, Any]


def unbracket(fields: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The fields of a form as an object. Text of known numeric and boolean fields is converted, JSON text is parsed.

    Raises ClientError 400: ``duplicate_key`` for a field that the form has twice, ``invalid_type`` or ``invalid_value``
    for text that does not fit its field, ``invalid_json``, and ``invalid_form`` for ambiguous brackets. ``param`` names
    the field.
    """
    entries = [_entry(name, text) for name, text in fields]
    document = _object(entries, "")
    extra = document.pop(EXTRA_BODY, None)
    if extra is None:
        return document
    if type(extra) is not dict:
        raise _wrong_type(EXTRA_BODY, "an object")
    for name in extra:
        if name in document:
            raise _duplicate(name)
    return document | extra


def _entry(name: str, text: str) -> _Entry:
    match = _NAME.fullmatch(name)
    path: _Path = (name,)  # also of a name whose brackets do not match: no field has such a name
    if match is not None and match[2]:
        path = (match[1], *match[2][1:-1].split("]["))
    if len(path) > MAX_BRACKETS + 1:
        raise invalid_form(f"its field '{shorten(name)}' has more than {MAX_BRACKETS} brackets", shorten(name))
    if len(path) == 1 and not text.strip() and name in _TYPED:
        return path, None  # how a page's form says that a field was left empty
    named = next((key for key in reversed(path) if key and not _INDEX.fullmatch(key)), "")
    return path, _value(named, text, shorten(name))


def _value(field: str, text: str, param: str) -> Any:
    if field in _STRUCTURES and text.lstrip()[:1] in ("{", "["):
        return _json(text, param)
    if field in _BOOLEANS:
        return _boolean(text, param)
    if field in _INTEGERS:
        return _integer(text, param)
    return _number(text, param) if field in _NUMBERS else text


def _json(text: str, param: str) -> Any:
    """JSON text, read as a JSON body is."""
    try:
        return loads(text.encode())
    except ClientError as error:  # its message is about a whole body, and its positions are not the field's
        code = error.code
    raise invalid_request(f"Invalid value for '{param}': it cannot be read as JSON.", param=param, code=code)


def _boolean(text: str, param: str) -> bool | None:
    lowered = text.lower()
    if lowered not in ("true", "false", "null"):
        raise _wrong_type(param, "a boolean")
    return None if lowered == "null" else lowered == "true"


def _integer(text: str, param: str) -> int | None:
    """An integer; ``null`` is how openai-node writes null in a form."""
    if text == "null":
        return None
    if _INTEGER.fullmatch(text) is None:
        raise _wrong_type(param, "an integer")
    value = int(text)
    if not -(1 << 63) <= value < 1 << 63:
        raise invalid_request(
            f"Invalid value for '{param}': it must fit in 64 bits.", param=param, code="invalid_value"
        )
    return value


def _number(text: str, param: str) -> float | int | None:
    if text == "null" or _INTEGER.fullmatch(text):
        return _integer(text, param)
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise _wrong_type(param, "a finite number")
    return value


def _assemble(entries: list[_Entry], name: str) -> Any:
    """The value under ``name``; the paths are the brackets after it."""
    if any(not path for path, _ in entries):
        if len(entries) > 1:
            raise _duplicate(name)
        return entries[0][1]
    keys = {path[0] for path, _ in entries}
    if "" in keys:
        if len(keys) > 1:
            raise invalid_form(f"its field '{shorten(name)}' has both empty and filled brackets", shorten(name))
        return _array([(path[1:], value) for path, value in entries], f"{name}[]")
    if all(_INDEX.fullmatch(key) for key in keys):
        return _indexed(entries, name)
    return _object(entries, name)


def _object(entries: list[_Entry], name: str) -> dict[str, Any]:
    members: dict[str, list[_Entry]] = {}
    for path, value in entries:
        members.setdefault(path[0], []).append((path[1:], value))
    return {key: _assemble(below, f"{name}[{key}]" if name else key) for key, below in members.items()}


def _indexed(entries: list[_Entry], name: str) -> list[Any]:
    items = _object(entries, name)
    if sorted(items, key=int) != [str(position) for position in range(len(items))]:
        raise invalid_form(f"the indices of its field '{shorten(name)}' must count from 0 without a gap", shorten(name))
    return [items[str(position)] for position in range(len(items))]


def _array(entries: list[_Entry], name: str) -> list[Any]:
    if not any(path for path, _ in entries):
        return [value for _, value in entries]
    if any(not path or "" in path for path, _ in entries):
        raise _ambiguous(name)
    return [_assemble(item, name) for item in _items(entries, name)]


def _items(entries: list[_Entry], name: str) -> list[list[_Entry]]:
    """The members of an array's objects, object by object: the third value of a name belongs to the third object.

    That holds row by row and column by column, as long as every object has the same members.
    """
    times: Counter[_Path] = Counter()
    items: list[list[_Entry]] = []
    for entry in entries:
        place = times[entry[0]]
        times[entry[0]] += 1
        if place == len(items):
            items.append([])
        items[place].append(entry)
    if len(set(times.values())) > 1:
        raise _ambiguous(name)
    return items


def _ambiguous(name: str) -> ClientError:
    shown = shorten(name)
    return invalid_form(f"where an item of '{shown}' ends cannot be told; send the field as JSON text", shown)


def _duplicate(name: str) -> ClientError:
    shown = shorten(name)
    return invalid_request(f"The request's form has the field '{shown}' twice.", param=shown, code="duplicate_key")


def _wrong_type(param: str, expected: str) -> ClientError:
    return invalid_request(
        f"Invalid type for '{param}': expected {expected}, but got other text.", param=param, code="invalid_type"
    )
