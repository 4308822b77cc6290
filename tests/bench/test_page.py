"""docs/performance.md shows what the newest kept run measured."""

from __future__ import annotations

import pytest

from bench import page, results
from bench.report import Goal, Row


def test_the_page_says_what_the_newest_run_says() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert text == page.current(text), "run python -m bench.page"


def test_only_what_is_between_the_markers_is_written() -> None:
    row = Row("speed", Goal("speed of light", "µs"))
    row.add("gateway", 1.0)
    run = results.Run({"machine": "a small one"}, [row], {})
    old = f"# Speed\n\n{page.BEGIN}\nolder figures\n\n{page.END}\nMore.\n"
    new = page.written(old, run, "2026-11-29.json")
    assert new.startswith(f"# Speed\n\n{page.BEGIN}")
    assert new.endswith(f"{page.END}\nMore.\n")
    assert "older figures" not in new
    assert "| speed of light, µs | – | – | 1.00 / 1.00 |" in new
    assert "- machine: a small one\n- every round: `bench/results/2026-11-29.json`" in new
    assert page.written(new, run, "2026-11-29.json") == new
    assert page.NONE in page.written(new, None)


@pytest.mark.parametrize("broken", ["", page.BEGIN, page.END, page.BEGIN * 2 + page.END])
def test_a_page_without_its_markers_is_refused(broken: str) -> None:
    with pytest.raises(ValueError, match="marker"):
        page.written(broken, None)
