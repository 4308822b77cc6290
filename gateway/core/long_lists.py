"""JSON with lists of very many objects (a conversation of forty thousand messages), read and written in slices.

orjson takes 20 ms to read 20 MB of them, in one call during which no other thread runs, wherever it is made. Such a
list is cut between two of its objects, and what lies between two cuts is a list of its own.
"""

from __future__ import annotations

from itertools import chain, pairwise
from typing import Any

import orjson

_SLICE = 1 << 20
"""Bytes that are read or written in one call: one or two milliseconds' work."""

_CUTS = (b'},{"role":', b'}, {"role":')
"""What stands between two messages. No text has it, as a quotation mark ends the text before ``role``."""

_PLACE = (1 << 62) + 1
"""What stands for the objects that were cut out. An integer is written in one way only, and no double equals this one,
so that it can be seen in the bytes whether there is another."""

_WRITTEN_PLACE = b"%d" % _PLACE

_MANY = 1_000
"""Items of a list from which on it is written in slices."""


def loads(data: bytes) -> Any:
    """The JSON in ``data``, as ``orjson.loads`` reads it; raises its JSONDecodeError."""
    commas = _cuts(data) if len(data) >= 2 * _SLICE else []
    if len(commas) > 1:
        document = _joined(data, commas)
        if document is not None:
            return document
    return orjson.loads(data)


def dumps(fields: dict[str, Any], size: int) -> bytes:
    """``fields`` as ``orjson.dumps`` writes them, long lists last; raises its JSONEncodeError.

    ``size``: about how many bytes that will be.
    """
    return b"".join(written(fields, size))


def written(fields: dict[str, Any], size: int) -> list[bytes]:
    """The same in pieces. To join them lets other threads run, since all of them are bytes."""
    long = {name: value for name, value in fields.items() if type(value) is list and len(value) >= _MANY}
    if size < 2 * _SLICE or not long:
        return [orjson.dumps(fields)]
    rest = orjson.dumps({name: value for name, value in fields.items() if name not in long})[:-1]
    pieces = [rest]
    for name, items in long.items():
        each = max(1, len(items) * _SLICE // size)
        pieces.append(b"%s%s:[" % (b"" if pieces == [b"{"] else b",", orjson.dumps(name)))
        for start in range(0, len(items), each):
            # As deep as it stands in the whole, and without the list's brackets.
            pieces += (b"," if start else b"", orjson.dumps({"": items[start : start + each]})[len(b'{"":[') : -2])
        pieces.append(b"]")
    return [*pieces, b"}"]


def _cuts(data: bytes) -> list[int]:
    """Where to cut: the commas between two messages, at least a slice apart."""
    between = next((one for one in _CUTS if data.find(one, 0, _SLICE) >= 0), None)
    if between is None:
        return []
    places = (data.find(between, start, start + _SLICE) for start in range(0, len(data), _SLICE))
    return [place + 1 for place in places if place >= 0]


def _joined(data: bytes, commas: list[int]) -> Any:
    """The document from its slices; None if they are not what they were taken for.

    The slices are lists each by itself, and the rest is a document with a place for them among the items of a list:
    then the whole is that document with their items there.
    """
    around = b"%s,%s%s" % (data[: commas[0]], _WRITTEN_PLACE, data[commas[-1] :])
    if around.count(_WRITTEN_PLACE) > 1:
        return None
    try:
        document = orjson.loads(around)
        lists = document.values() if type(document) is dict else ()
        held = next((value for value in lists if type(value) is list and _PLACE in value), None)
        if held is None:
            return None
        slices = [orjson.loads(b"[%s]" % data[start + 1 : end]) for start, end in pairwise(commas)]
    except orjson.JSONDecodeError:
        return None  # of the whole document the parser says where the fault is
    at = held.index(_PLACE)
    held[at : at + 1] = chain.from_iterable(slices)
    return document
