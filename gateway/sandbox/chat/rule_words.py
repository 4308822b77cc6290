"""The words in which OpenAI refuses a field, and the checks that several rules share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any


class Refusal(Exception):
    """What OpenAI answers with status 400. ``param``: the field, as OpenAI names its place."""

    def __init__(self, message: str, param: str | None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


def kind_of(value: object) -> str:
    """What OpenAI calls a JSON value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    kinds = ((int, "an integer"), (float, "a decimal"), (str, "a string"), (list, "an array"))
    return next((word for kind, word in kinds if isinstance(value, kind)), "an object")


def wrong_type(place: str, expected: str, value: object) -> Refusal:
    """``expected``: with its article, such as ``a string``."""
    got = kind_of(value)
    words = f"Invalid type for '{place}': expected {expected}, but got {got}{'' if got == 'null' else ' instead'}."
    return Refusal(words, place, "invalid_type")


def missing(place: str) -> Refusal:
    return Refusal(f"Missing required parameter: '{place}'.", place, "missing_required_parameter")


def wrong_value(place: str, value: object, known: Sequence[str]) -> Refusal:
    """A word that is none of those known."""
    return Refusal(f"Invalid value: '{value}'. Supported values are: {listed(known)}.", place, "invalid_value")


def listed(words: Sequence[str]) -> str:
    """``'a', 'b', and 'c'``."""
    quoted = [f"'{word}'" for word in words]
    if len(quoted) < 3:
        return " and ".join(quoted)
    return f"{', '.join(quoted[:-1])}, and {quoted[-1]}"


def need_object(holder: dict[str, Any], name: str, place: str) -> dict[str, Any]:
    """The object under a name that must be there. Raises Refusal."""
    if name not in holder:
        raise missing(f"{place}.{name}")
    value = holder[name]
    if not isinstance(value, dict):
        raise wrong_type(f"{place}.{name}", "an object", value)
    return value


def need_text(holder: dict[str, Any], name: str, place: str) -> str:
    """The text under a name that must be there. Raises Refusal."""
    if name not in holder:
        raise missing(f"{place}.{name}")
    value = holder[name]
    if not isinstance(value, str):
        raise wrong_type(f"{place}.{name}", "a string", value)
    return value


def need_name(holder: dict[str, Any], place: str, pattern: str = "^[a-zA-Z0-9_-]+$", most: int = 64) -> str:
    """The ``name`` of a function, a schema or a speaker. Raises Refusal."""
    name, place_of_name = need_text(holder, "name", place), f"{place}.name"
    if not re.search(pattern, name):
        words = f"Invalid '{place_of_name}': string does not match pattern. Expected a string that matches the pattern"
        raise Refusal(f"{words} '{pattern}'.", place_of_name, "invalid_value")
    if len(name) > most:
        words = f"string too long. Expected a string with maximum length {most}, but got a string with length"
        raise Refusal(
            f"Invalid '{place_of_name}': {words} {len(name)} instead.", place_of_name, "string_above_max_length"
        )
    return name


def need_items(value: object, place: str, expected: str = "an array of objects", most: int = 0) -> list[Any]:
    """A list that has something in it. ``most``: how much at most, 0 for any. Raises Refusal."""
    if not isinstance(value, list):
        raise wrong_type(place, expected, value)
    if not value:
        words = "empty array. Expected an array with minimum length 1, but got an empty array instead."
        raise Refusal(f"Invalid '{place}': {words}", place, "empty_array")
    if most and len(value) > most:
        words = f"array too long. Expected an array with maximum length {most}, but got an array with length"
        raise Refusal(f"Invalid '{place}': {words} {len(value)} instead.", place, "array_above_max_length")
    return value
