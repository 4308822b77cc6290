"""The site's pages, gathered in one folder with their links as the site has them, ready for its generator."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from scripts.docs.site_links import DOCS, PAGES, PICTURES, for_site, links, site_path, target_of

CONFIG = "mkdocs.yml"
FOLDER = "site-pages"

_LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\ssrc=[\"']?((?:https?:)?//[^\"'\s>]+)"
    r"|<link\b(?=[^>]*\srel=[\"']?(?:stylesheet|preconnect|preload|icon|modulepreload|dns-prefetch))[^>]*"
    r"\shref=[\"']?((?:https?:)?//[^\"'\s>]+)"
    r"|url\([\"']?((?:https?:)?//[^\"')]+)|@import\s+[\"']((?:https?:)?//[^\"']+)"
)


class NavigationError(Exception):
    """The navigation and the pages differ; the message says in what."""


def gather(root: Path, build: Path) -> Path:
    """Write the pages and the generator's configuration into ``build``; returns the configuration's path."""
    folder = build / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    sources = site_files(root)
    for source in sources:
        place = folder / site_path(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.endswith(".md"):
            text = (root / source).read_text(encoding="utf-8")
            place.write_text(for_site(source, text, root, sources.__contains__), encoding="utf-8")
        else:
            shutil.copyfile(root / source, place)
    config = yaml.safe_load((root / CONFIG).read_text(encoding="utf-8"))
    config["nav"] = expanded(config["nav"], folder)
    check_navigation(config["nav"], folder)
    written = build / CONFIG
    written.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return written


def site_files(root: Path) -> set[str]:
    """The files of the repository that the site has."""
    found = {path.relative_to(root).as_posix() for path in (root / DOCS).rglob("*") if path.is_file()}
    for page in PAGES:
        if (root / page).exists():
            found |= {page, *_pictures(root, page)}
    return found


def _pictures(root: Path, page: str) -> Iterator[str]:
    for link in links((root / page).read_text(encoding="utf-8")):
        target = target_of(page, link)
        if link.image and not link.external and PurePosixPath(target).suffix in PICTURES and (root / target).exists():
            yield target


def expanded(nav: Any, folder: Path) -> Any:
    """A navigation with each ``folder/*.md`` replaced by the pages it stands for, in the order of their names."""
    if isinstance(nav, dict):
        return {title: expanded(below, folder) for title, below in nav.items()}
    if isinstance(nav, list):
        return [expanded(entry, folder) for entry in nav]
    if "*" in nav:
        return [path.relative_to(folder).as_posix() for path in sorted(folder.glob(nav))]
    return nav


def check_navigation(nav: Any, folder: Path) -> None:
    """Raises NavigationError unless the navigation names every page of the site once and nothing else."""
    pages = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.md"))
    in_nav = sorted(named(nav))
    if pages != in_nav:
        missing = [page for page in pages if page not in in_nav]
        wrong = [page for page in in_nav if page not in pages or in_nav.count(page) > 1]
        raise NavigationError(
            f"the nav of {CONFIG} lacks {missing or 'nothing'}, and names {wrong or 'nothing'} wrongly"
        )


def named(nav: Any) -> Iterator[str]:
    """Every page that a navigation names."""
    if isinstance(nav, str):
        yield nav
        return
    for below in nav.values() if isinstance(nav, dict) else nav:
        yield from named(below)


def loaded_from_afar(site: Path) -> Iterator[str]:
    """What the built site would load from another host, a sentence each."""
    for path in sorted(site.rglob("*")):
        if path.suffix in (".html", ".css"):
            for found in _LOADED.finditer(path.read_text(encoding="utf-8")):
                yield f"{path.relative_to(site)} loads {next(filter(None, found.groups()))}"
