"""Every path and every link in the hand-written pages leads somewhere: code that moves takes its pages along."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PAGES = [
    *sorted(path.name for path in ROOT.glob("*.md")),
    *sorted(str(path.relative_to(ROOT)) for folder in ("docs", "deploy") for path in (ROOT / folder).rglob("*.md")),
]

HISTORY = ("CHANGELOG.md", "docs/decisions/")
"""Pages that speak of how things were."""

IN_CODE = re.compile(r"`([^`\n]+)`")
A_PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)*(?:\.(?:py|md|toml|txt|sh|sql|service|mjs|json)|/)|[\w-]+/[\w./-]+\.ya?ml")
ANOTHERS = frozenset({"images/"})
"""Folders that a gateway makes where it runs."""


def pages(*, history: bool) -> list[str]:
    return [page for page in PAGES if history or not page.startswith(HISTORY)]


@pytest.mark.parametrize("page", pages(history=False))
def test_every_path_exists(page: str) -> None:
    """A path is the repository's, the page's own folder's, or within ``gateway/``."""
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = {code for code in IN_CODE.findall(text) if A_PATH.fullmatch(code)} - ANOTHERS
    starts = (ROOT, ROOT / "gateway", (ROOT / page).parent)
    assert sorted(path for path in paths if not any((start / path).exists() for start in starts)) == []


@pytest.mark.parametrize("page", pages(history=True))
def test_every_link_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = {link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link}
    assert sorted(link for link in links if not ((ROOT / page).parent / link).exists()) == []
