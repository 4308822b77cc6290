"""The figures of the page on PostgreSQL are those of the run that is kept."""

from __future__ import annotations

import json

from bench.usage import EXTRAPOLATED

from .written import ROOT

PAGE = ROOT / "docs" / "postgresql.md"
RUNS = ROOT / "bench" / "results" / "usage"


def test_the_table_of_reports_is_that_of_the_newest_run() -> None:
    told = json.loads(max(RUNS.glob("*.json")).read_text(encoding="utf-8"))
    further = told[f"extrapolated_to_{EXTRAPOLATED}_rows"]["seconds_a_report"]
    page = PAGE.read_text(encoding="utf-8")
    for name, asked in told["sizes"][-1]["seconds_a_report"].items():
        row = f"| {name} | {asked['cpu']:.2f} | {asked['median']:.2f} | {further[name]:.2f} |"
        assert row in page
