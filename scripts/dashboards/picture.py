"""A whole dashboard as a picture of its panels' answers, and the mark that says of which dashboard it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from scripts.dashboards.charts import FAINT, INK, Box, draw_panel, font
from scripts.dashboards.prometheus import DEPLOY, Prometheus
from scripts.dashboards.queries import Answered, View, all_chosen, ask, panels, problem_with

FOLDER = DEPLOY / "grafana" / "pictures"
LABEL = "drawn by scripts/draw_dashboards.py from query results, not a screenshot"
MARK, EMPTY = "dashboard", "empty panels"
"""What a picture says of itself: the mark of its dashboard, and the titles of panels that showed nothing."""

COLUMN, ROW, GAP, HEAD = 60, 34, 8, 56
BACKGROUND = "#f4f6f8"

Answers = Mapping[int, list[Answered]]
"""A panel's id → what its queries brought."""


def mark(dashboard: Mapping[str, Any]) -> str:
    """Changes with whatever a picture shows: titles, kinds, places, units, queries."""
    seen = [
        [panel["type"], panel["title"], panel["gridPos"], panel.get("targets"), panel.get("fieldConfig")]
        for panel in dashboard["panels"]
    ]
    return hashlib.sha256(json.dumps([dashboard["title"], seen]).encode()).hexdigest()


async def answers(dashboard: Mapping[str, Any], prometheus: Prometheus, view: View) -> Answers:
    """Every panel's answers, with all variables at ``All``. QueryRefused."""
    chosen = await all_chosen(dashboard, prometheus)
    return {panel["id"]: await ask(panel, prometheus, view, chosen) for panel in panels(dashboard)}


def draw(dashboard: Mapping[str, Any], found: Answers, view: View, source: str) -> Image.Image:
    """The picture. ``source``: what was asked, for the line under the title."""
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    image = Image.new("RGB", (24 * COLUMN + GAP, HEAD + bottom * ROW + GAP), BACKGROUND)
    canvas = ImageDraw.Draw(image)
    canvas.text((GAP * 2, 10), dashboard["title"], fill=INK, font=font(20))
    canvas.text((GAP * 2, 36), f"{LABEL}; {source}", fill=FAINT, font=font(13))
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        left, top = GAP + place["x"] * COLUMN, HEAD + place["y"] * ROW
        box = Box(left, top, left + place["w"] * COLUMN - GAP, top + place["h"] * ROW - GAP)
        if panel["type"] == "row":
            canvas.text((left + 4, top + 8), panel["title"], fill=INK, font=font(15))
        else:
            draw_panel(canvas, box, panel, found[panel["id"]], view)
    return image


def empty(dashboard: Mapping[str, Any], found: Answers) -> list[str]:
    """The titles of panels that show nothing, or only in part."""
    return [
        panel["title"]
        for panel in panels(dashboard)
        if any(problem_with(answered) is not None for answered in found[panel["id"]])
    ]


def save(image: Image.Image, dashboard: Mapping[str, Any], nothing: list[str], path: Path) -> None:
    """As a PNG that says what it is, of which dashboard, and which panels had nothing to show."""
    info = PngInfo()
    info.add_text("Description", LABEL)
    info.add_text(MARK, mark(dashboard))
    info.add_text(EMPTY, json.dumps(nothing))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.quantize(128).save(path, pnginfo=info, optimize=True)
