"""Panels as Grafana 11 reads them: what is asked, how it is shown. Pure.

A panel's queries say what is known about them (``Query``); the rest is settled here once for every kind, so that all
dashboards look and behave alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
"""The data source is a variable of every dashboard."""

WIDTH = 24
"""Columns of Grafana's grid."""

Kind = Literal["stat", "timeseries", "bargauge", "state-timeline", "table"]

USD, SECONDS, SHARE, PER_SECOND, NUMBER = "currencyUSD", "s", "percentunit", "reqps", "short"


@dataclass(frozen=True, slots=True)
class Query:
    """``legend`` may hold ``{{label}}``. ``instant``: one value, as of the range's end."""

    expression: str
    legend: str
    instant: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """``description``: what the figure means and where it comes from.

    ``steps``: colours from a value on; the first holds below the others. ``today``: over the day so far, whatever range
    is shown. ``interval``: the shortest step. ``bars``: a timeseries of events, stacked. ``most``: the axis's end.
    ``more``: what only some panels need, merged into the JSON.
    """

    kind: Kind
    title: str
    description: str
    queries: Sequence[Query]
    unit: str = NUMBER
    width: int = 8
    height: int = 8
    steps: Sequence[tuple[str, float | None]] = (("blue", None),)
    today: bool = False
    interval: str | None = None
    bars: bool = False
    most: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self, number: int, x: int, y: int) -> dict[str, Any]:
        """The panel at its place on the grid."""
        panel: dict[str, Any] = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [self._target(place, query) for place, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": self._field(), "overrides": []},
            "options": _OPTIONS[self.kind],
        }
        if self.today:
            panel |= {"timeFrom": "now/d", "hideTimeOverride": False}
        if self.interval is not None:
            panel["interval"] = self.interval
        return panel | dict(self.more)

    def _target(self, place: int, query: Query) -> dict[str, Any]:
        return {
            "refId": chr(ord("A") + place),
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": query.expression,
            "legendFormat": query.legend,
            "format": "table" if self.kind == "table" else "time_series",
            "instant": query.instant,
            "range": not query.instant,
        }

    def _field(self) -> dict[str, Any]:
        defaults: dict[str, Any] = {
            "unit": self.unit,
            "color": {"mode": "palette-classic" if self.kind == "timeseries" else "thresholds"},
            "thresholds": {
                "mode": "absolute",
                "steps": [{"color": color, "value": value} for color, value in self.steps],
            },
        }
        if self.unit == USD:
            defaults["decimals"] = 2 if self.kind == "stat" else 4
        if self.kind in ("timeseries", "bargauge"):
            defaults["min"] = 0
        if self.most is not None:
            defaults["max"] = self.most
        if self.kind == "timeseries":
            defaults["custom"] = _BARS if self.bars else _LINES
        if self.kind == "state-timeline":
            defaults["custom"] = {"fillOpacity": 80, "lineWidth": 0}
            defaults["mappings"] = [
                {
                    "type": "value",
                    "options": {
                        "0": {"text": "out", "color": "red", "index": 0},
                        "1": {"text": "in use", "color": "green", "index": 1},
                    },
                }
            ]
        return defaults


_LINES = {
    "drawStyle": "line",
    "lineWidth": 1,
    "fillOpacity": 10,
    "showPoints": "auto",
    "spanNulls": False,
    "stacking": {"mode": "none", "group": "A"},
}
_BARS = {
    "drawStyle": "bars",
    "lineWidth": 0,
    "fillOpacity": 80,
    "showPoints": "never",
    "stacking": {"mode": "normal", "group": "A"},
}
_LAST = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_LEGEND = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
_TOOLTIP = {"mode": "multi", "sort": "desc"}

_OPTIONS: Mapping[Kind, Mapping[str, Any]] = {
    "stat": {
        "reduceOptions": _LAST,
        "orientation": "auto",
        "textMode": "auto",
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "wideLayout": True,
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
    },
    "timeseries": {"legend": _LEGEND, "tooltip": _TOOLTIP},
    "bargauge": {
        "reduceOptions": _LAST,
        "displayMode": "basic",
        "orientation": "horizontal",
        "valueMode": "color",
        "namePlacement": "auto",
        "showUnfilled": True,
        "sizing": "auto",
        "minVizWidth": 8,
        "minVizHeight": 16,
        "maxVizHeight": 300,
        "legend": {**_LEGEND, "showLegend": False},
    },
    "state-timeline": {
        "mergeValues": True,
        "showValue": "never",
        "alignValue": "left",
        "rowHeight": 0.8,
        "legend": _LEGEND,
        "tooltip": _TOOLTIP,
    },
    "table": {
        "showHeader": True,
        "cellHeight": "sm",
        "frameIndex": 0,
        "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""},
    },
}
