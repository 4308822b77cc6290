"""What a file with mistakes says in the settings that have none, for a command that looks at as much as it can."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import load, load_rest
from gateway.core.errors import ConfigError

ENVIRON = {"PIAPI_API_KEY": "piapi-key-one"}


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("mistake", "broken"),
    [
        ("drian: 30s", {"drian"}),
        ("limits: {in_flight: lots}", {"limits"}),
        ("upstreams: {piapi: {keys: ['${NOT_SET}']}}", {"upstreams"}),
        ("catalogue: ./absent.yaml", {"catalogue"}),
        ("workers: 2\nstore: postgresql://gateway:pass@localhost/books", {"workers", "shared_state", "catalogue"}),
        ("limits: {in_flight: 5, in_flight: 6}", {"limits"}),
        ("drain: 1s\ndrain: 2s", {"drain"}),
        ("listen: here\nproxy: nowhere", {"listen", "proxy"}),
        (
            "teams: {growth: {budget: lots}}\nkeys: [{name: a, team: growth, key: gw-a-0123456789abc}]",
            {"teams", "keys"},
        ),
    ],
)
def test_what_has_no_mistake_is_read(tmp_path: Path, mistake: str, broken: set[str]) -> None:
    path = written(tmp_path, f"{mistake}\ntime_zone: Europe/Berlin\n")
    with pytest.raises(ConfigError):
        load(path, ENVIRON)
    rest = load_rest(path, ENVIRON)
    assert rest is not None
    config, found = rest
    assert found <= broken | {"models"}
    assert found & broken
    assert str(config.time_zone) == "Europe/Berlin"
    assert config.source == path


@pytest.mark.parametrize("text", ["listen: [", "- a\n- b\n", "listen: \x01\n"])
def test_of_a_file_that_makes_no_sense_nothing_is(tmp_path: Path, text: str) -> None:
    assert load_rest(written(tmp_path, text), ENVIRON) is None
    assert load_rest(tmp_path / "absent.yaml", ENVIRON) is None


def test_a_file_without_mistakes_is_read_whole(tmp_path: Path) -> None:
    path = written(tmp_path, "drain: 5s\n")
    assert load_rest(path, ENVIRON) == (load(path, ENVIRON), frozenset())


def test_a_catalogue_of_ones_own_with_mistakes_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("models: {house: {targets: [{upstream: nowhere}]}}\n", encoding="utf-8")
    rest = load_rest(written(tmp_path, "catalogue: mine.yaml\ndrain: 5s\n"), ENVIRON)
    assert rest is not None
    assert rest[0].drain == 5.0
    assert "catalogue" in rest[1]
