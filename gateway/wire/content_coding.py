"""Content codings of a request's body (RFC 9110, section 8.4.1): which are named, and undoing them piece by piece."""

from __future__ import annotations

import re
import zlib
from collections.abc import Generator, Iterator

PIECE = 256 * 1024
"""Bytes that one step makes at most; it takes about a millisecond."""

MOST_CODINGS = 2
"""Codings that may be applied to one body, one after the other."""

MOST_MEMBERS = 1_000
"""Members of one gzip file. Tools write one for 64 KiB and more; an empty one has 20 bytes and costs as much time."""

_FED = 64 * 1024  # what is not used yet is copied at each step, so little is given at once
_GZIP = zlib.MAX_WBITS | 16
_ZLIB = zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS
_GOES_ON = "it goes on after its end"
_NAME = re.compile("(?:x-)?(gzip)|(deflate)")


class UnknownCoding(Exception):
    """A coding that is not read here; its text names it."""


class BrokenCoding(Exception):
    """Bytes that are not what their coding says; its text is a clause that says why."""


def codings(values: list[str]) -> tuple[str, ...]:
    """The codings named by the values of all ``content-encoding`` headers, in the order in which they were applied.

    ``identity`` is none. Raises UnknownCoding, also for more than ``MOST_CODINGS``.
    """
    found = []
    for value in values:
        for name in value.split(","):
            plain = name.strip().lower()
            if plain in ("", "identity"):
                continue
            known = _NAME.fullmatch(plain)
            if known is None:
                raise UnknownCoding(name.strip())
            found.append(known[1] or known[2])
    if len(found) > MOST_CODINGS:
        raise UnknownCoding(", ".join(found))
    return tuple(found)


def undone(data: bytes, coding: str) -> Iterator[bytes]:
    """The bytes before ``coding`` was applied, in pieces of at most ``PIECE``; some may be empty.

    ``coding``: one of those that ``codings`` returns. No bytes at all are the coding of none: clients name a coding
    without having a body. Raises BrokenCoding, also for data that ends too early or goes on after its end.
    """
    if not data:
        return iter(())
    return _gunzipped(data) if coding == "gzip" else _inflated(data)


def _gunzipped(data: bytes) -> Iterator[bytes]:
    """Undo gzip: a file may have several members (RFC 1952), and NULs that pad it to a block may follow the last."""
    at = 0
    for _ in range(MOST_MEMBERS):
        at = yield from _stream(data, at, _GZIP)
        if not data[at : at + 1].strip(b"\0"):
            if data[at:].strip(b"\0"):
                raise BrokenCoding(_GOES_ON)
            return
    raise BrokenCoding(f"it has more than {MOST_MEMBERS} members")


def _inflated(data: bytes) -> Iterator[bytes]:
    """Undo deflate, which is a zlib stream (RFC 1950); some clients send the bare one (RFC 1951). Zlib's first two
    bytes are divisible by 31, and its first one would pad a bare stream's first block with a bit that no encoder sets.
    """
    zlibs = data[0] & 15 == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0
    at = yield from _stream(data, 0, _ZLIB if zlibs else _RAW)
    if at < len(data):
        raise BrokenCoding(_GOES_ON)


def _stream(data: bytes, at: int, wbits: int) -> Generator[bytes, None, int]:
    """Undo one stream, which begins at ``at``. Returns where it ends."""
    decoder = zlib.decompressobj(wbits)
    try:
        while not decoder.eof:
            fed = decoder.unconsumed_tail
            if not fed:
                fed = data[at : at + _FED]
                at += len(fed)
            piece = decoder.decompress(fed, PIECE)
            if not fed and not piece and not decoder.eof:
                raise BrokenCoding("it ends too early")
            yield piece
    except zlib.error as error:
        raise BrokenCoding(str(error).partition(": ")[2] or "its bytes are no such data") from None
    return at - len(decoder.unused_data)
