"""The reader for the JSON body of a client's request.

The body is parsed once, and what goes upstream is written from what was parsed: a duplicate key cannot mean two things
there (the last one counts), so nothing looks for it. A text that was cut in the middle of a character is read all the
same, with U+FFFD for what is no character: one half of an emoji in a history would otherwise end the conversation for
good. What would silently become another value is refused: integers beyond 64 bits, numbers beyond a double.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from gateway.core import long_texts
from gateway.core.errors import ClientError, invalid_request, shorten
from gateway.core.json_weight import MOST_MEMBERS, apart_from_texts, structure, too_heavy
from gateway.wire.cut_characters import mended_escapes, mended_text
from gateway.wire.nesting import writable_depth

_SHORT = 8 * 1024
"""Bytes of a body that is looked through as it is."""

_LONGEST_INT64 = 20  # digits of 2**64 - 1, or of -(2**63) with its sign
_SHORTEST_BEYOND = 19  # digits of -(2**63) - 1

_STEP = _SHORTEST_BEYOND // 2
_LOOKED_THROUGH = _STEP * 64 * 1024  # bytes at a time, for which no other thread runs
_DIGITS_AS_ZEROS = bytes(ord("0") if digit in b"0123456789" else ord(".") for digit in range(256))
_BETWEEN_NUMBERS = bytes.maketrans(b',:[]{}"', b" " * 7)

_BLANKS = (b" ", b"\t", b"\n", b"\r")
_BYTE_ORDER_MARK = "\ufeff".encode()


def loads_object(body: bytes) -> dict[str, Any]:
    """Parse ``body``, which must be one JSON object in UTF-8.

    Raises ClientError 400 ``invalid_json``, saying where the fault is if that is known.
    """
    document = loads(body)
    if not isinstance(document, dict):
        raise _invalid("it must be an object")
    return document


def loads(body: bytes) -> Any:
    """Parse ``body``, which must be one JSON value in UTF-8. Raises as ``loads_object`` does."""
    document, apart = _parsed(body)
    if not writable_depth(apart, document):
        raise nested_too_deeply()
    return document


def object_of_any_depth(body: bytes) -> dict[str, Any]:
    """``loads_object`` for a document that is written again at once, which then tells whether it is nested too deeply
    (``nested_too_deeply``).
    """
    document, _ = _parsed(body)
    if type(document) is not dict:
        raise _invalid("it must be an object")
    return document


def nested_too_deeply() -> ClientError:
    """400 ``invalid_json`` for a document that can be read, but not written again."""
    return _invalid("it is nested too deeply")


def _parsed(body: bytes) -> tuple[Any, bytes]:
    """The document in ``body``, and the body apart from what certainly stands within texts."""
    size = len(body)
    apart = apart_from_texts(body) if size > _SHORT else body
    if size > MOST_MEMBERS // 2 and too_heavy(body, apart=apart):
        raise _invalid(f"it holds more than {MOST_MEMBERS} values and names (an array or object counts twice)")
    try:
        document = long_texts.loads(body) if size >= long_texts.LONG else orjson.loads(body)
    except orjson.JSONDecodeError as error:
        body = mended_text(mended_escapes(body.removeprefix(_BYTE_ORDER_MARK))).encode()
        document = _loads_mended(body, error)
    if _may_have_long_digits(apart):
        _refuse_integers_beyond_64_bits(body, document)
    return document, apart


def _refuse_integers_beyond_64_bits(body: bytes, document: Any) -> None:
    """Raise ClientError if the JSON text ``body`` has one: the parser makes a double of it, which is another number.

    ``document``: what the parser made of ``body``. Only a text whose document has a number so large is examined itself.
    """
    if not _has_large_double(document):
        return
    for number in _numbers(body):
        digits = number.decode()
        # The length is looked at first: converting thousands of digits takes quadratic time, and Python refuses to.
        if len(digits) > _LONGEST_INT64 or not -(1 << 63) <= int(digits) < 1 << 64:
            raise _invalid(f"the integer {shorten(digits)} does not fit in 64 bits")


def _may_have_long_digits(body: bytes) -> bool:
    """Whether there may be a run of so many digits: every ninth byte is looked at, of which such a run has two."""
    for start in range(0, len(body), _LOOKED_THROUGH):
        part = body[start + _STEP - 1 : start + _LOOKED_THROUGH + _STEP : _STEP]  # and one byte of the next part
        if b"00" in part.translate(_DIGITS_AS_ZEROS):
            return True
    return False


def _numbers(body: bytes) -> Iterator[bytes]:
    """The long integers among the numbers of a JSON text."""
    begun: list[bytes] = []  # of a number that goes on in the next block
    for block in structure(body):
        words = block.translate(_BETWEEN_NUMBERS)
        cut = max(words.rfind(blank) for blank in _BLANKS) + 1
        if not cut:
            begun.append(words)
            continue
        yield from _long_integers(b"".join((*begun, words[:cut])))
        begun = [words[cut:]]
    yield from _long_integers(b"".join(begun))


def _long_integers(words: bytes) -> Iterator[bytes]:
    return (word for word in words.split() if len(word) >= _SHORTEST_BEYOND and word.removeprefix(b"-").isdigit())


def _has_large_double(document: Any) -> bool:
    """Whether there is a double in it that can stand for an integer beyond 64 bits."""
    unseen = [document]
    while unseen:
        value = unseen.pop()
        if type(value) is dict:
            unseen.extend(value.values())
        elif type(value) is list:
            unseen.extend(value)
        elif type(value) is float and (value <= -(2.0**63) or value >= 2.0**64):
            return True
    return False


def _loads_mended(body: bytes, error: orjson.JSONDecodeError) -> Any:
    """The document in ``body``, whose cut characters have been mended.

    ``error``: what the parser said of it before.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as still:
        # The parser looks at the encoding first.
        reason = f"it is not valid UTF-8, and {still}" if "UTF-8" in str(error) else str(still)
        raise _invalid(reason) from None


def _invalid(reason: str) -> ClientError:
    return invalid_request(f"The request body cannot be read as JSON: {reason}.", code="invalid_json")
