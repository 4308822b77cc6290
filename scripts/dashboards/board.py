"""A dashboard: its variables, its links to the others, its panels laid out row by row. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.dashboards.panels import DATASOURCE, WIDTH, Panel

TAG = "piapi-gateway"
SCHEMA_VERSION = 41
"""Of Grafana 11.6."""

EVERYTHING = ".*"
"""What ``All`` stands for: also matches series that lack the label, such as those of keys without a team."""

ROW_HEIGHT = 1


@dataclass(frozen=True, slots=True)
class Variable:
    """``query``: whose label values are offered. ``all_value``: None lists what is offered instead."""

    name: str
    title: str
    query: str
    all_value: str | None = EVERYTHING

    def to_json(self) -> dict[str, Any]:
        variable: dict[str, Any] = {
            "type": "query",
            "name": self.name,
            "label": self.title,
            "datasource": DATASOURCE,
            "query": {"query": self.query, "refId": f"variable-{self.name}", "qryType": 1},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "current": {"text": ["All"], "value": ["$__all"]},
            "options": [],
            "regex": "",
            "hide": 0,
            "skipUrlSync": False,
        }
        if self.all_value is not None:
            variable["allValue"] = self.all_value
        return variable


KEY = Variable("key", "Key", "label_values(gateway_requests_total, key)")
TEAM = Variable("team", "Team", "label_values(gateway_requests_total, team)")
MODEL = Variable("model", "Model", "label_values(gateway_requests_total, model)")
UPSTREAM = Variable("upstream", "Upstream", "label_values(gateway_requests_total, upstream)")


@dataclass(frozen=True, slots=True)
class Board:
    """``uid`` stays for ever: links and bookmarks hold it. ``since``: the range shown at first.

    ``rows``: title → panels, from left to right; a panel that does not fit begins a new line.
    """

    name: str
    description: str
    since: str
    variables: Sequence[Variable]
    rows: Mapping[str, Sequence[Panel]]

    @property
    def uid(self) -> str:
        return f"piapi-gateway-{self.name.lower()}"

    def to_json(self) -> dict[str, Any]:
        """The dashboard as Grafana's provisioning reads it."""
        return {
            "uid": self.uid,
            "title": f"PiAPI gateway: {self.name}",
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "timezone": "utc",
            "fiscalYearStartMonth": 0,
            "refresh": "30s",
            "time": {"from": self.since, "to": "now"},
            "links": [_LINKS],
            "templating": {"list": [_SOURCE, *(variable.to_json() for variable in self.variables)]},
            "annotations": {"list": []},
            "panels": self._panels(),
        }

    def _panels(self) -> list[dict[str, Any]]:
        panels: list[dict[str, Any]] = []
        top = 0
        for title, row in self.rows.items():
            panels.append(_row(title, len(panels) + 1, top))
            top += ROW_HEIGHT
            left = tallest = 0
            for panel in row:
                if left + panel.width > WIDTH:
                    top, left, tallest = top + tallest, 0, 0
                panels.append(panel.to_json(len(panels) + 1, left, top))
                left, tallest = left + panel.width, max(tallest, panel.height)
            top += tallest
        return panels


def _row(title: str, number: int, top: int) -> dict[str, Any]:
    place = {"x": 0, "y": top, "w": WIDTH, "h": ROW_HEIGHT}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


_LINKS = {
    "type": "dashboards",
    "title": "PiAPI gateway",
    "tags": [TAG],
    "asDropdown": False,
    "includeVars": True,
    "keepTime": True,
    "targetBlank": False,
    "icon": "external link",
    "tooltip": "",
    "url": "",
}
_SOURCE = {
    "type": "datasource",
    "name": "datasource",
    "label": "Data source",
    "query": "prometheus",
    "current": {"text": "default", "value": "default"},
    "options": [],
    "regex": "",
    "refresh": 1,
    "hide": 0,
    "multi": False,
    "includeAll": False,
    "skipUrlSync": False,
}
