"""A strict reader for the JSON body of a client's request: what was checked is what will be sent on.

Two readers that read a body differently are a way around a check (one takes the first of two equal keys, the other the
last), so every ambiguous body is refused: duplicate keys, NaN, numbers beyond a double or 64 bits.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import orjson

from gateway.core.errors import ClientError, invalid_request, shorten

MAX_VALUES = 100_000
"""The most commas a body may have outside its strings. No chat request comes near; parsing millions of tiny values
would delay all other requests for seconds."""

# orjson writes at most 254 levels of nesting though it reads 1,024.
_ALWAYS_WRITABLE_BRACKETS = 250
_LONGEST_INT64 = 20  # digits of 2**64 - 1, or of -(2**63) with its sign
# Nothing has been parsed yet, so the last string may have no end: it must match all the same, or a body of escaped
# quotes would be searched from each of them to its end.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


def loads_object(body: bytes) -> dict[str, Any]:
    """Parse ``body``, which must be one JSON object in UTF-8.

    Raises ClientError 400 ``invalid_json``, saying where the fault is if that is known, or ``duplicate_key`` with the
    key as ``param``, at any depth.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _invalid(f"it is not valid UTF-8 at byte {error.start}") from None
    _refuse_too_many_values(body)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _invalid(str(error)) from None
    if not isinstance(document, dict):
        raise _invalid("it must be an object")
    try:
        _CHECKER.raw_decode(text, len(text) - len(text.lstrip(" \t\n\r")))
    except RecursionError:
        raise _too_deep() from None
    if body.count(b"[") + body.count(b"{") > _ALWAYS_WRITABLE_BRACKETS:
        try:
            orjson.dumps(document)
        except orjson.JSONEncodeError:
            raise _too_deep() from None
    return document


def _refuse_too_many_values(body: bytes) -> None:
    """Raise ClientError for a body with too many values. Commas are cheap to count; only a body with very many is
    examined.

    Every string outside others is a key or a value and has one unescaped quote at least and two at most, so more than
    four such quotes a permitted value prove that there are too many; with fewer, removing the strings is quick.
    """
    if body.count(b",") <= MAX_VALUES:
        return
    quotes = body.count(b'"') - body.count(b'\\"')
    if quotes > 4 * MAX_VALUES or _STRING.sub(b"", body).count(b",") > MAX_VALUES:
        raise _invalid(f"it holds more than {MAX_VALUES} values")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        ((key, _times),) = Counter(key for key, _ in pairs).most_common(1)
        raise _duplicate(key)


def _int64(digits: str) -> int:
    # The length is looked at first: converting thousands of digits takes quadratic time, and Python refuses to.
    value = int(digits) if len(digits) <= _LONGEST_INT64 else None
    if value is None or not -(1 << 63) <= value < 1 << 64:
        raise _invalid(f"the integer {shorten(digits)} does not fit in 64 bits")
    return value


def _duplicate(key: str) -> ClientError:
    name = shorten(key)
    return invalid_request(f"The request body has the key '{name}' twice.", param=name, code="duplicate_key")


def _too_deep() -> ClientError:
    return _invalid("it is nested too deeply")


def _invalid(reason: str) -> ClientError:
    return invalid_request(f"The request body cannot be read as JSON: {reason}.", code="invalid_json")


# The standard library's C scanner shows every object's pairs and every integer's digits; orjson shows neither.
# It is run for its errors only, on documents that orjson has already found valid.
_CHECKER = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_int=_int64, parse_float=str)
