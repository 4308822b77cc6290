"""Instances of JSON schemas: for answers in a ``response_format`` and for the arguments of tools.

The keywords that OpenAI's structured outputs know are followed, and a few more; ``not``, ``if`` and what a schema loads
from elsewhere are not. Where a schema leaves the choice, strings repeat a text and other values are always the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from gateway.sandbox.chat.pattern_examples import matching

_DEEPEST = 16  # levels below which a value is no longer filled
_FULL = 8  # levels above which optional parts are still made
_FEW = 1000  # items or characters at most, also if a schema asks for more

_SMALLEST_STEP = 1e-9

_FORMATS: Mapping[str, str] = {
    "date-time": "2026-11-29T12:00:00Z",
    "date": "2026-11-29",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "sandbox@example.com",
    "hostname": "sandbox.example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000001",
    "uri": "https://sandbox.example.com/",
}
_ANY_OF = ("anyOf", "oneOf")
_OBJECT_WORDS = ("properties", "required", "additionalProperties", "minProperties")
_ARRAY_WORDS = ("items", "prefixItems", "minItems", "maxItems")
_STRING_WORDS = ("minLength", "maxLength", "pattern", "format")
_NUMBER_WORDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")


def example_of(schema: Any, text: str, *, required_only: bool = False) -> Any:
    """A value that fits a JSON schema; its strings repeat ``text``. No schema is any text.

    ``required_only``: without what may be left out.
    """
    return _Maker(schema, text, required_only).value(schema, 0, ())


@dataclass(frozen=True, slots=True)
class _Maker:
    """``root``: the whole schema, into which references point."""

    root: Any
    text: str
    required_only: bool = False

    def value(self, schema: Any, depth: int, met: tuple[str, ...]) -> Any:
        """``met``: the references that led here. A schema within itself is made once more, then as short as can be."""
        if not isinstance(schema, dict):
            return self.text
        if depth > _DEEPEST:
            return None
        if isinstance(reference := schema.get("$ref"), str):
            return self.value(self._referred(reference, schema), depth + 1, (*met, reference))
        if "const" in schema:
            return schema["const"]
        if isinstance(choices := schema.get("enum"), list) and choices:
            return choices[0]
        simpler = self._chosen(schema, short=self._is_short(depth, met), met=met)
        if simpler is not None:
            return self.value(simpler, depth + 1, met)
        return self._of_type(schema, _type(schema, short=self._is_short(depth, met)), depth, met)

    def _chosen(self, schema: Mapping[str, Any], *, short: bool, met: tuple[str, ...]) -> Any:
        """A schema without its ``allOf``, ``anyOf`` or ``oneOf``: all parts together, or one option. None without."""
        if isinstance(every := schema.get("allOf"), list) and every:
            merged: Any = _without(schema, "allOf")
            for part in every:
                merged = _merged(merged, self._resolved(part))
            return merged
        for word in _ANY_OF:
            if isinstance(options := schema.get(word), list) and options:
                option = min(options, key=lambda option: _weight(option, met)) if short else options[0]
                if "properties" in schema:  # each option only adds to them, as in {"required": ["a"]}
                    return _merged(_without(schema, word), self._resolved(option))
                return option if isinstance(option, dict) else {"type": "string"}
        return None

    def _of_type(self, schema: Mapping[str, Any], kind: str, depth: int, met: tuple[str, ...]) -> Any:
        if kind == "object":
            return self._object(schema, depth, met)
        if kind == "array":
            return self._array(schema, depth, met)
        if kind in ("integer", "number"):
            return _number(schema, whole=kind == "integer")
        if kind == "boolean":
            return True
        return None if kind == "null" else self._string(schema)

    def _is_short(self, depth: int, met: tuple[str, ...]) -> bool:
        return depth > _FULL or any(met.count(reference) > 1 for reference in met)

    def _object(self, schema: Mapping[str, Any], depth: int, met: tuple[str, ...]) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        wanted = schema.get("required")
        required = [name for name in wanted if isinstance(name, str)] if isinstance(wanted, list) else []
        short = self.required_only or self._is_short(depth, met)
        names = required if short else [*properties, *required]
        more = schema.get("additionalProperties")
        made = {name: self.value(properties.get(name, more), depth + 1, met) for name in dict.fromkeys(names)}
        least = _count(schema.get("minProperties"), 0)
        if not made and isinstance(more, dict) and not short:
            least = max(least, 1)
        while len(made) < least and more is not False:
            made[f"key_{len(made) + 1}"] = self.value(more, depth + 1, met)
        return made

    def _array(self, schema: Mapping[str, Any], depth: int, met: tuple[str, ...]) -> list[Any]:
        first = schema.get("prefixItems")
        made = [self.value(part, depth + 1, met) for part in first] if isinstance(first, list) else []
        least, most = _count(schema.get("minItems"), 0), _count(schema.get("maxItems"), _FEW)
        items = schema.get("items")
        usual = 0 if self._is_short(depth, met) or made or items is False else 1
        while len(made) < min(max(least, usual), max(least, most)):
            made.append(self.value(items, depth + 1, met))
        return _distinct(made, items) if schema.get("uniqueItems") is True else made

    def _string(self, schema: Mapping[str, Any]) -> str:
        if isinstance(format := schema.get("format"), str) and format in _FORMATS:
            return _FORMATS[format]
        least, most = _count(schema.get("minLength"), 0), _count(schema.get("maxLength"), len(self.text) + _FEW)
        text = matching(schema.get("pattern"), self.text)
        if len(text) < least:
            text += (text[-1:] or "x") * (least - len(text))
        return text[: max(most, least)]

    def _resolved(self, schema: Any) -> Any:
        for _ in range(_DEEPEST):
            if not isinstance(schema, dict) or not isinstance(reference := schema.get("$ref"), str):
                break
            schema = self._referred(reference, schema)
        return schema

    def _referred(self, reference: str, schema: Mapping[str, Any]) -> Any:
        """``#/$defs/name`` → that part of the root and what stands beside the reference; nothing if there is none."""
        found = self.root
        for part in reference.removeprefix("#").split("/")[1:]:
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            else:
                found = found.get(name) if isinstance(found, dict) else None
        beside = _without(schema, "$ref")
        return _merged(found, beside) if beside else found


