"""The weight of a JSON document, counted in its bytes: how many objects a parser would make of it.

Nineteen megabytes of lists within lists become nine million objects, which take seconds to make and fifty times the
room, and the parser lets no other thread run meanwhile. So what is parsed is weighed before, from both
sides. Brackets, commas and colons within strings weigh nothing: a prompt may be a megabyte of code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.core.long_texts import loads

MOST_MEMBERS = 400_000
"""The most that a document may weigh: each value and each name of an object's member is one, an array or object two.
So many take the parser 5 to 20 ms and 40 MB. Two thousand tools with eight parameters each weigh 250,000, fifty
thousand messages 300,000."""

MOST_ANSWERED = 1_500_000
"""The same for an answer of an upstream: the log probabilities of a long one, twenty to a token, weigh over a million.
"""

LONG = 256 * 1024
"""Bytes from which on a document is worked on off the event loop. The worst one of this length takes 5 ms, a usual one
below 1 ms."""

_SHORT = 16 * 1024
"""Bytes up to which no document is slow."""

_FEW_MEMBERS = 10_000
"""Weight up to which a document of less than ``LONG`` bytes is worked on at once; it takes 5 ms at most."""

_BLOCK = 64 * 1024  # of one of nothing but quotes 2 ms are spent, during which no other thread runs
_AT_ONCE = 1024 * 1024
_BLANKS = b" \t\r\n"
_MARKS = ((b",", 1), (b":", 1), (b"[", 2), (b"{", 2))  # what is opened holds something, and is something
_NO_MARKS = bytes(byte for byte in range(256) if byte not in b",:[{")
_OF_STRUCTURE = b",:[]{}0123456789+-.truefalsnulEINinfity \t\r\n"  # outside of texts, also in a lenient reader's JSON
_WITHOUT_QUOTES = 8 * 1024
_LOOKED_AT = 64
_NO_OPENINGS = bytes(byte for byte in range(256) if byte not in b"[{")
_EMPTY = (b"[]", b"{}")


class TooHeavy(ValueError):
    """A document that weighs more than it may."""


def read_json(data: bytes, most: int = MOST_MEMBERS) -> Any:
    """The JSON in ``data``, as strictly as the parser reads it, if it weighs no more than ``most``.

    Raises ValueError: TooHeavy before anything is parsed, orjson's own for what is no JSON.
    """
    if 2 * len(data) > most and too_heavy(data, most):
        raise TooHeavy(f"more than {most} values and names")
    return loads(data)


def too_heavy(data: bytes, most: int = MOST_MEMBERS, apart: bytes | None = None) -> bool:
    """Whether the JSON document ``data`` weighs more than ``most``.

    ``apart``: ``apart_from_texts`` of it, if that is known.

    Exact for JSON; of what is no JSON, all that a parser could make before it notices is counted, but for a block's.
    Takes time linear in the size, and none for a short document, of which every member takes a byte.
    """
    if 2 * len(data) <= most:
        return False
    found = marks_in(apart_from_texts(data) if apart is None else apart)
    perhaps = 1 + len(found) + openings_in(found)  # strings included
    return perhaps > most and _weight_of_structure(data, most) > most


def apart_from_texts(data: bytes) -> bytes:
    """A JSON document without blocks that stand within a text; the same bytes if there are none.

    Such a block has no quotation mark, and begins with what stands in texts only. Should it stand elsewhere, it is no
    JSON, and a reader comes no further.
    """
    kept: list[bytes] = []
    done = 0
    for start in range(0, len(data) - _WITHOUT_QUOTES + 1, _WITHOUT_QUOTES):
        end = start + _WITHOUT_QUOTES
        if data.find(b'"', start, end) < 0 and data[start : start + _LOOKED_AT].translate(None, _OF_STRUCTURE):
            kept.append(data[done:start])
            done = end
    return b"".join((*kept, data[done:])) if done else data


def is_slow(data: bytes) -> bool:
    """Whether others would wait while the document ``data`` is worked on: it is long, or has very many members."""
    if not _SHORT < len(data) <= LONG:
        return len(data) > LONG
    found = marks_in(apart_from_texts(data))
    return len(found) + openings_in(found) > _FEW_MEMBERS


def marks_in(data: bytes) -> bytes:
    """The commas, colons and opening brackets of a JSON text, those within its strings among them."""
    if len(data) <= _AT_ONCE:
        return data.translate(None, _NO_MARKS)
    starts = range(0, len(data), _AT_ONCE)
    return b"".join([data[start : start + _AT_ONCE].translate(None, _NO_MARKS) for start in starts])


def openings_in(data: bytes) -> int:
    """How many brackets open in a JSON text, or among its marks. To delete the rest is faster than to count them."""
    return len(data.translate(None, _NO_OPENINGS))


def structure(data: bytes) -> Iterator[bytes]:
    """What the JSON text ``data`` has outside its strings, block by block, with one quote for each string.

    The blocks are small, so that other threads can run between them.
    """
    at, within = 0, False
    while at < len(data):
        end = at + _BLOCK
        block = data[at:end]
        if (len(block) - len(block.rstrip(b"\\"))) % 2:  # what is escaped belongs to its backslash
            end += 1
            block = data[at:end]
        at = end
        # A run of backslashes begins an escape, so each pair of them is one.
        pieces = block.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = pieces[within::2]
        if within and outside:
            outside.insert(0, b"")  # the string that began before
        within ^= len(pieces) % 2 == 0
        yield b'"'.join(outside)


def _weight_of_structure(data: bytes, most: int) -> int:
    """The document's weight, or one beyond ``most`` as soon as that is certain."""
    weight, last = 1, b""
    for block in structure(data):
        bare = block.translate(None, _BLANKS)
        if not bare:
            continue
        # A container of k members has k - 1 commas, its opening stands for one more; an empty one has none.
        weight += sum(times * bare.count(mark) for mark, times in _MARKS) - sum(map((last + bare).count, _EMPTY))
        last = bare[-1:]
        if weight > most:
            break
    return weight
