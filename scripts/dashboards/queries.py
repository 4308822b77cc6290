"""The dashboards as Grafana would run them: JSON → queries with every variable filled in → answers of a Prometheus."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scripts.dashboards.prometheus import DEPLOY, Labels, Prometheus, QueryRefused, Series

FOLDER = DEPLOY / "grafana" / "dashboards"

_LABEL = re.compile(r"\{\{\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*\}\}")
_LABEL_VALUES = re.compile(r"label_values\(([^,]+), *([a-zA-Z_]+)\)")
_VARIABLE = re.compile(r"\$\{?([a-zA-Z_]+)\}?")


@dataclass(frozen=True, slots=True)
class View:
    """What a user looks at: seconds since 1970, and the seconds between two points.

    ``rate_window``: what ``$__rate_interval`` stands for, at least four scrapes.
    """

    start: float
    end: float
    step: float
    rate_window: float

    def windows(self) -> Mapping[str, str]:
        """Grafana's own variables for this view."""
        return {
            "__range": f"{max(1, round(self.end - self.start))}s",
            "__interval": f"{round(self.step * 1000)}ms",
            "__rate_interval": f"{round(self.rate_window * 1000)}ms",
        }


@dataclass(frozen=True, slots=True)
class Answered:
    """One query of a panel and what came. ``legends``: the series' names, in their order."""

    expression: str
    legend: str
    series: list[Series]

    @property
    def legends(self) -> list[str]:
        return [legend_of(self.legend, one.labels) for one in self.series]


def dashboards() -> dict[str, dict[str, Any]]:
    """File name without its end → dashboard."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those that ask something; titles of rows are none."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def legend_labels(legend: str) -> list[str]:
    """The labels that a legend names."""
    return _LABEL.findall(legend)


def legend_of(legend: str, labels: Labels) -> str:
    """The legend with a series' labels filled in."""
    return _LABEL.sub(lambda found: labels.get(found[1], ""), legend)


def filled_in(expression: str, values: Mapping[str, str]) -> str:
    """The expression with its variables. KeyError for one that nobody knows."""
    return _VARIABLE.sub(lambda found: values[found[1]], expression)


def variables(dashboard: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Name → the metric and the label its values come from. ValueError for another kind of query."""
    found = {}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            query = _LABEL_VALUES.fullmatch(variable["query"]["query"])
            if query is None:
                raise ValueError(f"not label_values(metric, label): {variable['query']['query']}")
            found[variable["name"]] = (query[1], query[2])
    return found


async def all_chosen(dashboard: Mapping[str, Any], prometheus: Prometheus) -> dict[str, str]:
    """Every variable at ``All``, as Grafana fills it into a regular expression."""
    own = {variable["name"]: variable.get("allValue") for variable in dashboard["templating"]["list"]}
    chosen = {}
    for name, (metric, label) in variables(dashboard).items():
        if (value := own[name]) is None:
            value = f"({'|'.join(map(_escaped, await prometheus.label_values(metric, label)))})"
        chosen[name] = value
    return chosen


async def ask(panel: Mapping[str, Any], prometheus: Prometheus, view: View, chosen: Labels) -> list[Answered]:
    """Run a panel's queries as Grafana would. QueryRefused names what Prometheus would not run."""
    values = {**chosen, **view.windows()}
    answers = []
    for target in panel["targets"]:
        expression = filled_in(target["expr"], values)
        try:
            if target["instant"]:
                series = await prometheus.instant(expression, view.end)
            else:
                series = await prometheus.range(expression, view.start, view.end, view.step)
        except QueryRefused as refused:
            raise QueryRefused(f"{panel['title']}: {refused}") from None
        answers.append(Answered(expression, target["legendFormat"], series))
    return answers


def problem_with(answered: Answered) -> str | None:
    """What is wrong with an answer, if anything is."""
    if not any(math.isfinite(value) for one in answered.series for _, value in one.points):
        return "shows nothing"
    for one in answered.series:
        missing = [label for label in legend_labels(answered.legend) if not one.labels.get(label)]
        if missing:
            return f"has a series without {', '.join(missing)}"
    return None


def _escaped(value: str) -> str:
    """As Grafana escapes a value for a regular expression inside PromQL's double quotes."""
    return re.sub(r"([\\^$*+?.()|\[\]{}])", r"\\\\\1", value)
