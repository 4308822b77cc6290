"""One panel as a plain chart: a number, lines, bars, strips or a table. It shows what was answered, nothing else."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import ImageDraw, ImageFont

from scripts.dashboards.figures import shown
from scripts.dashboards.prometheus import Series
from scripts.dashboards.queries import Answered, View

INK, FAINT, GRID, PAPER = "#24292f", "#6e7781", "#e4e8ec", "#ffffff"
COLORS = ("#3274d9", "#e0752d", "#3f9c35", "#c4162a", "#8f3bb8", "#0a7c86", "#b8860b", "#e02f83", "#5d6d7e", "#7b4f2c")
NAMED = {"green": "#3f9c35", "orange": "#e0752d", "red": "#c4162a", "blue": "#3274d9"}
LINE = 15
"""Pixels from one line of small text to the next."""


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, so that the pictures look the same everywhere."""
    return ImageFont.load_default(size)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels; right and bottom are outside."""

    left: int
    top: int
    right: int
    bottom: int

    def inside(self, left: int = 0, top: int = 0, right: int = 0, bottom: int = 0) -> Box:
        return Box(self.left + left, self.top + top, self.right - right, self.bottom - bottom)

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class Chart:
    """What a chart is made of. ``rows``: name and series, of all queries, in their order."""

    draw: ImageDraw.ImageDraw
    box: Box
    panel: Mapping[str, Any]
    rows: Sequence[tuple[str, Series]]
    answers: Sequence[Answered]
    view: View

    @property
    def unit(self) -> str:
        unit: str = self.panel["fieldConfig"]["defaults"]["unit"]
        return unit

    def text(self, x: float, y: float, words: str, size: int = 12, color: str = INK, anchor: str = "la") -> None:
        self.draw.text((x, y), words, fill=color, font=font(size), anchor=anchor)

    def fitting(self, words: str, width: float, size: int = 12) -> str:
        """The words, cut short where they are wider than ``width`` pixels."""
        while len(words) > 1 and self.draw.textlength(words, font=font(size)) > width:
            words = words[:-2].rstrip("…") + "…"
        return words

    def step_color(self, value: float) -> str:
        """The colour of the panel's threshold that the value has reached."""
        steps = self.panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        reached = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
        return NAMED[reached[-1]]


def draw_panel(
    draw: ImageDraw.ImageDraw, box: Box, panel: Mapping[str, Any], answers: Sequence[Answered], view: View
) -> None:
    """The panel's title and chart in its box; "no data" where nothing came."""
    draw.rectangle((box.left, box.top, box.right - 1, box.bottom - 1), fill=PAPER, outline=GRID)
    rows = [(name, one) for answered in answers for name, one in zip(answered.legends, answered.series, strict=True)]
    rows = [(name, one) for name, one in rows if any(math.isfinite(value) for _, value in one.points)]
    chart = Chart(draw, box.inside(10, 30, 10, 8), panel, rows, answers, view)
    chart.text(box.left + 10, box.top + 8, chart.fitting(panel["title"], box.width - 20, 13), 13)
    if rows:
        _KINDS[panel["type"]](chart)
    else:
        chart.text((box.left + box.right) / 2, (box.top + box.bottom) / 2, "no data", 14, FAINT, "mm")


def _last(series: Series) -> float:
    return next((value for _, value in reversed(series.points) if math.isfinite(value)), math.nan)


def _stat(chart: Chart) -> None:
    share = chart.box.width / len(chart.rows)
    for place, (name, series) in enumerate(chart.rows):
        middle = chart.box.left + share * (place + 0.5)
        value = _last(series)
        size = 30 if share > 150 else 22
        chart.text(
            middle,
            chart.box.top + chart.box.height * 0.42,
            shown(value, chart.unit),
            size,
            chart.step_color(value),
            "mm",
        )
        if len(chart.rows) > 1:
            chart.text(middle, chart.box.bottom - 4, chart.fitting(name, share - 8), 12, FAINT, "mb")


