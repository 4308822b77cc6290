"""Where the repository's files lie in the documentation's site, and what becomes of the links between them.

The site is docs/ and a few pages from elsewhere. Links are written for the repository, where GitHub and editors follow
them; in the site they lead to the same pages. A link to a file that the site does not have keeps its words only.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = "docs/"
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "deploy/README.md",
    "deploy/helm/piapi-gateway/README.md",
    "deploy/systemd/README.md",
    "deploy/prometheus/README.md",
    "deploy/grafana/README.md",
)
"""The pages from outside docs/ that the site has too, where they exist."""

RENAMED = {"SECURITY.md": "reporting.md"}
"""Pages whose place in the site has another name: it has a security.md, too, and some disks know no upper case."""

PICTURES = frozenset({".png", ".svg", ".jpg", ".webp"})

_LINK = re.compile(r"(?P<mark>!?)\[(?P<words>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^()\s]+)\)")
_CODE = re.compile(r"(`+)(?:(?!\1).)+\1")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_EXTERNAL = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Link:
    """A link or an image of a page. ``target``: as written, without its fragment."""

    words: str
    target: str
    fragment: str
    image: bool

    @property
    def external(self) -> bool:
        return _EXTERNAL.match(self.target) is not None


def site_path(path: str) -> str:
    """A file of the repository → its place in the site, if the site has it. A folder's README.md is its index."""
    place = RENAMED.get(path) or path.removeprefix(DOCS)
    return place.removesuffix("README.md") + "index.md" if place.endswith("README.md") else place


def target_of(page: str, link: Link) -> str:
    """The path in the repository that a link of ``page`` (a path, too) leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link.target)) if link.target else page


def links(markdown: str) -> Iterator[Link]:
    """Every link and image of a page, outside its code."""
    found: list[Link] = []

    def take(link: Link) -> None:
        found.append(link)

    rewrite(markdown, take)
    yield from found


def rewrite(markdown: str, change: Callable[[Link], str | None]) -> str:
    """The page with every link that ``change`` gives another text for replaced by it."""
    lines = []
    fence = ""
    for line in markdown.split("\n"):
        if (mark := _FENCE.match(line)) and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        lines.append(line if fence or mark else _rewritten(line, change))
    return "\n".join(lines)


def _rewritten(line: str, change: Callable[[Link], str | None]) -> str:
    code = [match.span() for match in _CODE.finditer(line)]

    def replaced(match: re.Match[str]) -> str:
        # A link whose words hold code is a link; one inside code is not.
        if any(start < match.start() and match.end() < end for start, end in code):
            return match[0]
        target, _, fragment = match["target"].partition("#")
        return change(Link(match["words"], target, fragment, match["mark"] == "!")) or match[0]

    return _LINK.sub(replaced, line)


def for_site(page: str, markdown: str, root: Path, in_site: Callable[[str], bool]) -> str:
    """A page of the repository as the site has it. ``in_site``: whether the site has a file of the repository.

    A link to what is nowhere stays as it is, so that the site's builder complains of it.
    """

    def change(link: Link) -> str | None:
        if link.external:
            return None
        target = target_of(page, link)
        if (root / target).is_dir():
            target = _first_page(root, target)
        if in_site(target):
            place = posixpath.relpath(site_path(target), posixpath.dirname(site_path(page)) or ".")
            fragment = f"#{link.fragment}" if link.fragment else ""
            return f"{'!' if link.image else ''}[{link.words}]({place if link.target else ''}{fragment})"
        return link.words if (root / target).exists() else None

    return rewrite(markdown, change)


def _first_page(root: Path, folder: str) -> str:
    """What a link to a folder leads to: its README.md, else its first page."""
    pages = sorted((root / folder).glob("*.md"), key=lambda path: (path.name != "README.md", path.name))
    return pages[0].relative_to(root).as_posix() if pages else folder
