"""The progress of gpt-4o-image, read from its text as it comes in.

Percentages come as ``> Progress 15%.``, ``> 进度 **34%**``, or bare and one a delta: ``>🏃 Progress 7....``, ``36..``,
``44..``. A bare number counts only after the word for progress, a percentage only in a quoted line or in reasoning. The
line's last number is often a link (``[100](…)``), whose address is full of meaningless numbers: an address ends the
reading of a line.
"""

from __future__ import annotations

import copy
import re
import string

# A run of these is read only when it has ended, so that no number and no word is cut in two.
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
    """Reads percentages from a text that comes in pieces, split anywhere. Takes time linear in the text, memory for one
    word.

    ``newest``: the last percentage (0 to 100) that was read; None before the first. A number counts once it has ended.
    ``thoughts``: the text is reasoning, in which every line may hold percentages.
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
        """``newest`` if the text ends here. The reader is not changed."""
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
