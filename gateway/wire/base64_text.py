"""Base64 as text: whether a text is base64, and how a text that holds megabytes of it is searched.

Nothing is decoded here, and no pattern looks at every letter: images have tens of millions of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_QUARTET = 4
_MOST_PADDING = 2
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_BLANKS = b" \t\r\n\x0b\x0c"

_MARK = "base64,"
"""The text before the base64 in a data URL."""

_RUN = re.compile(r"[A-Za-z0-9+/=_-]*+")
_LONG_RUN = 1024
"""Characters; shorter runs stay in the text."""

PLACEHOLDER_MARK = "\ue000"
"""The mark around the number of an extracted run: a character of Unicode's private use area."""

_NUMBER = re.compile(f"{PLACEHOLDER_MARK}([0-9]+){PLACEHOLDER_MARK}")


def is_base64(text: str) -> bool:
    """Whether ``text`` is base64 of at least one byte (RFC 4648, section 4): complete, padded, and nothing else."""
    if not text or len(text) % _QUARTET or not text.isascii():
        return False
    data = text.encode("ascii")
    letters = data.rstrip(b"=")
    return bool(letters) and len(data) - len(letters) <= _MOST_PADDING and not letters.translate(None, _LETTERS)


def standard_base64(text: str) -> str | None:
    """``text`` as RFC 4648, section 4, has it; None if it is not base64 of at least one byte.

    It may be URL-safe, unpadded, percent-encoded, or broken by blanks and line breaks. Text that is in order is
    returned as it is.
    """
    if is_base64(text):
        return text
    if "%" in text:
        text = unquote(text)
    if not text.isascii():
        return None
    data = text.encode("ascii").translate(_TO_STANDARD, _BLANKS).rstrip(b"=")
    if not data or len(data) % _QUARTET == 1 or data.translate(None, _LETTERS):
        return None
    return (data + b"=" * (-len(data) % _QUARTET)).decode("ascii")


class Base64Filter:
    """A filter that removes the base64 of data URLs from a text that comes in pieces, split anywhere.

    ``count``: the characters that were let through so far.
    """

    __slots__ = ("_before", "_in_base64", "count")

    def __init__(self) -> None:
        self.count = 0
        self._in_base64 = False
        self._before = ""  # the end of the previous piece: the mark may be split over two pieces

    def add(self, piece: str) -> str:
        """Take the next piece; returns the part of it that is not base64."""
        start = 0
        if self._in_base64:
            start = _run_end(piece, 0)
            if start == len(piece):
                return ""
        text = self._before + piece[start:]
        words, position = [], 0
        while (mark := text.find(_MARK, position)) >= 0:
            begun = mark + len(_MARK)
            words.append(text[position:begun])
            position = _run_end(text, begun)
        words.append(text[position:])
        new = "".join(words)[len(self._before) :]
        self.count += len(new)
        self._in_base64 = position == len(text)
        self._before = text[max(position, len(text) - len(_MARK) + 1) :]
        return new


def extract_base64(text: str) -> tuple[str, list[str]]:
    """The text with a numbered placeholder for each long run of base64, and these runs."""
    text = text.replace(PLACEHOLDER_MARK, "")
    kept: list[str] = []
    runs: list[str] = []
    done = position = 0
    while (mark := text.find(_MARK, position)) >= 0:
        begun = mark + len(_MARK)
        position = _run_end(text, begun)
        if position - begun >= _LONG_RUN:
            kept += (text[done:begun], f"{PLACEHOLDER_MARK}{len(runs)}{PLACEHOLDER_MARK}")
            runs.append(text[begun:position])
            done = position
    return "".join((*kept, text[done:])), runs


def restore_base64(text: str, runs: Sequence[str]) -> str:
    """A part of a text whose ``runs`` were extracted, with the runs in it again. Only for parts copied as they are,
    unescaped.
    """
    return _NUMBER.sub(lambda found: runs[int(found[1])], text)


def elide_base64(text: str) -> str:
    """A part of such a text with "…" for each run, for people to read."""
    return _NUMBER.sub("…", text).replace(PLACEHOLDER_MARK, "")


def _run_end(text: str, start: int) -> int:
    found = _RUN.match(text, start)
    assert found is not None  # the pattern also matches an empty run
    return found.end()
