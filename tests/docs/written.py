"""What the documentation says, in the pieces that tests look at: pages, code within lines, blocks of code, tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from scripts.docs.site_pages import site_files

ROOT = Path(__file__).parents[2]
HISTORY = ("CHANGELOG.md", "docs/decisions/")
"""Pages that may name what is no more."""

_SPAN = re.compile(r"(`+)(.+?)\1", re.DOTALL)
_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_CELL = re.compile(r"(?<!\\)\|")


@cache
def pages() -> dict[str, str]:
    """Path in the repository → text of every page of the site, but for history."""
    found = sorted(path for path in site_files(ROOT) if path.endswith(".md") and not path.startswith(HISTORY))
    return {path: (ROOT / path).read_text(encoding="utf-8") for path in found}


def blocks(text: str, *languages: str) -> Iterator[str]:
    """The blocks of code in one of ``languages``."""
    for block in _BLOCK.finditer(text):
        if block[1] in languages:
            yield block[2]


def spans(text: str) -> Iterator[str]:
    """The code within lines."""
    for span in _SPAN.finditer(_BLOCK.sub("", text)):
        yield span[2].strip()


def first_cells(text: str) -> Iterator[str]:
    """The code in the first cell of every row of every table."""
    for line in text.splitlines():
        if line.startswith("| `"):
            yield _CELL.split(line)[1].strip().strip("`")
