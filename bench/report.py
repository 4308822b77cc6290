"""Figures of the rounds → rows, and the tables of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

CARRIED = 0.75
"""The part of an offered load that counts as carried: the mock and the client take some of it themselves."""

OURS = "gateway"
COLUMNS = (OURS, "nginx", "haproxy", "envoy", "portkey", "litellm", "direct", "quiet", "orjson")
"""Servers and references, in the order of the tables' columns."""
COMPARED = ("nginx", "envoy")
"""Whose multiple the gateway is told to be."""

BESIDE, ALONE = "Beside its peers", "The gateway alone"
"""The tables."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What is measured, in what unit, and what would be good enough.

    ``must``, ``goal``: limits, in the unit or, with ``of``, as multiples of that server's best. ``offer``: what the
    load sends a second, if it sets the pace. A round that carried less than CARRIED of it meets nothing: chunks that
    wait are read several at a time and look cheap.
    """

    title: str
    unit: str
    must: float | None = None
    goal: float | None = None
    of: str = ""
    more_is_better: bool = False
    offer: float = 0.0
    table: str = BESIDE

    def text(self) -> str:
        """As the tables show it."""
        if self.must is None:
            return "–"
        sign = "≥" if self.more_is_better else "≤"
        unit = f"× {self.of}" if self.of else self.unit
        goal = f" ({self.goal:,g})" if self.goal is not None else ""
        return f"{sign} {self.must:,g}{goal} {unit}"


@dataclass(slots=True)
class Row:
    """One line of a table. ``figures``: server or reference → one figure a round.

    ``rates``: what really went through a second, where the load sets the pace. ``bound``: in how many rounds the load
    and not the server was at its end.
    """

    name: str
    goal: Goal
    figures: dict[str, list[float]] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)
    bound: dict[str, int] = field(default_factory=dict)

    def add(self, server: str, figure: float, rate: float | None = None, *, bound: bool = False) -> None:
        """One round's figure."""
        self.figures.setdefault(server, []).append(figure)
        if rate is not None:
            self.rates.setdefault(server, []).append(rate)
        if bound:
            self.bound[server] = self.bound.get(server, 0) + 1

    def best(self, server: str) -> float | None:
        figures = self.figures.get(server)
        if not figures:
            return None
        return max(figures) if self.goal.more_is_better else min(figures)

    def median(self, server: str) -> float | None:
        figures = self.figures.get(server)
        return statistics.median(figures) if figures else None

    def ratio(self, server: str) -> float | None:
        """The gateway's best over another's best: noise only ever adds."""
        ours, theirs = self.best(OURS), self.best(server)
        return ours / theirs if ours is not None and theirs is not None and theirs > 0 else None

    def met(self) -> str:
        """What any round reached, ``must`` or ``goal``; ``no``, or ``–`` if that cannot be told."""
        limits = [
            (name, limit) for name, limit in (("goal", self.goal.goal), ("must", self.goal.must)) if limit is not None
        ]
        if not limits or not self.figures.get(OURS) or (self.goal.of and self.best(self.goal.of) is None):
            return "–"
        return next((name for name, limit in limits if self._reached(limit)), "no")

    def _reached(self, limit: float) -> bool:
        goal, figures = self.goal, self.figures[OURS]
        limit *= (self.best(goal.of) or 0.0) if goal.of else 1.0
        return any(
            rate >= CARRIED * goal.offer and (figure >= limit if goal.more_is_better else figure <= limit)
            for figure, rate in zip(figures, self.rates.get(OURS, [goal.offer] * len(figures)), strict=True)
        )


def markdown(rows: Sequence[Row]) -> str:
    """The tables of docs/performance.md."""
    parts = []
    for table, lines in _tables(rows):
        head, *body = lines
        parts += [f"### {table}", "", _line(head), _line(["---"] * len(head)), *map(_line, body), ""]
    return "\n".join(parts).rstrip()


def text(rows: Sequence[Row]) -> str:
    """Tables for a terminal."""
    parts = []
    for table, lines in _tables(rows):
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        parts += ["", table]
        parts += ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join(parts[1:])


def data(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows for a JSON file. What a reader can compute is there for people: only the rounds are read back."""
    return [
        {
            "name": row.name,
            "table": row.goal.table,
            "title": row.goal.title,
            "unit": row.goal.unit,
            "must": row.goal.must,
            "goal": row.goal.goal,
            "of": row.goal.of,
            "offer": row.goal.offer,
            "more_is_better": row.goal.more_is_better,
            "met": row.met(),
            "times": {server: ratio for server in COMPARED if (ratio := row.ratio(server)) is not None},
            "servers": {
                server: {
                    "best": row.best(server),
                    "median": row.median(server),
                    "rounds": figures,
                    "rates": row.rates.get(server, []),
                    "bound_by_load": row.bound.get(server, 0),
                }
                for server, figures in row.figures.items()
            },
        }
        for row in rows
    ]


def rows_of(told: Iterable[dict[str, Any]]) -> list[Row]:
    """What ``data`` made, as rows."""
    rows = []
    for one in told:
        goal = Goal(
            one["title"],
            one["unit"],
            one["must"],
            one["goal"],
            one["of"],
            one["more_is_better"],
            one["offer"],
            one["table"],
        )
        row = Row(one["name"], goal)
        for server, figures in one["servers"].items():
            row.figures[server] = figures["rounds"]
            if figures["rates"]:
                row.rates[server] = figures["rates"]
            if figures["bound_by_load"]:
                row.bound[server] = figures["bound_by_load"]
        rows.append(row)
    return rows


def _tables(rows: Sequence[Row]) -> Iterable[tuple[str, list[list[str]]]]:
    """Title → the lines of each table that has rows: a head, then one a row."""
    for table in dict.fromkeys(row.goal.table for row in rows):
        mine = [row for row in rows if row.goal.table == table]
        servers = [server for server in COLUMNS if any(server in row.figures for row in mine)]
        compared = [server for server in COMPARED if server in servers and table == BESIDE]
        lines = [["measure", "must (goal)", "met", *servers, *(f"× {server}" for server in compared)]]
        lines += [
            [
                f"{row.goal.title}, {row.goal.unit}",
                row.goal.text(),
                row.met(),
                *(_figures(row, server) for server in servers),
                *("–" if (ratio := row.ratio(server)) is None else f"{ratio:.2f}" for server in compared),
            ]
            for row in mine
        ]
        yield table, lines


def _figures(row: Row, server: str) -> str:
    best, median = row.best(server), row.median(server)
    if best is None or median is None:
        return "–"
    rates = row.rates.get(server)
    rate = f" at {statistics.median(rates):,.0f}/s" if rates else ""
    return f"{_number(best)} / {_number(median)}{rate}{' †' if row.bound.get(server) else ''}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
