"""The site's pages and links: what leads where, what is left out, and what the build refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from scripts.docs.site_links import Link, for_site, links, site_path
from scripts.docs.site_pages import NavigationError, expanded, gather, loaded_from_afar, named, site_files


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small repository."""
    root = tmp_path / "house"
    files = {
        "README.md": "# House\n[Money](docs/money.md#cents) [where](deploy/README.md) ![Lamp](deploy/lamp.png)\n",
        "deploy/README.md": "# Deploy\n[Rules](rules.yml) [up](../README.md) [choices](../docs/decisions/)\n",
        "deploy/rules.yml": "",
        "deploy/lamp.png": "png",
        "docs/money.md": "# Money\n[Home](../README.md), [settings](../config.yaml), [far](https://example.com)\n",
        "docs/decisions/001-first.md": "# First\n",
        "docs/decisions/002-second.md": "# Second\n",
        "config.yaml": "",
        "mkdocs.yml": "site_name: house\nnav: [index.md, money.md, deploy/index.md, {Why: decisions/*.md}]\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


class TestLinks:
    def test_those_in_code_are_none(self) -> None:
        text = "[a](b.md) `[c](d.md)`\n```\n[e](f.md)\n```\n~~~\n```\n[g](h.md)\n~~~\n![i](j.png#k) [`l`](m.md)"
        assert list(links(text)) == [
            Link("a", "b.md", "", False),
            Link("i", "j.png", "k", True),
            Link("`l`", "m.md", "", False),
        ]

    def test_a_folders_readme_is_its_index(self) -> None:
        paths = ("README.md", "docs/money.md", "deploy/grafana/README.md")
        assert [site_path(path) for path in paths] == ["index.md", "money.md", "deploy/grafana/index.md"]

    @pytest.mark.parametrize(
        ("page", "written", "in_site"),
        [
            ("README.md", "[Money](docs/money.md#cents)", "[Money](money.md#cents)"),
            ("README.md", "![Lamp](deploy/lamp.png)", "![Lamp](deploy/lamp.png)"),
            ("docs/money.md", "[Home](../README.md)", "[Home](index.md)"),
            ("docs/decisions/001-first.md", "[Money](../money.md)", "[Money](../money.md)"),
            ("deploy/README.md", "[choices](../docs/decisions/)", "[choices](../decisions/001-first.md)"),
            ("deploy/README.md", "[Rules](rules.yml)", "Rules"),
            ("docs/money.md", "[here](#cents)", "[here](#cents)"),
            ("docs/money.md", "[far](https://example.com/#x)", "[far](https://example.com/#x)"),
            ("docs/money.md", "[nowhere](lost.md)", "[nowhere](lost.md)"),
        ],
    )
    def test_each_leads_where_the_site_has_it(self, house: Path, page: str, written: str, in_site: str) -> None:
        assert for_site(page, written, house, site_files(house).__contains__) == in_site


class TestPages:
    def test_the_pages_are_gathered_with_what_they_show(self, house: Path, tmp_path: Path) -> None:
        config = gather(house, tmp_path)
        folder = tmp_path / "site-pages"
        assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
            "decisions/001-first.md",
            "decisions/002-second.md",
            "deploy/index.md",
            "deploy/lamp.png",
            "index.md",
            "money.md",
        ]
        assert "[Money](money.md#cents)" in (folder / "index.md").read_text(encoding="utf-8")
        nav = yaml.safe_load(config.read_text(encoding="utf-8"))["nav"]
        assert nav[-1] == {"Why": ["decisions/001-first.md", "decisions/002-second.md"]}

    def test_what_was_gathered_before_is_gone(self, house: Path, tmp_path: Path) -> None:
        gather(house, tmp_path)
        (house / "docs" / "decisions" / "002-second.md").unlink()
        gather(house, tmp_path)
        assert not (tmp_path / "site-pages" / "decisions" / "002-second.md").exists()

    def test_a_page_that_the_navigation_lacks_is_refused(self, house: Path, tmp_path: Path) -> None:
        (house / "docs" / "lost.md").write_text("# Lost\n", encoding="utf-8")
        with pytest.raises(NavigationError, match=r"lost\.md"):
            gather(house, tmp_path)

    def test_a_page_that_is_not_there_is_refused(self, house: Path, tmp_path: Path) -> None:
        (house / "docs" / "money.md").unlink()
        with pytest.raises(NavigationError, match=r"money\.md"):
            gather(house, tmp_path)

    def test_a_navigation_is_read_through_its_titles(self, tmp_path: Path) -> None:
        nav = [{"A": [{"B": "b.md"}, "c.md"]}, "d.md"]
        assert expanded(nav, tmp_path) == nav
        assert list(named(nav)) == ["b.md", "c.md", "d.md"]


@pytest.mark.parametrize(
    ("name", "text", "loaded"),
    [
        ("a.html", '<script src="https://unpkg.com/x.js"></script>', "https://unpkg.com/x.js"),
        ("a.html", '<link rel="stylesheet" href="//fonts.googleapis.com/css">', "//fonts.googleapis.com/css"),
        ("a.html", "<img alt=x src=http://example.com/x.png>", "http://example.com/x.png"),
        ("a.css", "body { background: url(https://example.com/x.png) }", "https://example.com/x.png"),
        ("a.css", '@import "https://example.com/x.css";', "https://example.com/x.css"),
        ("a.html", '<a href="https://piapi.ai">PiAPI</a><img src="lamp.png">', None),
        ("a.html", '<link rel="canonical" href="https://example.com/">', None),
    ],
)
def test_what_a_site_loads_from_another_host_is_found(tmp_path: Path, name: str, text: str, loaded: str | None) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert list(loaded_from_afar(tmp_path)) == ([f"{name} loads {loaded}"] if loaded else [])
