"""How far gpt-4o-image is, told from its text while the text comes in.

Percents come as ``> Progress 15%.``, ``> 进度 **34%**``, or bare and one a delta: ``>🏃 Progress 7....``, ``36..``,
``44..``. A bare number counts only after the word for progress, a percent only in a quoted line or in thoughts. The
line's last number is often a link (``[100](…)``), whose address is full of numbers that mean nothing: with an address
a line is done.
"""

from __future__ import annotations

import copy
import re
import string

# A run of these is looked at only when it has ended, so that no number and no word is seen by halves.
_RUN = string.ascii_letters + string.digits + "/_进度"

_LINE_END = re.compile(r"[\r\n]")
_TOKEN = re.compile(
    r"""(?P<line>[\r\n])
      | (?P<quote>>)
      | (?P<address>(?<=\])\(|(?<![^\W\d_])[Hh]ttps?:)
      | (?P<word>(?<![^\W\d_])(?:[Pp]rogress|PROGRESS)(?![^\W\d_])|进度)
      | (?:(?<![\w/])|(?<=度))(?<![0-9]\.)(?P<number>[0-9]{1,3})(?![\w/])
      | (?P<other>(?:(?!进度)[^\W\d_])++|["'`{])
    """,
    re.VERBOSE,
)
_LONGEST_LOOK_BACK = 2


class ProgressReader:
    """Fed with the text by any split. Takes time in proportion to the text, and memory for one word.

    ``newest``: the last percent (0 to 100) that was told, None before the first. A number counts once it has ended.
    ``thoughts``: the text is reasoning, of which every line may tell percents.
    """

    __slots__ = ("_before", "_done", "_held", "_named", "_quoted", "_thoughts", "newest")

    def __init__(self, *, thoughts: bool = False) -> None:
        self.newest: int | None = None
        self._thoughts = thoughts
        self._held: list[str] = []
        self._before = ""
        self._begin_line()

    def feed(self, piece: str) -> None:
        """Take the next piece."""
        if self._done:
            end = _LINE_END.search(piece)
            if end is None:
                return
            piece = piece[end.start() :]
        stem = piece.rstrip(_RUN)
        if not stem:
            self._held.append(piece)
            return
        text = "".join((self._before, *self._held, stem))
        self._scan(text, len(self._before))
        self._before = text[-_LONGEST_LOOK_BACK:]
        self._held = [] if self._done else [piece[len(stem) :]]

    def at_end(self) -> int | None:
        """``newest`` if nothing more comes. The reader stays as it is."""
        ended = copy.copy(self)
        ended.feed("\n")
        return ended.newest

    def _begin_line(self) -> None:
        self._quoted = self._thoughts
        self._named = False  # the word for progress has come
        self._done = False  # nothing of this line matters any more

    def _scan(self, text: str, position: int) -> None:
        while (token := (_LINE_END if self._done else _TOKEN).search(text, position)) is not None:
            position = token.end()
            if self._done or token.lastgroup == "line":
                self._begin_line()
            elif token.lastgroup == "quote":
                self._quoted = True
            elif token.lastgroup == "word":
                self._named = True
            elif token.lastgroup == "number":
                percent = int(token["number"])
                if percent <= 100 and (self._named or (self._quoted and text.startswith("%", position))):
                    self.newest = percent
            elif token.lastgroup == "address" or not (self._quoted or self._named):
                self._done = True
