"""The models of a key of the file: a list of those it may use, budgets for some, or both."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import load
from gateway.core.errors import ConfigError
from gateway.core.types import Budget, VirtualKey

FIVE, ONE = Budget(5_000_000_000, "day"), Budget(1_000_000_000, "week")


def key(tmp_path: Path, fields: str) -> VirtualKey:
    path = tmp_path / "config.yaml"
    path.write_text(f"keys: [{{name: alice, key: gw-alice-0123456789, {fields}}}]")
    [found] = load(path, {"LIMIT": "5/day"}).keys
    return found


@pytest.mark.parametrize(
    ("written", "models", "budgets"),
    [
        ('["gpt-4o*", "flux-*"]', ("gpt-4o*", "flux-*"), ()),
        ('{"gpt-4o*": 5/day, o3: 1/week}', ("*",), (("gpt-4o*", FIVE), ("o3", ONE))),
        ('["flux-*", {"gpt-4o*": 5/day}]', ("flux-*", "gpt-4o*"), (("gpt-4o*", FIVE),)),
        ('["*", {"gpt-4o*": 5/day}]', ("*",), (("gpt-4o*", FIVE),)),
        ('{"*": 5/day}', ("*",), (("*", FIVE),)),
        ('{"gpt-4o": "${LIMIT}"}', ("*",), (("gpt-4o", FIVE),)),
    ],
)
def test_a_mapping_forbids_nothing_and_a_list_all_else(
    tmp_path: Path, written: str, models: tuple[str, ...], budgets: tuple[tuple[str, Budget], ...]
):
    found = key(tmp_path, f"models: {written}")
    assert (found.models, found.model_budgets) == (models, budgets)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("models: {gpt-4o: 5}", "models.gpt-4o: expected AMOUNT/day, /week, /month or /total"),
        ('models: {"g*o": 5/day}', "models.g*o: '*' may only end a model's name"),
        ("models: [a b, {gpt-4o: 5/year}]", "models[1].gpt-4o: expected AMOUNT/day"),
        ("models: [a, {b: 1/day, c: 2/day}]", "models[1]: expected one model and its budget"),
        ("models: [{a: 1/day}, {a: 2/day}]", "models: a model has two budgets"),
        ("models: {}", "models: expected at least one entry"),
        ("models: gpt-4o", "models: expected a list of models"),
        ("alert: 120", "alert: expected a percentage from 1 to 100"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, written: str, problem: str):
    with pytest.raises(ConfigError) as refused:
        key(tmp_path, written)
    assert any(f"keys[0].{problem}" in line for line in refused.value.problems)


@pytest.mark.parametrize(("written", "warned"), [("alert: 80", True), ("alert: 80, budget: 5/day", False)])
def test_an_alert_without_a_budget_is_probably_a_mistake(tmp_path: Path, written: str, warned: bool):
    path = tmp_path / "config.yaml"
    path.write_text(
        f"keys: [{{name: alice, key: gw-alice-0123456789, {written}}}]\nteams: {{t: {{alert: 5, budget: 1/day}}}}"
    )
    config = load(path, {"PIAPI_API_KEY": "x", "BACKUP_API_KEY": "y"})
    assert any("has an alert and no budget" in warning for warning in config.warnings) == warned
    assert config.teams["t"].alert == (5,)
