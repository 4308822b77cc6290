"""The bench of usage runs, checks the sums that it measures, and keeps what it found. How fast it is is not asked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.usage import EXTRAPOLATED, LIMIT_SECONDS, QUESTIONS, judged

KEPT = Path(__file__).parents[2] / "bench" / "results" / "usage"


def test_a_day_of_a_few_rows(postgres_url: str, tmp_path: Path) -> None:
    kept = tmp_path / "usage.json"
    words = ("--rows", "480", "--days", "1", "--keys", "5", "--url", postgres_url, "--json", str(kept))
    done = subprocess.run([sys.executable, "-m", "bench.usage", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == json.loads(kept.read_text())
    assert [size["rows"] for size in told["sizes"]] == [48, 480]
    assert told["verify"]["problems"] == []
    for size in told["sizes"]:
        assert list(size["seconds_a_report"]) == [question.name for question in QUESTIONS]
    assert "not measured" in told[f"extrapolated_to_{EXTRAPOLATED}_rows"]["what"]
    again = subprocess.run([sys.executable, "-m", "bench.usage", *words], capture_output=True, text=True, check=False)
    assert again.returncode != 0
    assert "must name an empty database" in again.stderr


def test_the_run_that_is_kept_is_of_as_many_rows_as_it_was_to_be_and_below_the_limit() -> None:
    for file in KEPT.glob("*.json"):
        told = json.loads(file.read_text())
        assert told["sizes"][-1]["rows"] >= 5_000_000
        assert told["verify"]["problems"] == []
        assert max(map(judged, told["sizes"][-1]["seconds_a_report"].values())) < LIMIT_SECONDS
