"""Positions in a file, and the list of everything that is wrong with it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Set
from dataclasses import dataclass

Location = tuple[str | int, ...]
"""The path of a value from the root: mapping keys and list indexes."""

_BARE_KEY = re.compile(r'[^\s"\[\]]+')


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A position in a file. Line and column count from 1, as editors do.

    ``line``: 0 for what is in no file but on the command line: ``file`` is the option then.
    """

    file: str
    line: int = 1
    column: int = 1


class Problems:
    """A collection of problems. Its lines are sorted by position, each one once."""

    def __init__(self) -> None:
        self._found: dict[tuple[Position, str], str] = {}  # and the setting that it is in

    @property
    def settings(self) -> frozenset[str]:
        """Those at the top of the file that they are in; an empty one for a problem of the whole file."""
        return frozenset(self._found.values())

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, position: Position, location: Location, message: str) -> None:
        """Add a problem.

        ``message``: says what a valid value is; it never quotes a value that may be a secret.
        """
        path = path_text(location)
        self._found[position, f"{path}: {message}" if path else message] = str(location[0]) if location else ""

    def forget(self, settings: Set[str]) -> None:
        """Forget the problems in these settings."""
        self._found = {found: setting for found, setting in self._found.items() if setting not in settings}

    def known_at(self, position: Position) -> bool:
        """Whether there is a problem at exactly this position."""
        return any(found == position for found, _ in self._found)

    def lines(self) -> list[str]:
        """``file:line:column: path: message``, one line each."""
        return [f"{_place(position)}: {one_line(text)}" for position, text in sorted(self._found)]


def _place(position: Position) -> str:
    file = one_line(position.file)
    return f"{file}:{position.line}:{position.column}" if position.line else file


def path_text(location: Location) -> str:
    """``('upstreams', 'piapi', 'endpoints', 0, 'url')`` → ``upstreams.piapi.endpoints[0].url``."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
            continue
        shown = step if _BARE_KEY.fullmatch(step) else f'"{step}"'
        path += f".{shown}" if path else shown
    return path


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known here: {', '.join(names)}" if names else "there is none"


def one_line(text: str) -> str:
    """``text`` with every character escaped that could break or colour a terminal's line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