def _bar_gauge(chart: Chart) -> None:
    most = max(*(abs(_last(series)) for _, series in chart.rows), 0.0) or 1.0
    most = chart.panel["fieldConfig"]["defaults"].get("max", most)
    height = min(34.0, chart.box.height / len(chart.rows))
    for place, (name, series) in enumerate(chart.rows):
        top, value = chart.box.top + place * height, _last(series)
        chart.text(chart.box.left, top, chart.fitting(name, chart.box.width - 90))
        chart.text(chart.box.right, top, shown(value, chart.unit), 12, chart.step_color(value), "ra")
        bar = (chart.box.left, top + LINE, chart.box.right, top + max(LINE + 3, height - 6))
        chart.draw.rectangle(bar, fill=GRID)
        end = chart.box.left + chart.box.width * min(1.0, max(0.0, value / most))
        chart.draw.rectangle((bar[0], bar[1], end, bar[3]), fill=chart.step_color(value))


def _strips(chart: Chart) -> None:
    plot = chart.box.inside(bottom=18)
    height = min(46.0, plot.height / len(chart.rows))
    for place, (name, series) in enumerate(chart.rows):
        top = plot.top + place * height
        chart.text(plot.left, top, chart.fitting(name, plot.width))
        for moment, value in series.points:
            left = _across(plot, chart.view, moment)
            right = _across(plot, chart.view, min(chart.view.end, moment + chart.view.step))
            color = NAMED["green"] if value >= 1 else NAMED["red"]
            chart.draw.rectangle((left, top + LINE, right, top + height - 6), fill=color)
    _time_axis(chart, plot)


def _time_series(chart: Chart) -> None:
    lines = _legend_lines(chart)
    plot = chart.box.inside(left=56, bottom=20 + LINE * len(lines))
    bars = chart.panel["fieldConfig"]["defaults"]["custom"]["drawStyle"] == "bars"
    most = _stacked_most(chart) if bars else max(max(_finite(series), default=0.0) for _, series in chart.rows)
    most = _round(most)
    for part in range(5):
        y = plot.bottom - plot.height * part / 4
        chart.draw.line((plot.left, y, plot.right, y), fill=GRID)
        chart.text(plot.left - 6, y, shown(most * part / 4, chart.unit), 11, FAINT, "rm")
    (_bars if bars else _lines)(chart, plot, most)
    _time_axis(chart, plot)
    for place, words in enumerate(lines):
        x: float = chart.box.left
        for name, color in words:
            chart.draw.rectangle(
                (
                    x,
                    chart.box.bottom - LINE * (len(lines) - place) + 5,
                    x + 9,
                    chart.box.bottom - LINE * (len(lines) - place) + 8,
                ),
                fill=color,
            )
            chart.text(x + 13, chart.box.bottom - LINE * (len(lines) - place), name, 11, FAINT)
            x += 13 + chart.draw.textlength(name, font=font(11)) + 12


def _lines(chart: Chart, plot: Box, most: float) -> None:
    for place, (_, series) in enumerate(chart.rows):
        color = COLORS[place % len(COLORS)]
        piece: list[tuple[float, float]] = []
        for moment, value in [*series.points, (chart.view.end, math.nan)]:
            if math.isfinite(value):
                piece.append(
                    (_across(plot, chart.view, moment), plot.bottom - plot.height * min(1.0, max(0.0, value / most)))
                )
                continue
            if len(piece) == 1:
                chart.draw.rectangle((piece[0][0] - 1, piece[0][1] - 1, piece[0][0] + 1, piece[0][1] + 1), fill=color)
            elif piece:
                chart.draw.line(piece, fill=color, width=2)
            piece = []


