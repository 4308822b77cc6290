"""JSON that upstreams send though a strict reader refuses it, and the nearest that can be written.

``NaN`` in a logprob, half an emoji (one of the two escapes that make it), a count of a thousand digits: the strict
reader and writer of the hot path know none of these. What is here is slower, and meant for what the strict one refused.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

from gateway.core.json_weight import read_json, too_heavy
from gateway.core.long_texts import dumps
from gateway.wire.nesting import MAX_DEPTH, too_deep

_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_INT64 = 20  # digits of 2**64 - 1, or of -(2**63) with its sign
_WRITABLE_DEPTH = MAX_DEPTH + 40  # orjson writes 254 levels; an answer around a document has a few of its own


def loads_lenient(data: bytes) -> Any:
    """The JSON in ``data``, read as leniently as its meaning stays plain.

    Beyond JSON it takes: ``NaN``, ``Infinity`` and ``-Infinity`` (floats), escapes of lone surrogates (a text with one
    in it), control characters in a text, numbers of any length (a float beyond 64 bits), a byte order mark, and bytes
    that are no UTF-8 (U+FFFD). ``writable`` makes of it what can be written again.

    Raises ValueError if it is no JSON all the same, nested too deeply or too heavy.
    """
    if too_heavy(data):
        raise ValueError("too many values")
    if too_deep(data):
        raise ValueError("nested too deeply")
    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
    try:
        return _LENIENT.decode(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def writable(value: Any) -> Any:
    """The nearest value that can be written as JSON; ``value`` is left as it is, and may be shared with the result.

    A lone surrogate becomes U+FFFD, two halves that met become the character they are; NaN, the infinities and what is
    nested too deeply become None; an integer beyond 64 bits becomes a float.
    """
    return _writable(value, _WRITABLE_DEPTH)


def with_whole_characters(text: str) -> str:
    """The text with U+FFFD for each half of a character that stands alone; halves that met are the character."""
    if text.isascii() or _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def dump_json(value: Any, *, heavy: bool = False) -> bytes:
    """The JSON of a value as it is or, if it cannot be written, of the nearest one that can (``writable``).

    ``heavy``: it may hold texts of megabytes.
    """
    try:
        return dumps(value) if heavy else orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(writable(value))


def written_strictly(data: bytes) -> bytes:
    """The JSON in ``data`` as a strict reader takes it; ``data`` itself if it is such JSON already, or none at all."""
    try:
        read_json(data)
    except ValueError:
        try:
            return dump_json(loads_lenient(data))
        except ValueError:
            return data
    return data


def _writable(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return with_whole_characters(value)
    if isinstance(value, dict | list):
        if not depth:
            return None
        if isinstance(value, list):
            return [_writable(inner, depth - 1) for inner in value]
        return {with_whole_characters(str(name)): _writable(inner, depth - 1) for name, inner in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return _as_float(value)
    return value


def _as_float(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def _integer(digits: str) -> int | float:
    # Converting thousands of digits takes quadratic time, and Python refuses to.
    return int(digits) if len(digits) <= _LONGEST_INT64 else float(digits)


_LENIENT = json.JSONDecoder(parse_int=_integer, strict=False)
