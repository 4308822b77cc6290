"""Figures of the rounds → the table, as text, as Markdown or as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

CARRIED = 0.75
"""The part of an offered load that counts as carried: the mock and the client take some of it themselves."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What is measured, in what unit, and what would be good enough.

    ``offer``: what the load sends a second, if it sets the pace. A round that carried less than CARRIED of it meets no
    goal: chunks that wait are read several at a time and look cheap.
    """

    title: str
    unit: str
    limit: float
    more_is_better: bool = False
    offer: float = 0.0

    def text(self) -> str:
        return f"{'≥' if self.more_is_better else '≤'} {self.limit:,.0f} {self.unit}"


@dataclass(slots=True)
class Row:
    """One line of the table. ``figures``: server → one figure a round. ``direct`` is the run without a server."""

    name: str
    goal: Goal
    figures: dict[str, list[float]] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)

    def add(self, server: str, figure: float, rate: float | None = None) -> None:
        """``rate``: chunks a second that really went through, where the load sets the pace."""
        self.figures.setdefault(server, []).append(figure)
        if rate is not None:
            self.rates.setdefault(server, []).append(rate)

    def best(self, server: str) -> float | None:
        figures = self.figures.get(server)
        if not figures:
            return None
        return max(figures) if self.goal.more_is_better else min(figures)

    def median(self, server: str) -> float | None:
        figures = self.figures.get(server)
        return statistics.median(figures) if figures else None

    def ratio(self) -> float | None:
        """The gateway's median over nginx's."""
        ours, theirs = self.median("gateway"), self.median("nginx")
        return ours / theirs if ours is not None and theirs is not None and theirs > 0 else None

    def met(self) -> bool | None:
        """Whether any round reached the goal: the others say more of the machine than of the gateway."""
        figures = self.figures.get("gateway")
        if not figures:
            return None
        goal, rates = self.goal, self.rates.get("gateway", [self.goal.offer] * len(figures))
        return any(
            rate >= CARRIED * goal.offer and (figure >= goal.limit if goal.more_is_better else figure <= goal.limit)
            for figure, rate in zip(figures, rates, strict=True)
        )


HEADINGS = ("measure", "goal", "met", "gateway", "nginx", "× nginx", "direct")


def markdown(rows: Sequence[Row]) -> str:
    """A table for documentation."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---|---|---|---|---|---|---|"]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in rows]
    return "\n".join(lines)


def text(rows: Sequence[Row]) -> str:
    """A table for a terminal."""
    table = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table
    )


def data(rows: Sequence[Row]) -> list[dict[str, object]]:
    """The same for scripts, with every round."""
    return [
        {
            "name": row.name,
            "title": row.goal.title,
            "unit": row.goal.unit,
            "goal": row.goal.limit,
            "more_is_better": row.goal.more_is_better,
            "met": row.met(),
            "times_nginx": row.ratio(),
            "servers": {
                server: {
                    "best": row.best(server),
                    "median": row.median(server),
                    "rounds": figures,
                    "rates": row.rates.get(server, []),
                }
                for server, figures in row.figures.items()
            },
        }
        for row in rows
    ]


def _cells(row: Row) -> tuple[str, ...]:
    met, ratio = row.met(), row.ratio()
    return (
        row.goal.title,
        row.goal.text(),
        "–" if met is None else "yes" if met else "no",
        _figures(row, "gateway"),
        _figures(row, "nginx"),
        "–" if ratio is None else f"{ratio:.{1 if ratio >= 1 else 2}f}",
        _figures(row, "direct"),
    )


def _figures(row: Row, server: str) -> str:
    best, median = row.best(server), row.median(server)
    if best is None or median is None:
        return "–"
    rates = row.rates.get(server)
    rate = f" at {statistics.median(rates):,.0f}/s" if rates else ""
    return f"{_number(best)} / {_number(median)}{rate}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"
