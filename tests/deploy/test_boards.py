"""The dashboards as files: valid for Grafana, in step with their description, and honest about what they filter."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from scripts.build_dashboards import stale, written
from scripts.dashboards.board import SCHEMA_VERSION, TAG
from scripts.dashboards.prometheus import DEPLOY
from scripts.dashboards.promql import FILTERS, METRICS
from scripts.dashboards.queries import View, dashboards, filled_in, legend_labels, panels, variables

from .conftest import Recorded

BOARDS = dashboards()
SHOWN = {
    "spend": (
        "Today",
        "This month",
        "Forecast",
        "Left of the budget, by key",
        "by team",
        "By model",
        "By upstream",
        "Spend without",
    ),
    "traffic": ("Requests, by", "Share of errors", "Latency", "Time to first token", "Overhead"),
    "upstreams": ("Availability", "Failovers, by reason", "524s", "Cooldowns", "Suspected duplicates"),
    "images": ("Pictures, by model", "Wait", "by reason"),
}
WINDOWS = dict(View(0, 3600, 60, 60).windows())

AST_CHILDREN = ("expr", "lhs", "rhs", "args", "vector_selector", "param")


def selectors(node: Any) -> Iterator[Any]:
    """The vector selectors of a parsed query."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in AST_CHILDREN:
        child = getattr(node, name, None)
        for one in child if isinstance(child, list | tuple) else (child,):
            if type(one).__module__ == type(node).__module__ and one is not None and not isinstance(one, str):
                yield from selectors(one)


def queries() -> Iterator[tuple[str, str, str, str]]:
    """Dashboard, panel, expression with its windows filled in, legend."""
    for name, dashboard in BOARDS.items():
        kept = {variable: f"${variable}" for variable in variables(dashboard)}
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield name, panel["title"], filled_in(target["expr"], {**WINDOWS, **kept}), target["legendFormat"]


QUERIES = [pytest.param(*query, id=f"{query[0]}: {query[1]} {place}") for place, query in enumerate(queries())]


class TestFiles:
    def test_are_in_step_with_their_description(self) -> None:
        assert stale() == []

    def test_one_that_is_not_is_noticed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("scripts.build_dashboards.FOLDER", tmp_path)
        for path, text in written().items():
            path.write_text(text, encoding="utf-8")
        assert stale() == []
        (tmp_path / "spend.json").write_text("{}", encoding="utf-8")
        (tmp_path / "leftover.json").write_text("{}", encoding="utf-8")
        assert stale() == [tmp_path / "leftover.json", tmp_path / "spend.json"]

    @pytest.mark.parametrize("name", BOARDS)
    def test_grafanas_own_schema_keeps_every_field(self, name: str) -> None:
        register_default_plugins()
        read = json.loads(json.dumps(Dashboard.from_json(BOARDS[name]), cls=JSONEncoder))
        assert list(lost(BOARDS[name], read)) == []

    def test_a_field_that_the_schema_does_not_know_is_noticed(self) -> None:
        register_default_plugins()
        board = {**BOARDS["spend"], "sceduled": True}
        read = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
        assert list(lost(board, read)) == ["/sceduled"]


class TestDashboards:
    def test_are_the_four(self) -> None:
        assert set(BOARDS) == set(SHOWN)
        assert {board["uid"] for board in BOARDS.values()} == {f"piapi-gateway-{name}" for name in SHOWN}
        assert {board["schemaVersion"] for board in BOARDS.values()} == {SCHEMA_VERSION}

    @pytest.mark.parametrize("name", BOARDS)
    def test_show_what_they_are_for(self, name: str) -> None:
        titles = [panel["title"] for panel in panels(BOARDS[name])]
        assert len(set(titles)) == len(titles)
        for wanted in SHOWN[name]:
            assert any(wanted in title for title in titles), wanted

    @pytest.mark.parametrize("name", BOARDS)
    def test_link_to_one_another_and_take_the_choice_along(self, name: str) -> None:
        board = BOARDS[name]
        assert board["tags"] == [TAG]
        [link] = board["links"]
        assert (link["type"], link["tags"], link["includeVars"], link["keepTime"]) == ("dashboards", [TAG], True, True)

    @pytest.mark.parametrize("name", BOARDS)
    def test_let_the_user_choose_the_data_source(self, name: str) -> None:
        board = BOARDS[name]
        assert board["templating"]["list"][0]["type"] == "datasource"
        for panel in panels(board):
            assert panel["datasource"]["uid"] == "${datasource}"
            assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])

    @pytest.mark.parametrize("name", BOARDS)
    def test_have_no_variable_that_does_nothing(self, name: str) -> None:
        text = " ".join(target["expr"] for panel in panels(BOARDS[name]) for target in panel["targets"])
        for variable in variables(BOARDS[name]):
            assert f'"${variable}"' in text

    def test_offer_key_team_model_and_upstream(self) -> None:
        for name in ("spend", "traffic", "images"):
            assert set(variables(BOARDS[name])) == {"key", "team", "model", "upstream"}
        assert set(variables(BOARDS["upstreams"])) == {"model", "upstream"}

    @pytest.mark.parametrize("name", BOARDS)
    def test_panels_neither_overlap_nor_leave_the_grid(self, name: str) -> None:
        taken: set[tuple[int, int]] = set()
        for panel in BOARDS[name]["panels"]:
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= 24
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, panel["title"]
            taken |= cells
        numbers = [panel["id"] for panel in BOARDS[name]["panels"]]
        assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(("board", "title", "expression", "legend"), QUERIES)
