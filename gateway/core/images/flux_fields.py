"""Readers for Flux's own fields: a client's values, checked against the catalogue's rules.

A multipart form carries only text, so text that JSON would read as a number or a boolean is accepted as one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from gateway.core.errors import ClientError, invalid_request, shorten
from gateway.core.images.flux_catalogue import InputRule, Number

_NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_DIGITS = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_DATA_URL = re.compile(r"\Adata:[^,;]*(?:;[^,;]*)*;base64,", re.IGNORECASE)
_LINK = re.compile(r"https?://\S+", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]++={0,2}", re.ASCII)
_STANDARD = str.maketrans("-_", "+/")
_FLAGS = {"true": True, "false": False}
_INT64 = 1 << 63


def bad_value(param: str, rule: str) -> ClientError:
    """400 ``invalid_value``.

    ``rule``: a clause that says what a valid value is.
    """
    return invalid_request(f"Invalid value for '{param}': {rule}.", param=param, code="invalid_value")


def bad_type(param: str, wanted: str) -> ClientError:
    """400 ``invalid_type``.

    ``wanted``: the expected type with its article (``a number``).
    """
    return invalid_request(f"Invalid type for '{param}': expected {wanted}.", param=param, code="invalid_type")


def missing_field(param: str, reason: str) -> ClientError:
    """400 ``missing_required_parameter``.

    ``reason``: a whole sentence.
    """
    return invalid_request(
        f"Missing required parameter: '{param}'. {reason}", param=param, code="missing_required_parameter"
    )


def unknown_field(param: str, known: Collection[str]) -> ClientError:
    """400 ``unknown_parameter``, listing the names in ``known``."""
    name = shorten(param)
    return invalid_request(
        f"Unknown parameter: '{name}'. There are: {', '.join(known)}.", param=name, code="unknown_parameter"
    )


def given_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value: null and an empty list count as not given."""
    return {name: value for name, value in fields.items() if value is not None and value != []}


def read_number(value: object, rule: InputRule, param: str) -> Number:
    """A finite number within the rule's bounds; an int where the rule's kind is ``integer``. Raises ClientError 400."""
    whole = rule.kind == "integer"
    number = _number(value)
    if number is None:
        raise bad_type(param, "an integer" if whole else "a number")
    if whole and isinstance(number, float):
        if not number.is_integer():
            raise bad_type(param, "an integer")
        number = int(number)
    if isinstance(number, int) and not -_INT64 <= number < _INT64:
        raise bad_value(param, "it does not fit in 64 bits")
    within = (
        (rule.minimum is None or number >= rule.minimum)
        and (rule.maximum is None or number <= rule.maximum)
        and (rule.above is None or number > rule.above)
    )
    if not within:
        raise bad_value(param, _bounds(rule))
    return number


def read_text(value: object, param: str) -> str:
    """Any text. Raises ClientError 400."""
    if not isinstance(value, str):
        raise bad_type(param, "a string")
    return value


def read_words(value: object, param: str) -> str:
    """Text that is not blank. Raises ClientError 400."""
    text = read_text(value, param)
    if not text.strip():
        raise bad_value(param, "it must not be empty")
    return text


def read_image(value: object, param: str) -> str:
    """A link, or an image as plain base64 text (Kontext's page: "url or base64 string"); a data URL's prefix is
    removed, and the base64 written as RFC 4648, section 4, has it.

    Raises ClientError 400.
    """
    text = _DATA_URL.sub("", read_words(value, param).strip(), count=1)
    if _LINK.fullmatch(text):
        return text
    plain = "".join(text.split())
    if _BASE64.fullmatch(plain):
        letters = plain.rstrip("=").translate(_STANDARD)
        return letters + "=" * (-len(letters) % 4)
    raise bad_value(param, "it must be a link (http or https), a data URL or base64 text")


def read_flag(value: object, param: str) -> bool:
    """True or false. Raises ClientError 400."""
    flag = _FLAGS.get(value) if isinstance(value, str) else value
    if not isinstance(flag, bool):
        raise bad_type(param, "true or false")
    return flag


def read_object(value: object, members: Collection[str], param: str) -> dict[str, Any]:
    """The members of an object that have a value. Raises ClientError 400 for any other type and for unknown members."""
    if not isinstance(value, Mapping):
        raise bad_type(param, "an object")
    for name in value:
        if name not in members:
            raise unknown_field(f"{param}.{name}", members)
    return given_fields(value)


def read_list(value: object, most: int, param: str) -> list[Any]:
    """A list of at most ``most`` items. Raises ClientError 400."""
    if not isinstance(value, list):
        raise bad_type(param, "a list of objects")
    if len(value) > most:
        raise bad_value(param, f"at most {most} can be used at once")
    return value


def _number(value: object) -> Number | None:
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            return None
        value = int(value) if _DIGITS.fullmatch(value) else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None


def _bounds(rule: InputRule) -> str:
    words = []
    if rule.above is not None:
        words.append(f"above {rule.above}")
    if rule.minimum is not None:
        words.append(f"at least {rule.minimum}")
    if rule.maximum is not None:
        words.append(f"at most {rule.maximum}")
    return f"it must be {' and '.join(words)}"
