"""Lines about what an attacker may repeat: one a minute for each kind, with how often it was.

The first is written at once; what follows within a minute is one line at its end. Nothing vanishes, and however often
something happens, its kind takes a line a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Kind = tuple[str | int | None, ...]
"""What makes two lines the same to their reader."""

KINDS = 1_000
"""Kinds that are counted apart; what comes beyond is counted together, without saying what it was."""

MINUTE = 60.0

BEYOND: Kind = ()


class MinuteLines:
    """``write``: writes a line: how many it stands for, and the fields of the last of them; no fields for the kinds
    that there were too many of. ``monotonic``: seconds.
    """

    def __init__(self, write: Callable[[int, dict[str, Any]], None], monotonic: Callable[[], float]) -> None:
        self._write = write
        self._monotonic = monotonic
        self._until: dict[Kind, float] = {}
        self._more: dict[Kind, tuple[int, dict[str, Any]]] = {}

    def tell(self, kind: Kind, fields: dict[str, Any]) -> None:
        """Write the line, or count it."""
        if kind not in self._until and len(self._until) >= KINDS:
            kind, fields = BEYOND, {}
        if kind in self._until:
            number = self._more[kind][0] if kind in self._more else 0
            self._more[kind] = number + 1, fields
            return
        self._until[kind] = self._monotonic() + MINUTE
        self._write(1, fields)

    def write_counts(self, *, all_: bool = False) -> None:
        """Write what was counted in minutes that are over, or ``all_``. To be called every few seconds, and at the
        end.
        """
        now = self._monotonic()
        for kind, until in list(self._until.items()):
            if until > now and not all_:
                continue
            if kind not in self._more:
                del self._until[kind]
                continue
            self._until[kind] = now + MINUTE
            self._write(*self._more.pop(kind))