class TestQueries:
    def test_are_promql(self, board: str, title: str, expression: str, legend: str) -> None:
        promql_parser.parse(expression)

    def test_are_filtered_by_every_variable_they_can_be(
        self, board: str, title: str, expression: str, legend: str
    ) -> None:
        for selector in selectors(promql_parser.parse(expression)):
            if selector.name in METRICS:
                matchers = {(matcher.name, matcher.value) for matcher in selector.matchers.matchers}
                wanted = {(label, f"${FILTERS[label]}") for label in METRICS[selector.name] if label in FILTERS}
                assert wanted <= matchers, selector.name

    def test_name_no_scrape_target(self, board: str, title: str, expression: str, legend: str) -> None:
        assert not re.search(r"\b(job|instance)\b", expression + legend)

    def test_use_only_labels_that_their_metrics_have(
        self, board: str, title: str, expression: str, legend: str
    ) -> None:
        for selector in selectors(promql_parser.parse(expression)):
            if selector.name in METRICS:
                assert {matcher.name for matcher in selector.matchers.matchers} <= set(METRICS[selector.name])
        known = {label for labels in METRICS.values() for label in labels}
        assert set(legend_labels(legend)) <= known


class TestMetrics:
    """What deploy/ and the dashboards call metrics, against what a gateway exposes."""

    def test_the_table_of_labels_is_the_gateways(self, recorded: Recorded) -> None:
        seen: dict[str, set[str]] = {}
        for name, labels, _ in recorded.figures.samples:
            seen.setdefault(name, set()).update(labels)
        assert {name: seen.get(name) for name in METRICS} == {name: set(labels) for name, labels in METRICS.items()}

    def test_every_metric_named_in_deploy_exists(self, recorded: Recorded) -> None:
        exposed = set(re.findall(r"^# TYPE (\S+) ", recorded.metrics, re.MULTILINE))
        assert sorted(name for name in named_metrics() if base(name, exposed) not in exposed) == []

    def test_what_rules_record_is_used_and_what_is_used_is_recorded(self) -> None:
        recording = yaml.safe_load((DEPLOY / "prometheus/rules/recording.yml").read_text(encoding="utf-8"))
        recorded = [rule["record"] for group in recording["groups"] for rule in group["rules"]]
        expressions = [expression for _, _, expression, _ in queries()]
        expressions += [
            query["query"]["query"] for board in BOARDS.values() for query in board["templating"]["list"][1:]
        ]
        for rules in (DEPLOY / "prometheus" / "rules").glob("*.yml"):
            document = yaml.safe_load(rules.read_text(encoding="utf-8"))
            expressions += [rule["expr"] for group in document["groups"] for rule in group["rules"]]
        used = {name for text in expressions for name in re.findall(r"gateway:[a-z0-9_:]+", text)}
        assert used == set(recorded)


def lost(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """Where ``after`` lacks or changes something of ``before``; what it adds is its defaults."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name, value in before.items():
            if name not in after:
                yield f"{place}/{name}"
            else:
                yield from lost(value, after[name], f"{place}/{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{place}/{number}")
    elif before != after:
        yield place


def named_metrics() -> set[str]:
    """Whatever looks like a metric of ours in any file of deploy/."""
    files = [path for path in DEPLOY.rglob("*") if path.suffix in (".json", ".yml", ".yaml", ".md")]
    texts = [path.read_text(encoding="utf-8") for path in files]
    return {name for text in texts for name in re.findall(r"\bgateway_[a-z_]+(?<!_)\b", text)}


def base(name: str, exposed: set[str]) -> str:
    """A histogram's name without what its samples are called by."""
    plain = re.sub(r"_(bucket|sum|count)$", "", name)
    return plain if plain in exposed else name
