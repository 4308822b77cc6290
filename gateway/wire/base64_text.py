"""Base64 as text: whether a text is base64, and how a text that holds megabytes of it is searched.

No pattern looks at every letter one by one: images have tens of millions of them. What reads or writes all of them does
so in slices, between which other threads have their turn.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from urllib.parse import unquote

SLICE = 512 * 1024
"""Letters that are read or written at a time: a millisecond's work, during which no other thread runs."""

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_QUARTET = 4
_MOST_PADDING = 2
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_BLANKS = b" \t\r\n\x0b\x0c"

_MARK = "base64,"
"""The text before the base64 in a data URL."""

_RUN = re.compile(r"[A-Za-z0-9+/=_-]*+")
_ENCLOSED_RUN = re.compile(r"\s*+(?:[A-Za-z0-9+/=_-]++\s*+)*+")
"""A run between the brackets or quotation marks that enclose its data URL, broken by blanks anywhere."""

_FULL_LINE = 40
"""Characters of base64 that are a line of a broken run, since no word has as many. Tools write lines of 64 or 76."""

_MORE_LINES = re.compile(
    r"(?:[ \t]*+\r?\n[ \t]*+[A-Za-z0-9+/_-]{40,}+={0,2}+)*+"  # full lines
    r"(?:[ \t]*+\r?\n[ \t]*+(?=[A-Za-z]*+[0-9+/=_-]|[A-Za-z]{12})[A-Za-z0-9+/_-]{1,75}+={0,2}+(?![^\s`]))?+"  # the last
)
"""The rest of a run that nothing encloses: a short last line must not be a word."""

_HEAD = 200
"""Characters of a data URL before its base64 in which its beginning is looked for."""

_BLANKS_OF_A_LINE = re.compile(r"[ \t]*+")

_LONG_RUN = 1024
"""Characters; shorter runs stay in the text."""

PLACEHOLDER_MARK = "\ue000"
"""The mark around the number of an extracted run: a character of Unicode's private use area."""

_NUMBER = re.compile(f"{PLACEHOLDER_MARK}([0-9]+){PLACEHOLDER_MARK}")


def is_base64(text: str) -> bool:
    """Whether ``text`` is base64 of at least one byte (RFC 4648, section 4): complete, padded, and nothing else."""
    if not text or len(text) % _QUARTET or not text.isascii():
        return False
    end = len(text) - len(text[-_QUARTET:]) + len(text[-_QUARTET:].rstrip("="))
    if len(text) - end > _MOST_PADDING:
        return False
    return not any(
        text[at : min(end, at + SLICE)].encode("ascii").translate(None, _LETTERS) for at in range(0, end, SLICE)
    )


def decoded_base64(text: str) -> bytes:
    """The bytes of base64 as the standard has it. Raises ValueError for text that is none."""
    pieces = [binascii.a2b_base64(text[at : at + SLICE], strict_mode=True) for at in range(0, len(text), SLICE)]
    if any(len(piece) != SLICE // 4 * 3 for piece in pieces[:-1]):
        raise ValueError("its padding is not at its end")
    return b"".join(pieces)


def encoded_base64(data: bytes) -> str:
    """``data`` as base64 has it."""
    size = SLICE // 4 * 3
    return "".join(
        binascii.b2a_base64(data[at : at + size], newline=False).decode("ascii") for at in range(0, len(data), size)
    )


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

    Base64 may be broken into lines, so a word alone in the line after a full one goes with it.
    """

    __slots__ = ("_before", "_in_base64", "_line", "count")

    def __init__(self) -> None:
        self.count = 0
        self._in_base64 = False
        self._line = 0  # characters of base64 in its present line
        self._before = ""  # the end of the previous piece: the mark may be split over two pieces

    def begin(self) -> None:
        """Take what comes next as base64: the text has no data URL around it."""
        self._in_base64, self._line = True, 0

    def add(self, piece: str) -> str:
        """Take the next piece; returns the part of it that is not base64."""
        start = 0
        if self._in_base64:
            start = self._end_of_run(piece, 0)
            if start == len(piece):
                return ""
        text = self._before + piece[start:]
        words, position = [], 0
        while (mark := text.find(_MARK, position)) >= 0:
            begun = mark + len(_MARK)
            words.append(text[position:begun])
            self._line = 0
            position = self._end_of_run(text, begun)
        words.append(text[position:])
        new = "".join(words)[len(self._before) :]
        self.count += len(new)
        self._in_base64 = position == len(text)
        self._before = text[max(position, len(text) - len(_MARK) + 1) :]
        return new

    def _end_of_run(self, text: str, start: int) -> int:
        at = start
        while True:
            end = _end(_RUN, text, at)
            self._line += end - at
            at = end
            if at == len(text):
                return at
            full = self._line >= _FULL_LINE
            if text[at] in " \t" and not self._line:
                at = _end(_BLANKS_OF_A_LINE, text, at)
            elif text[at] == "\n" and full:
                at, self._line = at + 1, 0
            elif text[at] == "\r" and full:
                at += 1
            else:
                return at


def extract_base64(text: str) -> tuple[str, list[str]]:
    """The text with a numbered placeholder for each run of base64 that is long or broken, and these runs."""
    text = text.replace(PLACEHOLDER_MARK, "")
    kept: list[str] = []
    runs: list[str] = []
    done = position = 0
    while (mark := text.find(_MARK, position)) >= 0:
        begun = mark + len(_MARK)
        position = _run_end(text, mark)
        if position - begun >= _LONG_RUN or text.find("\n", begun, position) >= 0:
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


def _run_end(text: str, mark: int) -> int:
    """Where the base64 behind a mark ends.

    Inside of brackets or quotation marks it may be broken by blanks anywhere; elsewhere by line breaks, where the
    lines are such as tools write.
    """
    begun = mark + len(_MARK)
    scheme = text.rfind("data:", max(0, mark - _HEAD), mark)
    before = text[max(0, scheme - _HEAD) : max(0, scheme)].rstrip(" \t\r\n<")
    if before.endswith(("(", '"', "'")):
        return _end(_ENCLOSED_RUN, text, begun)
    first = _end(_BLANKS_OF_A_LINE, text, begun)
    end = _end(_RUN, text, first)
    return _end(_MORE_LINES, text, end) if end - first >= _FULL_LINE else end


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    assert found is not None  # these patterns also match nothing
    return found.end()
