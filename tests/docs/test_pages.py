"""The pages themselves: up to date, long enough, in the site's navigation, and with links that lead somewhere."""

from __future__ import annotations

import re

import pytest
import yaml

from scripts.build_docs import PAGES, stale
from scripts.docs.markdown import anchor
from scripts.docs.site_links import links, site_path, target_of
from scripts.docs.site_pages import expanded, named, site_files

from .written import ROOT

FEWEST_WORDS = 80
EVERY = sorted(path for path in site_files(ROOT) if path.endswith(".md"))
HEADING = re.compile(r"^#+ (.+?)(?: #+)?$", re.MULTILINE)
PLACE = re.compile(r"<a (?:id|name)=\"([^\"]+)\"|\{ ?#([\w-]+) ?\}")


def anchors_of(path: str) -> set[str]:
    """The fragments by which a page's parts can be linked."""
    text = re.sub(r"^ *```.*?^ *```$", "", (ROOT / path).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = {anchor(heading) for heading in HEADING.findall(text)}
    return headings | {first or second for first, second in PLACE.findall(text)}


def test_no_page_is_out_of_step_with_the_code() -> None:
    assert [path.name for path in stale()] == [], "run python -m scripts.build_docs"


@pytest.mark.parametrize("path", [path for path in EVERY if path.startswith("docs/") and path.count("/") == 1])
def test_a_page_says_enough_to_be_a_page(path: str) -> None:
    assert len((ROOT / path).read_text(encoding="utf-8").split()) >= FEWEST_WORDS


@pytest.mark.parametrize("path", EVERY)
def test_every_link_leads_somewhere(path: str) -> None:
    for link in links((ROOT / path).read_text(encoding="utf-8")):
        if link.external:
            continue
        target = target_of(path, link)
        assert (ROOT / target).exists(), link.target
        if link.fragment and target.endswith(".md"):
            assert link.fragment in anchors_of(target), f"{link.target}#{link.fragment}"


def test_the_navigation_has_every_page_of_the_site() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    in_nav = list(named(expanded(nav, ROOT / "docs")))
    assert len(in_nav) == len(set(in_nav))
    assert {site_path(path) for path in EVERY} <= set(in_nav)


def test_what_is_written_from_the_code_says_so() -> None:
    for name in PAGES:
        assert "python -m scripts.build_docs" in (ROOT / "docs" / name).read_text(encoding="utf-8").splitlines()[2]
