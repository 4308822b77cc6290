"""JSON with texts of megabytes (pictures as base64), read and written so that no single step takes long.

orjson takes 20 ms to read 22 MB and 10 ms to write them, in one call during which no other thread runs, wherever it is
made. A text without anything to escape is the same within JSON and without, so long ones are cut out before
and put in again after; to copy one takes a fifth of that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import orjson

LONG = 1 << 20
"""Bytes of a document from which on its long texts are looked for."""

_LONG_TEXT = 1 << 18
_SLICE = 1 << 19
"""Bytes that are looked through at a time: half a millisecond's work."""

_MOST_QUOTES = 10_000
"""Quotation marks that are looked at: a document with more of them is not big because of a few texts."""

_MOST_SLASHES = 64

_UNESCAPED = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
_PLACE = "\ue001%d\ue001"
"""What stands for a text: its number between characters of Unicode's private use area."""

_FOUND = re.compile("\ue001([0-9]{1,5})\ue001")
_WRITTEN = re.compile(_FOUND.pattern.encode())


def loads(data: bytes) -> Any:
    """The JSON in ``data``, as ``orjson.loads`` reads it; raises its JSONDecodeError."""
    if len(data) >= LONG:
        rest, texts = _without_long_texts(data)
        if texts:
            document, found = _with_texts(rest, texts)
            if found == len(texts):
                return document
            # A name was long, or stood there twice, or the document has such places of its own.
    return orjson.loads(data)


def dumps(document: Any) -> bytes:
    """``document`` as ``orjson.dumps`` writes it; raises its JSONEncodeError."""
    texts: list[bytes] = []

    def place(text: str) -> str | None:
        if len(text) < _LONG_TEXT or not text.isascii():
            return None
        written = text.encode("ascii")
        if not _is_plain(written, 0, len(written)):
            return None
        texts.append(written)
        return _PLACE % (len(texts) - 1)

    small, _ = _replaced(document, place)
    if not texts:
        return orjson.dumps(document)
    pieces = _WRITTEN.split(orjson.dumps(small))  # every other one is a number
    if len(pieces) != 2 * len(texts) + 1:
        return orjson.dumps(document)
    pieces[1::2] = [texts[int(number)] for number in pieces[1::2]]
    return b"".join(pieces)


def _with_texts(rest: bytes, texts: list[str]) -> tuple[Any, int]:
    """The document with its long texts in their places, and how many were put there."""
    try:
        return _replaced(orjson.loads(rest), lambda text: _text_at(text, texts))
    except orjson.JSONDecodeError:
        return None, 0  # of the whole document the parser says where the fault is


def _without_long_texts(data: bytes) -> tuple[bytes, list[str]]:
    """The document with a place for each long text, and these texts."""
    kept: list[bytes] = []
    texts: list[str] = []
    done, opening = 0, data.find(b'"')
    for _ in range(_MOST_QUOTES):
        closing = _end_of_text(data, opening + 1)
        if opening < 0 or closing < 0:
            break
        if closing - opening > _LONG_TEXT and _is_plain(data, opening + 1, closing):
            kept += (data[done : opening + 1], (_PLACE % len(texts)).encode())
            with memoryview(data) as view:
                texts.append(str(view[opening + 1 : closing], "ascii"))  # copied once
            done = closing
        opening = data.find(b'"', closing + 1)
    kept.append(data[done:])
    return b"".join(kept), texts


def _end_of_text(data: bytes, start: int) -> int:
    """Where the quotation mark stands that ends the text; -1 if there is none, or it cannot be told."""
    end = data.find(b'"', start)
    while end > start and data[end - 1 : end] == b"\\":
        before = data[max(start, end - _MOST_SLASHES) : end]
        slashes = len(before) - len(before.rstrip(b"\\"))
        if slashes == _MOST_SLASHES:
            return -1
        if slashes % 2 == 0:
            break
        end = data.find(b'"', end + 1)
    return end


def _is_plain(data: bytes, start: int, end: int) -> bool:
    return not any(data[at : min(end, at + _SLICE)].translate(None, _UNESCAPED) for at in range(start, end, _SLICE))


def _text_at(text: str, texts: list[str]) -> str | None:
    found = _FOUND.fullmatch(text)
    return texts[int(found[1])] if found is not None and int(found[1]) < len(texts) else None


def _replaced(document: Any, by: Callable[[str], str | None]) -> tuple[Any, int]:
    """The document with other texts for those that ``by`` names another, and how many these were.

    What holds such a text is made anew, so that the document given stays as it is.
    """
    if isinstance(document, str):
        text = by(document)
        return (document, 0) if text is None else (text, 1)
    pairs: Iterable[tuple[Any, Any]]
    if isinstance(document, dict):
        pairs = document.items()
    elif isinstance(document, list | tuple):
        pairs = enumerate(document)
    else:
        return document, 0
    changed: dict[Any, Any] = {}
    count = 0
    for name, value in pairs:
        if isinstance(value, str | dict | list | tuple):
            other, found = _replaced(value, by)
            if found:
                changed[name], count = other, count + found
    if not changed:
        return document, 0
    if isinstance(document, dict):
        return {**document, **changed}, count
    return [changed.get(place, value) for place, value in enumerate(document)], count
