"""Rows for eyes: a plain table that lines up, and nothing else."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence


def render(rows: Sequence[Mapping[str, object]], columns: Sequence[str], *, right: frozenset[str] = frozenset()) -> str:
    """A table with a header line. ``right``: columns of numbers, aligned to the right. None is shown as ``-``."""
    cells = [[_text(row.get(column)) for column in columns] for row in rows]
    heads = [column.replace("_", " ") for column in columns]
    widths = [max(map(_width, column)) for column in zip(heads, *cells, strict=True)]
    lines = []
    for line in (heads, *cells):
        padded = (_pad(text, width, name in right) for text, width, name in zip(line, widths, columns, strict=True))
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _text(value: object) -> str:
    if value is None or value == "":
        return "-"
    text = str(value)
    return "".join(char if char.isprintable() else "?" for char in text)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
