"""Runs that are kept: one JSON file each in ``bench/results/``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import report
from bench.report import Row

FOLDER = Path(__file__).with_name("results")

LEGEND = (
    "Cells are best / median of the rounds. *met*: whether one round met the limit and carried its load, for noise only"
    " ever adds."
    " 'added' figures are beyond direct's. *× nginx* and *× envoy* compare the best figures."
    " †: the load, not the server, was at its end in a round or more, so the rate is the load's."
)


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured and under what conditions. ``missing``: peer → why it is not in the tables."""

    conditions: Mapping[str, str]
    rows: Sequence[Row]
    missing: Mapping[str, str]

    def dumped(self) -> str:
        """As JSON, ended by a line break."""
        told = {"conditions": self.conditions, "missing": self.missing, "rows": report.data(self.rows)}
        return json.dumps(told, indent=1, ensure_ascii=False) + "\n"

    def markdown(self) -> str:
        """The tables with what is needed to read them."""
        return "\n".join(
            [
                LEGEND, "", report.markdown(self.rows), "",
                *(f"- {name}: {value}" for name, value in self.conditions.items()),
                *(f"- {name}: {why}" for name, why in self.missing.items()),
            ]
        )  # fmt: skip

    def text(self) -> str:
        """The same for a terminal."""
        return "\n".join(
            [
                report.text(self.rows), "", LEGEND.replace("*", ""),
                *(f"{name}: {value}" for name, value in self.conditions.items()),
                *(f"{name}: {why}" for name, why in self.missing.items()),
            ]
        )  # fmt: skip


def load(path: Path) -> Run:
    """A run that was kept."""
    told = json.loads(path.read_text(encoding="utf-8"))
    return Run(told["conditions"], report.rows_of(told["rows"]), told["missing"])


def newest(folder: Path = FOLDER) -> Path | None:
    """The last of them: their names begin with the date."""
    return max(folder.glob("*.json"), default=None)
