"""What is shown: a line of progress on a terminal, a table at the end."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MOST_PROBLEMS = 20
"""How many problems are printed."""


@dataclass
class Report:
    """How a run ended. ``figures``: the table. ``problems``: one sentence each; none means that all is well."""

    title: str
    figures: Mapping[str, str]
    problems: Sequence[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def text(self) -> str:
        width = max(map(len, self.figures), default=0)
        lines = [self.title, *(f"  {name.ljust(width)}  {value}" for name, value in self.figures.items())]
        lines += [f"  WRONG: {problem}" for problem in self.problems[:MOST_PROBLEMS]]
        if len(self.problems) > MOST_PROBLEMS:
            lines.append(f"  WRONG: {len(self.problems) - MOST_PROBLEMS} more")
        return "\n".join([*lines, f"  {'ok' if self.ok else 'FAILED'}"])


def progress(what: str) -> None:
    """Replace the terminal's last line, if there is a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)
