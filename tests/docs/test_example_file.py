"""``config.yaml`` shows every setting the schema knows, and loading it changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import Config, load
from gateway.core.types import Budget
from scripts.docs.configuration import ENVIRONMENT
from scripts.docs.schema_keys import SectionFacts, sections

from .certificates import make_certificates

EXAMPLE = Path(__file__).parents[2] / "config.yaml"

SETTING_OFF = re.compile(r"^( *)#(?=[^ #])", re.MULTILINE)
"""A setting that is switched off: a '#' right before a word, as the file's own head says."""


def switched_on() -> str:
    """The file with every setting in it in force."""
    return SETTING_OFF.sub(r"\1", EXAMPLE.read_text(encoding="utf-8"))


def shown(value: Any, section: SectionFacts, every: dict[str, SectionFacts]) -> Iterator[str]:
    """The paths of the schema that a section of the file uses."""
    keys = {key.name: key for key in section.keys}
    for name, inner in value.items():
        yield section.full(keys[name])
        below = keys[name].section
        if below is None or inner is None:
            continue
        entries = inner.values() if below.endswith(".NAME") else inner if below.endswith("[]") else [inner]
        for entry in entries:
            if isinstance(entry, dict):
                yield from shown(entry, every[below], every)


@pytest.mark.parametrize(
    "environ", [{}, {name: f"https://{name.lower()}" for name in ENVIRONMENT if "PEPPER" not in name}]
)
def test_loading_it_equals_the_built_in_defaults(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLE.parent)  # paths are relative to the file, or without one to the working directory
    assert replace(load(Path(EXAMPLE.name), environ), source=None) == load(None, environ)


def test_it_shows_every_setting_and_nothing_else() -> None:
    every = {section.path: section for section in sections()}
    known = {section.full(key) for section in every.values() for key in section.keys}
    assert set(shown(yaml.safe_load(switched_on()), every[""], every)) == known


def test_what_is_switched_off_is_right_as_well(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(switched_on(), encoding="utf-8")
    make_certificates(tmp_path)
    keys = {"PIAPI_API_KEY": "one", "PIAPI_API_KEY_2": "two", "BACKUP_API_KEY": "three"}
    config: Config = load(path, {**keys, "ALICE_KEY": "alice-has-a-long-virtual-key", "HOOK_SECRET": "a-secret"})
    assert [key.name for key in config.keys] == ["alice"]
    assert config.teams["growth"].budget == Budget(500_000_000_000, "month")
    assert [key.name for key in config.upstreams["piapi"].credentials] == ["key-1", "second"]
    (route,) = [route for route in config.declared if route.model == "gpt-4o-mini"]
    assert [target.upstream.name for target in route.targets] == ["backup", "piapi"]
