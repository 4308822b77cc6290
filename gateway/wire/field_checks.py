"""Checks of the fields a client sends, and the errors they raise.

A check takes a value and the name of its field; it returns nothing and raises ClientError 400 with ``param`` naming the
field and ``code`` one of ``missing_required_parameter``, ``invalid_type``, ``invalid_value``, ``unknown_parameter``.
Each route has a table of its fields' checks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gateway.core.errors import ClientError, invalid_request, shorten

MAX_MODEL_NAME = 256
"""Characters. Names are kept, logged and shown, so they are limited like names in the configuration."""

_JSON_NAMES: dict[type, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
}

Check = Callable[[Any, str], None]


def missing(param: str) -> ClientError:
    """400 ``missing_required_parameter``."""
    return invalid_request(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def wrong_type(param: str, expected: str, value: Any) -> ClientError:
    """400 ``invalid_type``.

    ``expected``: the expected type with its article.
    """
    return invalid_request(
        f"Invalid type for '{param}': expected {expected}, but got {_JSON_NAMES[type(value)]} instead.",
        param=param,
        code="invalid_type",
    )


def wrong_value(param: str, rule: str) -> ClientError:
    """400 ``invalid_value``.

    ``rule``: a clause that says what the value must be, or what is wrong with it.
    """
    return invalid_request(f"Invalid value for '{param}': {rule}.", param=param, code="invalid_value")


def unknown(name: str, passed_on: str) -> ClientError:
    """400 ``unknown_parameter``.

    ``passed_on``: whose parameters are known.
    """
    shown = shorten(name)
    return invalid_request(
        f"Unknown parameter: '{shown}'. This gateway passes on the parameters of {passed_on} only.",
        param=shown,
        code="unknown_parameter",
    )


def a_boolean(value: Any, param: str) -> None:
    if type(value) is not bool:
        raise wrong_type(param, "a boolean", value)


def a_string(value: Any, param: str) -> None:
    if type(value) is not str:
        raise wrong_type(param, "a string", value)


def a_model_name(value: Any, param: str) -> None:
    if type(value) is not str:
        raise wrong_type(param, "a string", value)
    if not value:
        raise wrong_value(param, "it must not be empty")
    if len(value) > MAX_MODEL_NAME:
        raise wrong_value(param, f"it must have at most {MAX_MODEL_NAME} characters")
    if " " in value or not value.isprintable():  # every blank but the space is unprintable
        raise wrong_value(param, "it must not hold blanks or characters that cannot be printed")


def an_object(value: Any, param: str) -> None:
    if type(value) is not dict:
        raise wrong_type(param, "an object", value)


def an_array(value: Any, param: str) -> None:
    if type(value) is not list:
        raise wrong_type(param, "an array", value)


def one_of(*values: str) -> Check:
    """A check for one of a few strings."""

    def check(value: Any, param: str) -> None:
        a_string(value, param)
        if value not in values:
            raise wrong_value(param, f"it must be one of {', '.join(values)}")

    return check


def an_integer(low: int, high: int | None = None) -> Check:
    """A check for an integer from ``low`` to ``high``, both included.

    ``high``: None for no upper bound.
    """

    def check(value: Any, param: str) -> None:
        if type(value) is not int:
            raise wrong_type(param, "an integer", value)
        if value < low or (high is not None and value > high):
            raise wrong_value(param, f"it must be at least {low}" + ("" if high is None else f" and at most {high}"))

    return check


def a_number(low: float, high: float) -> Check:
    """A check for a finite number from ``low`` to ``high``, both included."""

    def check(value: Any, param: str) -> None:
        if type(value) is not float and type(value) is not int:
            raise wrong_type(param, "a number", value)
        if not (math.isfinite(value) and low <= value <= high):
            raise wrong_value(param, f"it must be a number from {low:g} to {high:g}")

    return check


def each(check: Check) -> Check:
    """A check for an array whose every item passes ``check``."""

    def check_all(value: Any, param: str) -> None:
        an_array(value, param)
        for position, item in enumerate(value):
            check(item, f"{param}[{position}]")

    return check_all


def a_string_or(other: Check, expected: str) -> Check:
    """A check for a string, or a value that ``other`` accepts.

    ``expected``: a description of both.
    """

    def check(value: Any, param: str) -> None:
        if type(value) is str:
            return
        if type(value) is not list and type(value) is not dict:
            raise wrong_type(param, expected, value)
        other(value, param)

    return check


def an_object_with(**required: Check) -> Check:
    """A check for an object that has these fields."""

    def check(value: Any, param: str) -> None:
        an_object(value, param)
        for name, check_field in required.items():
            if value.get(name) is None:
                raise missing(f"{param}.{name}")
            check_field(value[name], f"{param}.{name}")

    return check