def _bars(chart: Chart, plot: Box, most: float) -> None:
    reached: dict[float, float] = {}
    for place, (_, series) in enumerate(chart.rows):
        for moment, value in series.points:
            if not math.isfinite(value) or value <= 0:
                continue
            before = reached.get(moment, 0.0)
            reached[moment] = before + value
            right = _across(plot, chart.view, moment)
            left = max(
                plot.left, right - max(2.0, plot.width * chart.view.step / (chart.view.end - chart.view.start) - 1)
            )
            top, bottom = (plot.bottom - plot.height * level / most for level in (before + value, before))
            chart.draw.rectangle((left, top, right, bottom), fill=COLORS[place % len(COLORS)])


def _table(chart: Chart) -> None:
    transformations = {one["id"]: one["options"] for one in chart.panel["transformations"]}
    titles = transformations["organize"]["renameByName"]
    labels = [name for name in titles if not name.startswith("Value")]
    columns = [*labels, *(name for name in titles if name.startswith("Value"))]
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for target, answered in zip(chart.panel["targets"], chart.answers, strict=True):
        for series in answered.series:
            row = tuple(series.labels.get(label, "") for label in labels)
            found.setdefault(row, {})[f"Value #{target['refId']}"] = _last(series)
    width = chart.box.width / len(columns)
    for number, cells in enumerate([[titles[name] for name in columns], *_cells(found, columns, chart.unit)]):
        top = chart.box.top + number * (LINE + 7)
        chart.draw.line((chart.box.left, top + LINE + 2, chart.box.right, top + LINE + 2), fill=GRID)
        for place, words in enumerate(cells):
            color = FAINT if number == 0 else INK
            chart.text(chart.box.left + place * width, top, chart.fitting(words, width - 6), 12, color)


def _cells(found: Mapping[tuple[str, ...], Mapping[str, float]], columns: Sequence[str], unit: str) -> list[list[str]]:
    values = [name for name in columns if name.startswith("Value")]
    return [
        [*names, *(shown(numbers[value], unit) if value in numbers else "" for value in values)]
        for names, numbers in sorted(found.items())
    ]


def _legend_lines(chart: Chart) -> list[list[tuple[str, str]]]:
    """Names and colours, as many a line as fit; three lines at most."""
    lines: list[list[tuple[str, str]]] = [[]]
    used = 0.0
    for place, (name, _) in enumerate(chart.rows):
        name = chart.fitting(name, chart.box.width - 30, 11)
        needed = chart.draw.textlength(name, font=font(11)) + 25
        if lines[-1] and used + needed > chart.box.width:
            if len(lines) == 3:
                lines[-1].append(("…", FAINT))
                break
            lines.append([])
            used = 0.0
        lines[-1].append((name, COLORS[place % len(COLORS)]))
        used += needed
    return lines


def _stacked_most(chart: Chart) -> float:
    heights: dict[float, float] = {}
    for _, series in chart.rows:
        for moment, value in series.points:
            if math.isfinite(value):
                heights[moment] = heights.get(moment, 0.0) + max(0.0, value)
    return max(heights.values(), default=0.0)


def _round(most: float) -> float:
    """The end of an axis of four parts that holds ``most``."""
    if most <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(most))
    return next(ends for ends in (size * step for step in (1, 2, 4, 6, 8, 10)) if ends >= most * 0.999)


def _finite(series: Series) -> list[float]:
    return [value for _, value in series.points if math.isfinite(value)]


def _across(plot: Box, view: View, moment: float) -> float:
    return plot.left + plot.width * (moment - view.start) / (view.end - view.start)


def _time_axis(chart: Chart, plot: Box) -> None:
    for part, anchor in ((0.0, "la"), (0.5, "ma"), (1.0, "ra")):
        moment = chart.view.start + (chart.view.end - chart.view.start) * part
        words = time.strftime("%H:%M:%S", time.gmtime(moment))
        chart.text(plot.left + plot.width * part, plot.bottom + 4, words, 11, FAINT, anchor)


_KINDS: Mapping[str, Callable[[Chart], None]] = {
    "stat": _stat,
    "bargauge": _bar_gauge,
    "state-timeline": _strips,
    "timeseries": _time_series,
    "table": _table,
}
