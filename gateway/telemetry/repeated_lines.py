"""Lines that may come in floods: each is written while there are few of its kind; the rest of a minute is counted, and
the count is written. Nothing vanishes, and no client can drown the log by asking often.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Kind = tuple[str | int | None, ...]
"""What makes two lines the same to their reader."""

EACH = 100
"""Lines of one kind that are written in a minute, each by itself."""

TOGETHER = 1_000
"""Lines of all kinds that are written in a minute, each by itself."""

KINDS = 1_000
"""Kinds that are counted apart; what comes beyond is counted together, without saying what it was."""

MINUTE = 60.0

BEYOND: Kind = ()


class RepeatedLines:
    """``write``: writes a line from its fields. ``write_count``: writes how many of a kind were not written, with the
    fields of the last of them; without any for the kinds that there were too many of.

    ``monotonic``: seconds.
    """

    def __init__(
        self,
        write: Callable[[dict[str, Any]], None],
        write_count: Callable[[int, dict[str, Any]], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._write = write
        self._write_count = write_count
        self._monotonic = monotonic
        self._until = monotonic() + MINUTE
        self._written = 0
        self._seen: dict[Kind, int] = {}
        self._more: dict[Kind, tuple[int, dict[str, Any]]] = {}

    def tell(self, kind: Kind, fields: dict[str, Any]) -> None:
        """Write the line, or count it."""
        if self._monotonic() >= self._until:
            self._begin_minute()
        seen = self._seen.get(kind)
        if seen is None and len(self._seen) < KINDS:
            seen = 0
        if seen is not None and seen < EACH and self._written < TOGETHER:
            self._seen[kind] = seen + 1
            self._written += 1
            self._write(fields)
            return
        if kind not in self._more and len(self._more) >= KINDS:
            kind, fields = BEYOND, {}
        number = self._more[kind][0] if kind in self._more else 0
        self._more[kind] = number + 1, fields

    def write_counts(self) -> None:
        """Write what was only counted. To be called every few seconds, and at the end."""
        more, self._more = self._more, {}
        for number, fields in more.values():
            self._write_count(number, fields)

    def _begin_minute(self) -> None:
        self.write_counts()
        self._seen.clear()
        self._written = 0
        self._until = self._monotonic() + MINUTE
