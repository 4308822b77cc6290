"""The page on the sandbox names what the sandbox has."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.sandbox_config import KEY
from gateway.sandbox import SCENARIOS
from gateway.sandbox.faults.selection import SCENARIO_HEADER, SPECIAL_KEYS
from gateway.sandbox.tasks.pictures import PATHS
from gateway.sandbox.wire.answers import ROLES
from scripts.docs import scenarios
from scripts.docs.scenarios import Mismatch, scenarios_page

DOCS = Path(__file__).parents[2] / "docs"


def test_it_names_every_role_special_key_and_route() -> None:
    text = (DOCS / "sandbox.md").read_text(encoding="utf-8")
    for word in (*SPECIAL_KEYS, *(f"| `{role}` |" for role in ROLES), SCENARIO_HEADER.decode(), KEY, "x-sandbox: 1"):
        assert word in text, word
    for path in PATHS:
        assert path.removeprefix("/api/v1/images") in text, path


def test_every_scenario_and_parameter_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    page = scenarios_page()
    for name in SCENARIOS:
        assert f"\n| `{name}` | " in page
    monkeypatch.setattr(scenarios, "PARAMETERS", {**scenarios.PARAMETERS, "gone": "What is no more."})
    with pytest.raises(Mismatch, match="gone"):
        scenarios_page()


@pytest.mark.parametrize("page", ["quickstart.md", "failover.md", "scenarios.md"])
def test_those_who_begin_are_led_to_it(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert "(sandbox.md" in text or "(scenarios.md" in text
