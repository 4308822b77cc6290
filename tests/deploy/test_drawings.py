"""The pictures of the dashboards: charts of real answers, of the dashboards as they are, and labelled as drawn."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from PIL import Image

from scripts.dashboards.figures import shown
from scripts.dashboards.picture import EMPTY, FOLDER, LABEL, MARK, draw, empty, mark, save
from scripts.dashboards.prometheus import DEPLOY, Series
from scripts.dashboards.queries import Answered, View, dashboards, panels

from .conftest import Recorded

VIEW = View(0.0, 60.0, 1.0, 10.0)


@pytest.mark.parametrize("name", dashboards())
class TestThePicturesInTheRepository:
    def test_are_of_the_dashboards_as_they_are(self, name: str) -> None:
        with Image.open(FOLDER / f"{name}.png") as picture:
            assert picture.info[MARK] == mark(dashboards()[name]), "run python -m scripts.draw_dashboards"

    def test_show_something_in_every_panel(self, name: str) -> None:
        with Image.open(FOLDER / f"{name}.png") as picture:
            assert json.loads(picture.info[EMPTY]) == [], "run python -m scripts.draw_dashboards"

    def test_are_labelled_as_drawn(self, name: str) -> None:
        with Image.open(FOLDER / f"{name}.png") as picture:
            assert picture.info["Description"] == LABEL
        readme = (DEPLOY / "grafana" / "README.md").read_text(encoding="utf-8")
        assert f"(pictures/{name}.png)" in readme
        assert LABEL in readme


@pytest.mark.parametrize("name", dashboards())
def test_what_prometheus_answered_can_be_drawn(name: str, answered: Recorded, tmp_path: Path) -> None:
    dashboard = dashboards()[name]
    image = draw(dashboard, answered.panels[name], answered.view, "a test")
    nothing = draw(dashboard, {panel["id"]: [] for panel in panels(dashboard)}, answered.view, "a test")
    assert image.size == nothing.size
    assert image.tobytes() != nothing.tobytes()
    path = tmp_path / "picture.png"
    save(image, dashboard, [], path)
    with Image.open(path) as saved:
        assert saved.info[MARK] == mark(dashboard)


class TestWhatIsDrawn:
    def test_another_value_makes_another_picture(self) -> None:
        dashboard = dashboards()["upstreams"]
        low, high = (draw(dashboard, answers(value), VIEW, "") for value in (1.0, 3.0))
        assert low.tobytes() != high.tobytes()
        assert low.tobytes() == draw(dashboard, answers(1.0), VIEW, "").tobytes()

    def test_values_that_are_no_numbers_are_left_out(self) -> None:
        dashboard = dashboards()["upstreams"]
        for value in (math.nan, math.inf):
            assert draw(dashboard, answers(value), VIEW, "").tobytes() == draw(dashboard, answers(), VIEW, "").tobytes()
            assert set(empty(dashboard, answers(value))) == {panel["title"] for panel in panels(dashboard)}

    def test_the_mark_changes_with_a_query(self) -> None:
        dashboard = dashboards()["upstreams"]
        before = mark(dashboard)
        panels(dashboard)[0]["targets"][0]["expr"] = "vector(1)"
        assert mark(dashboard) != before


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.0, "currencyUSD", "$0.00"),
        (0.02, "currencyUSD", "$0.0200"),
        (1234.5, "currencyUSD", "$1,234.50"),
        (-0.5, "currencyUSD", "-$0.5000"),
        (0.0, "s", "0 s"),
        (0.000051, "s", "51 µs"),
        (0.25, "s", "250 ms"),
        (12.0, "s", "12 s"),
        (0.1234, "percentunit", "12.3 %"),
        (2.5, "reqps", "2.5/s"),
        (1500.0, "short", "1.5 K"),
        (3.0, "short", "3"),
        (math.nan, "short", "–"),
    ],
)
def test_numbers_are_shown_in_their_unit(value: float, unit: str, words: str) -> None:
    assert shown(value, unit) == words


def answers(*values: float) -> dict[int, list[Answered]]:
    """The same answer for every panel of Upstreams: one series with this value all the time, or none."""
    labels = dict.fromkeys(("upstream", "endpoint", "upstream_key", "outcome", "reason", "from", "to", "model"), "x")
    series = [Series(labels, [(float(second), value) for second in range(61)]) for value in values]
    return {panel["id"]: [Answered("", "{{upstream}}", series)] for panel in panels(dashboards()["upstreams"])}
