"""The scrape configuration, the rules and the alerts, by Prometheus's own tool."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.dashboards.prometheus import DEPLOY, rehearsal_config

FOLDER = DEPLOY / "prometheus"
UNIT_TESTS = sorted((FOLDER / "tests").glob("*.yml"))
RULES = sorted((FOLDER / "rules").glob("*.yml"))

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is not installed: NO RULE OR ALERT WAS TRIED. On Debian it comes with the package prometheus",
)


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=100)


def _groups() -> list[dict[str, Any]]:
    return [group for path in RULES for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]]


def _anchor(title: str) -> str:
    """As sites and repositories make it of a title."""
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def rules(kind: str) -> dict[str, dict[str, Any]]:
    """Name → rule, of one kind (``alert``, ``record``)."""
    documents = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in RULES]
    found = [rule for document in documents for group in document["groups"] for rule in group["rules"] if kind in rule]
    return {rule[kind]: rule for rule in found}


@needs_promtool
class TestByPromtool:
    def test_the_configuration_is_valid(self) -> None:
        done = promtool("check", "config", "--lint-fatal", FOLDER / "prometheus.yml")
        assert done.returncode == 0, done.stdout + done.stderr

    def test_the_rehearsals_configuration_differs_in_rhythm_and_target_only(self, tmp_path: Path) -> None:
        path = tmp_path / "prometheus.yml"
        path.write_text(rehearsal_config("http://127.0.0.1:1/metrics"), encoding="utf-8")
        assert promtool("check", "config", path).returncode == 0
        real = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
        rehearsed = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert rehearsed.keys() == real.keys()
        assert [job["job_name"] for job in rehearsed["scrape_configs"]] == ["piapi-gateway"]

    @pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
    def test_the_rules_do_what_their_unit_tests_say(self, path: Path) -> None:
        done = promtool("test", "rules", path)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_a_wrong_expectation_fails(self, tmp_path: Path) -> None:
        text = (FOLDER / "tests" / "service.yml").read_text(encoding="utf-8")
        wrong = text.replace("Every endpoint of piapi is out", "All is well").replace("../rules", f"{FOLDER}/rules")
        assert wrong != text
        path = tmp_path / "wrong.yml"
        path.write_text(wrong, encoding="utf-8")
        done = promtool("test", "rules", path)
        assert done.returncode != 0
        assert "GatewayUpstreamOut" in done.stdout + done.stderr


class TestAlerts:
    def test_are_these(self) -> None:
        assert set(rules("alert")) == {
            "GatewayBudgetAlmostUsed",
            "GatewayBudgetUsedUp",
            "GatewayBudgetRefuses",
            "GatewaySpendSpike",
            "GatewaySpendWithoutPrice",
            "GatewayLedgerPendingGrowing",
            "GatewayMissing",
            "GatewayAdminGuessed",
            "GatewayErrorRatio",
            "GatewayUpstreamOut",
            "GatewayUpstreamKeyDead",
            "GatewayStoreDown",
            "GatewaySharedStateDown",
            "GatewayUnreachable",
            "GatewaySpillWaits",
            "GatewayVersionsDiffer",
        }

    @pytest.mark.parametrize("name", rules("alert"))
    def test_say_how_bad_it_is_and_what_to_do(self, name: str) -> None:
        alert = rules("alert")[name]
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert set(alert["annotations"]) - {"runbook"} == {"summary", "description"}

    def test_of_the_fleet_name_the_page_with_what_to_do(self) -> None:
        named = {name: rule["annotations"].get("runbook") for name, rule in rules("alert").items()}
        fleet = next(group for group in _groups() if group["name"] == "piapi-gateway-fleet")
        assert {name for name, runbook in named.items() if runbook} == {rule["alert"] for rule in fleet["rules"]}
        for runbook in filter(None, named.values()):
            page, _, anchor = runbook.partition("#")
            text = (DEPLOY.parent / page).read_text(encoding="utf-8")
            assert anchor in {_anchor(title) for title in re.findall(r"^##+ (.+)$", text, re.MULTILINE)}, runbook

    @pytest.mark.parametrize("name", rules("alert"))
    def test_have_unit_tests_in_which_they_fire_and_in_which_they_do_not(self, name: str) -> None:
        documents = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in UNIT_TESTS]
        expected = [
            bool(case["exp_alerts"])
            for document in documents
            for test in document["tests"]
            for case in test.get("alert_rule_test", ())
            if case["alertname"] == name
        ]
        assert set(expected) == {True, False}

    @pytest.mark.parametrize("name", rules("alert"))
    def test_are_in_the_readme(self, name: str) -> None:
        assert f"`{name}`" in (FOLDER / "README.md").read_text(encoding="utf-8")
