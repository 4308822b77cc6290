"""Base64 as text: whether something is it, and how a text of many words is read that has megabytes of it inside.

Nothing is decoded here, and nothing looks at each letter with a pattern: images have tens of millions of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_QUARTET = 4
_MOST_PADDING = 2

_MARK = "base64,"
"""What stands before the base64 of a data URL."""

_RUN = re.compile(r"[A-Za-z0-9+/=_-]*+")
_LONG_RUN = 1024
"""Characters; what is shorter may stay where it is."""

ASIDE = "\ue000"
"""A character of Unicode's private use area stands around the number of a run that was set aside."""

_NUMBER = re.compile(f"{ASIDE}([0-9]+){ASIDE}")


def is_base64(text: str) -> bool:
    """Whether ``text`` is base64 of at least one byte (RFC 4648, section 4): whole, padded, and nothing else in it."""
    if not text or len(text) % _QUARTET or not text.isascii():
        return False
    data = text.encode("ascii")
    letters = data.rstrip(b"=")
    return bool(letters) and len(data) - len(letters) <= _MOST_PADDING and not letters.translate(None, _LETTERS)


class Words:
    """The characters of a text that are not base64 of a data URL in it; fed by any split. ``count``: how many."""

    __slots__ = ("_before", "_in_base64", "count")

    def __init__(self) -> None:
        self.count = 0
        self._in_base64 = False
        self._before = ""  # the end of what came before: the mark may be torn in two

    def add(self, piece: str) -> str:
        """Take the next piece; return what of it are words."""
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


def set_aside(text: str) -> tuple[str, list[str]]:
    """The text with a number in place of each long run of base64, and these runs."""
    text = text.replace(ASIDE, "")
    kept: list[str] = []
    runs: list[str] = []
    done = position = 0
    while (mark := text.find(_MARK, position)) >= 0:
        begun = mark + len(_MARK)
        position = _run_end(text, begun)
        if position - begun >= _LONG_RUN:
            kept += (text[done:begun], f"{ASIDE}{len(runs)}{ASIDE}")
            runs.append(text[begun:position])
            done = position
    return "".join((*kept, text[done:])), runs


def put_back(text: str, runs: Sequence[str]) -> str:
    """A part of a text whose ``runs`` were set aside, with them. Only for what was in it as it stands, unescaped."""
    return _NUMBER.sub(lambda found: runs[int(found[1])], text)


def without_runs(text: str) -> str:
    """A part of such a text with "…" in their place, as people may read it."""
    return _NUMBER.sub("…", text).replace(ASIDE, "")


def _run_end(text: str, start: int) -> int:
    found = _RUN.match(text, start)
    assert found is not None  # it may be empty, but it is there
    return found.end()
