"""JSON with texts of megabytes (pictures as base64), read and written so that no single step takes long.

orjson takes 20 ms to read 22 MB and 10 ms to write them, in one call during which no other thread runs, wherever it is
made. A text without anything to escape is the same within JSON and without, so long ones are cut out before they are
read and put in again after; to copy one takes a fifth of that. Any text can be written slice by slice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from gateway.core import long_lists

LONG = 1 << 20
"""Bytes of a document from which on its long texts are looked for."""

_LONG_TEXT = 1 << 18
_SLICE = 1 << 19
"""Bytes that are looked through at a time: half a millisecond's work."""

_BLOCK = _LONG_TEXT // 2
"""A text that is long covers such a block from one end to the other, wherever it begins."""

_UNESCAPED = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
_PLACE = "\ue001%d\ue001"
"""What stands for a text: its number between characters of Unicode's private use area."""

_FOUND = re.compile("\ue001([0-9]{1,5})\ue001")
_WRITTEN = re.compile(_FOUND.pattern.encode())


def loads(data: bytes) -> Any:
    """The JSON in ``data``, as ``orjson.loads`` reads it; raises its JSONDecodeError."""
    if len(data) < LONG:
        return orjson.loads(data)
    rest, texts = _without_long_texts(data)
    if texts:
        document, found = _with_texts(rest, texts)
        if found == len(texts):
            return document
        # A name was long, or stood there twice, or the document has such places of its own.
    return long_lists.loads(data)


def may_hold_long_texts(data: bytes) -> bool:
    """Whether there may be a long text in a JSON document."""
    return any(data.find(b'"', start, start + _BLOCK) < 0 for start in range(0, len(data) - _BLOCK, _BLOCK))


def dumps(document: Any) -> bytes:
    """``document`` as ``orjson.dumps`` writes it; raises its JSONEncodeError."""
    return b"".join(written(document))


def written(document: Any) -> list[bytes]:
    """The same in pieces. To join them lets other threads run, since all of them are bytes."""
    texts: list[str] = []

    def place(text: str) -> str:
        texts.append(text)
        return _PLACE % (len(texts) - 1)

    small, _ = _replaced(document, place, _LONG_TEXT)
    if not texts:
        return [orjson.dumps(document)]
    pieces = _WRITTEN.split(orjson.dumps(small))  # every other one is a number
    if len(pieces) != 2 * len(texts) + 1:
        return [orjson.dumps(document)]
    whole = pieces[:1]
    for number, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        text = texts[int(number)]
        whole += [orjson.dumps(text[at : at + _SLICE])[1:-1] for at in range(0, len(text), _SLICE)]
        whole.append(piece)
    return whole


def _with_texts(rest: bytes, texts: list[str]) -> tuple[Any, int]:
    """The document with its long texts in their places, and how many were put there."""
    try:
        return _replaced(orjson.loads(rest), lambda text: _text_at(text, texts), len(_PLACE % 0))
    except orjson.JSONDecodeError:
        return None, 0  # of the whole document the parser says where the fault is


def _without_long_texts(data: bytes) -> tuple[bytes, list[str]]:
    """The document with a place for each long text, and these texts.

    Only where a block has no quotation mark can there be one. Whether it is a text and no gap between two is not looked
    at: a place in a gap is no JSON.
    """
    kept: list[bytes] = []
    texts: list[str] = []
    done = seen = 0
    for start in range(0, len(data) - _BLOCK, _BLOCK):
        if start < seen or data.find(b'"', start, start + _BLOCK) >= 0:
            continue
        opening, closing = data.rfind(b'"', done, start), data.find(b'"', start + _BLOCK)
        if opening < 0 or closing < 0:
            continue
        seen = closing
        escaped = data[opening - 1 : opening] == b"\\"
        if closing - opening > _LONG_TEXT and not escaped and _is_plain(data, opening + 1, closing):
            kept += (data[done : opening + 1], (_PLACE % len(texts)).encode())
            with memoryview(data) as view:
                texts.append(str(view[opening + 1 : closing], "ascii"))  # copied once
            done = closing
    kept.append(data[done:])
    return b"".join(kept), texts


def _is_plain(data: bytes, start: int, end: int) -> bool:
    return not any(data[at : min(end, at + _SLICE)].translate(None, _UNESCAPED) for at in range(start, end, _SLICE))


def _text_at(text: str, texts: list[str]) -> str | None:
    found = _FOUND.fullmatch(text)
    return texts[int(found[1])] if found is not None and int(found[1]) < len(texts) else None


def _replaced(document: Any, by: Callable[[str], str | None], shortest: int) -> tuple[Any, int]:
    """The document with other texts for those of ``shortest`` characters or more that ``by`` names another, and how
    many these were.

    What holds such a text is made anew, so that the document given stays as it is.
    """
    if isinstance(document, str):
        text = by(document) if len(document) >= shortest else None
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
        if type(value) is str and len(value) < shortest:
            continue
        if value and isinstance(value, str | dict | list | tuple):
            other, found = _replaced(value, by, shortest)
            if found:
                changed[name], count = other, count + found
    if not changed:
        return document, 0
    if isinstance(document, dict):
        return {**document, **changed}, count
    return [changed.get(place, value) for place, value in enumerate(document)], count
