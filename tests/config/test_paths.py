"""Relative paths of a configuration: beside the file, and what becomes of a store at the place before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from gateway.config import Config, load, misplaced_store
from gateway.config.paths import folder_of


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    folder = tmp_path / "etc"
    folder.mkdir()
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def configured(etc: Path, text: str = "") -> Config:
    file = etc / "x.yaml"
    file.write_text(text)
    return load(file, {})


@pytest.mark.parametrize(
    ("text", "store", "images"),
    [
        ("", "gateway.db", "images"),
        ("store: sqlite:///books.db\nimages: {dir: kept}", "books.db", "kept"),
        ("store: sqlite:///./data/../books.db\nimages: {dir: ./a/b}", "data/../books.db", "a/b"),
        ("store: sqlite:///../up.db\nimages: {dir: ../kept}", "../up.db", "../kept"),
    ],
)
def test_relative_paths_are_relative_to_the_file_defaults_too(
    etc: Path, elsewhere: Path, text: str, store: str, images: str
) -> None:
    config = configured(etc, text)
    assert (config.sqlite_path, config.images.dir) == (etc / store, etc / images)


def test_absolute_paths_and_homes_stay(etc: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    config = configured(etc, "store: sqlite:////srv/gateway.db\nimages: {dir: /srv/images}")
    assert (config.store, str(config.images.dir)) == ("sqlite:////srv/gateway.db", "/srv/images")
    config = configured(etc, "store: sqlite:///~/gateway.db\nimages: {dir: ~/images}")
    assert (config.store, str(config.images.dir)) == ("sqlite:////home/alice/gateway.db", "/home/alice/images")
    config = configured(etc, "store: sqlite:///~nobody-known/gateway.db")
    assert config.sqlite_path == etc / "~nobody-known/gateway.db"


def test_without_a_file_and_for_one_that_was_handed_open_it_is_the_working_directory(
    etc: Path, elsewhere: Path
) -> None:
    config = load(None, {})
    assert (config.sqlite_path, config.images.dir) == (Path("gateway.db"), Path("images"))
    assert misplaced_store(config) == ""
    assert (
        folder_of(Path("/dev/stdin")) == folder_of(Path("/dev/fd/63")) == folder_of(Path("/proc/self/fd/0")) == Path()
    )
    os.mkfifo(etc / "pipe")
    assert folder_of(etc / "pipe") == Path()


def test_another_store_than_sqlites_stays_as_it_is(etc: Path) -> None:
    assert configured(etc, "store: postgresql://u:p@h/d").store == "postgresql://u:p@h/d"


def test_a_link_to_the_file_counts_where_it_lies(etc: Path, elsewhere: Path) -> None:
    (etc / "real.yaml").touch()
    link = elsewhere / "config.yaml"
    link.symlink_to(etc / "real.yaml")
    assert load(link, {}).sqlite_path == elsewhere / "gateway.db"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "gateway.db"),
        ("store: sqlite:///books.db", "books.db"),
        ("store: sqlite:///data/books.db", "data/books.db"),
        ("store: 'sqlite:///my books #1 ${X:-y}.db'", "my books #1 y.db"),
    ],
)
def test_a_store_in_the_working_directory_is_not_passed_over(etc: Path, elsewhere: Path, text: str, name: str) -> None:
    old = elsewhere / name
    old.parent.mkdir(exist_ok=True)
    old.write_bytes(b"books")
    config = configured(etc, text)
    sentence = misplaced_store(config)
    assert str(old) in sentence
    assert str(etc / name) in sentence
    line = sentence.splitlines()[-1]
    written = configured(etc, line)  # as the sentence says
    assert written.sqlite_path == old
    assert misplaced_store(written) == ""


def test_the_line_can_be_pasted_whatever_the_folder_is_called(
    tmp_path: Path, etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("it's: a #folder", '"quoted"', "${HOME}", "{a}", "ein Ordner", "ümlaut", "- dash", "a,b"):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        (folder / "gateway.db").touch()
        line = misplaced_store(configured(etc)).splitlines()[-1]
        assert configured(etc, line).sqlite_path == folder / "gateway.db", yaml.safe_load(line)


def test_nothing_is_refused_where_nothing_could_be_overlooked(etc: Path, elsewhere: Path) -> None:
    assert misplaced_store(configured(etc)) == "", "there is none at either place"
    (elsewhere / "gateway.db").mkdir()
    assert misplaced_store(configured(etc)) == "", "a folder is no store"
    (elsewhere / "gateway.db").rmdir()
    (elsewhere / "gateway.db").touch()
    assert misplaced_store(configured(etc, "store: sqlite:////srv/x/gateway.db")) == "", "an absolute path never moved"
    assert misplaced_store(configured(elsewhere)) == "", "the file lies in the working directory"
    (etc / "gateway.db").touch()
    assert misplaced_store(configured(etc)) == "", "there is one at the new place"


def test_a_link_from_the_new_place_to_the_old_one_is_one_store(etc: Path, elsewhere: Path) -> None:
    (elsewhere / "gateway.db").touch()
    (etc / "gateway.db").symlink_to(elsewhere / "gateway.db")
    assert misplaced_store(configured(etc)) == ""