def _without(schema: Mapping[str, Any], word: str) -> dict[str, Any]:
    return {name: part for name, part in schema.items() if name != word}


def _merged(first: Any, second: Any) -> Any:
    """What fits both, roughly: their words together, properties and required names of both."""
    if not isinstance(first, dict) or not isinstance(second, dict):
        return first if isinstance(first, dict) else second
    merged = {**first, **second}
    for word in ("properties", "$defs"):
        if isinstance(first.get(word), dict) and isinstance(second.get(word), dict):
            merged[word] = {**first[word], **second[word]}
    if isinstance(first.get("required"), list) and isinstance(second.get("required"), list):
        merged["required"] = [*first["required"], *second["required"]]
    return merged


def _type(schema: Mapping[str, Any], *, short: bool) -> str:
    """The type to make, guessed from a schema's other words where it names none."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kinds = [one for one in kind if isinstance(one, str)]
        others = [one for one in kinds if one != "null"]
        return "null" if "null" in kinds and (short or not others) else (others or ["string"])[0]
    if isinstance(kind, str):
        return kind
    words = (("object", _OBJECT_WORDS), ("array", _ARRAY_WORDS), ("string", _STRING_WORDS), ("number", _NUMBER_WORDS))
    return next((name for name, telling in words if any(word in schema for word in telling)), "string")


def _weight(option: Any, met: tuple[str, ...]) -> int:
    if not isinstance(option, dict):
        return 1
    if option.get("type") == "null" or "const" in option or "enum" in option:
        return 0
    if isinstance(reference := option.get("$ref"), str):
        return 4 + met.count(reference)
    return {"object": 3, "array": 2}.get(str(option.get("type")), 1)


def _count(value: Any, other: int) -> int:
    return min(value, _FEW) if type(value) is int and value >= 0 else other


def _number(schema: Mapping[str, Any], *, whole: bool) -> int | float:
    """42 or 4.2, moved into the schema's bounds."""
    low, low_open = _bound(schema, "minimum", "exclusiveMinimum", max)
    high, high_open = _bound(schema, "maximum", "exclusiveMaximum", min)
    step = schema.get("multipleOf")
    if isinstance(step, int | float) and not isinstance(step, bool) and step >= _SMALLEST_STEP:
        return _multiple(step, low, high, low_open=low_open, whole=whole)
    value: int | float = 42 if whole else 4.2
    if low is not None and (value < low or (low_open and value == low)):
        value = low if not low_open else low + 1
        value = math.ceil(value) if whole else value
    if high is not None and (value > high or (high_open and value == high)):
        value = high if not high_open else high - 1
        value = math.floor(value) if whole else value
        if low is not None and not whole and value <= low:
            value = low if not low_open and not high_open else (low + high) / 2
    return value


def _multiple(
    step: int | float, low: int | float | None, high: int | float | None, *, low_open: bool, whole: bool
) -> int | float:
    """The first multiple of ``step`` within the bounds."""
    found: int | float = 0 if low is None else math.ceil(low / step) * step
    if low_open and found == low:
        found += step
    if high is not None and found > high:
        found = math.floor(high / step) * step
    return int(found) if whole or float(found).is_integer() else found


def _bound(schema: Mapping[str, Any], word: str, open_word: str, tighter: Any) -> tuple[int | float | None, bool]:
    """A bound and whether it is excluded itself."""
    closed, opened = _finite(schema.get(word)), _finite(schema.get(open_word))
    if closed is None or opened is None:
        return (closed, False) if opened is None else (opened, True)
    chosen = tighter(closed, opened)
    return chosen, chosen == opened


def _finite(value: Any) -> int | float | None:
    return value if type(value) in (int, float) and math.isfinite(value) else None


def _distinct(items: list[Any], schema: Any) -> list[Any]:
    """The items made unlike one another, by the choices of an enum or by numbering them."""
    choices = schema.get("enum") if isinstance(schema, dict) else None
    if isinstance(choices, list) and len(choices) >= len(items):
        return choices[: len(items)]
    made: list[Any] = []
    for number, item in enumerate(items):
        if item not in made:
            made.append(item)
        elif isinstance(item, str):
            made.append(f"{item} {number + 1}")
        elif type(item) in (int, float):
            made.append(item + number)
        else:
            made.append(not item if isinstance(item, bool) else item)
    return made
