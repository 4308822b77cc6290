"""Every panel against a real Prometheus that scraped a real gateway after traffic: does it show what it says?"""

from __future__ import annotations

import math
from typing import Any

import pytest

from scripts.dashboards.prometheus import Series
from scripts.dashboards.queries import Answered, dashboards, legend_of, panels, problem_with

from .conftest import QUESTIONS, ROUNDS, Recorded, requests_sent

PANELS = [
    pytest.param(name, panel, id=f"{name}: {panel['title']}")
    for name, dashboard in dashboards().items()
    for panel in panels(dashboard)
]


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_every_query_shows_series_with_the_labels_its_legend_names(
    name: str, panel: dict[str, Any], answered: Recorded
) -> None:
    found = answered.panels[name][panel["id"]]
    assert len(found) == len(panel["targets"])
    for one in found:
        assert problem_with(one) is None, one.expression


@pytest.mark.parametrize("name", dashboards())
def test_every_variable_offers_something(name: str, answered: Recorded) -> None:
    for variable, values in answered.values[name].items():
        assert values, variable
    assert "alice" in answered.values[name].get("key", ["alice"])
    assert {"piapi", "backup"} <= set(answered.values[name]["upstream"])


def test_only_models_of_pictures_are_offered_among_images(answered: Recorded) -> None:
    assert answered.values["images"]["model"] == ["flux-dev", "flux-schnell", "gpt-4o-image", "gpt-image-1"]


class TestTheCheckItself:
    """A dead panel must not pass."""

    def test_a_query_that_finds_nothing_is_noticed(self, answered: Recorded) -> None:
        dead = Answered(QUESTIONS["one dead host"], "{{endpoint}}", answered.questions["one dead host"])
        assert problem_with(dead) == "shows nothing"

    def test_a_legend_without_its_label_is_noticed(self, answered: Recorded) -> None:
        nameless = Answered(QUESTIONS["no such label"], "{{colour}}", answered.questions["no such label"])
        assert problem_with(nameless) == "has a series without colour"

    def test_a_query_that_finds_no_number_is_noticed(self) -> None:
        assert problem_with(Answered("0 / 0", "", [Series({}, [(0.0, math.nan)])])) == "shows nothing"


class TestFigures:
    """Beyond "something is shown": the figures are those of the gateway."""

    def test_requests_are_all_counted_the_first_of_each_series_among_them(self, answered: Recorded) -> None:
        assert value(answered, "traffic", "Requests") == pytest.approx(requests_sent())
        without_the_first = answered.questions["increase"][0].points[0][1]
        assert without_the_first < requests_sent() * 0.9

    def test_what_went_wrong_upstream(self, answered: Recorded) -> None:
        figures = answered.figures
        timeouts = figures.total("gateway_upstream_attempts_total", outcome="cf_524")
        assert timeouts >= 2
        assert value(answered, "upstreams", "524s") == pytest.approx(timeouts)
        duplicates = figures.total("gateway_upstream_cost_usd_total", reason="suspected_duplicate")
        assert duplicates > 0
        assert value(answered, "upstreams", "Suspected duplicates") == pytest.approx(duplicates)
        failovers = figures.total("gateway_failovers_total")
        assert failovers >= 3
        assert value(answered, "upstreams", "Failovers") == pytest.approx(failovers)

    def test_keys_of_the_pool_went_to_rest(self, answered: Recorded) -> None:
        rests = by_legend(answered, "upstreams", "Cooldowns, by upstream key")
        assert rests["piapi old"] == 1
        assert rests["piapi second"] >= 1
        assert rests["piapi main"] == rests["backup spare"] == 0

    def test_pictures_and_their_price(self, answered: Recorded) -> None:
        made = answered.figures.total("gateway_images_total")
        assert made > 0
        assert value(answered, "images", "Pictures") == pytest.approx(made)
        by_key = by_legend(answered, "images", "Pictures, by key")
        assert set(by_key) == {"alice", "bob", "carol", "dave", "erin"}

    def test_chat_stays_out_of_images(self, answered: Recorded) -> None:
        charged = by_legend(answered, "images", "Charged, by model and upstream")
        assert charged
        assert all(name.startswith(("flux-", "gpt-4o-image", "gpt-image-1")) for name in charged)

    def test_an_event_is_one_in_bars(self, answered: Recorded) -> None:
        [bars] = answered.panels["upstreams"][panel_of("upstreams", "524s, by endpoint")["id"]]
        heights = [height for series in bars.series for _, height in series.points]
        assert all(math.isclose(height, round(height)) for height in heights)
        assert sum(heights) == answered.figures.total("gateway_upstream_attempts_total", outcome="cf_524")


class TestMoney:
    """The ledger's gauge shows the truth whatever the counters began with."""

    def test_this_month_is_what_the_keys_were_charged(self, answered: Recorded) -> None:
        charged = answered.figures.total("gateway_cost_usd_total")
        assert charged > 0
        assert value(answered, "spend", "This month") == pytest.approx(charged, rel=1e-6)
        assert value(answered, "spend", "Today") == pytest.approx(charged, rel=1e-6)

    def test_the_forecast_is_not_below_the_month(self, answered: Recorded) -> None:
        forecast = by_legend(answered, "spend", "Forecast for the month")
        assert set(forecast) == {"as this month so far", "as the last 7 days"}
        assert min(forecast.values()) >= value(answered, "spend", "This month")

    def test_a_used_up_budget_has_nothing_left(self, answered: Recorded) -> None:
        left = by_legend(answered, "spend", "Left of the budget, by key")
        assert set(left) == {"alice", "bob", "carol", "dave", "erin"}
        assert left["erin"] == pytest.approx(0.0, abs=1e-9)
        assert 0 < left["bob"] < 2
        assert set(by_legend(answered, "spend", "Left of the budget, by team")) == {"growth", "research"}

    def test_both_crossings_are_told(self, answered: Recorded) -> None:
        crossed = by_legend(answered, "spend", "Budgets crossed since the gateway started")
        assert crossed == {"erin, research: 80 %": 1, "erin, research: 100 %": 1}

    def test_what_has_no_price_is_told_apart(self, answered: Recorded) -> None:
        figures = answered.figures
        unpriced = figures.total("gateway_unpriced_requests_total")
        assert unpriced == ROUNDS
        assert value(answered, "spend", "Spend without a price") == pytest.approx(unpriced)
        places = by_legend(answered, "spend", "Without a price, by model, upstream and key")
        assert places == pytest.approx({"gpt-preview at piapi: frank": unpriced})
        [tokens] = answered.panels["spend"][panel_of("spend", "Tokens without a price, by model")["id"]]
        assert set(tokens.legends) >= {"gpt-preview: input", "gpt-preview: output"}

    def test_a_key_without_a_team_is_listed(self, answered: Recorded) -> None:
        [charged, *_] = answered.panels["spend"][panel_of("spend", "Keys")["id"]]
        assert "frank no team" in charged.legends


def panel_of(name: str, title: str) -> dict[str, Any]:
    """The panel with this title."""
    [found] = [panel for panel in panels(dashboards()[name]) if panel["title"] == title]
    return found


def by_legend(answered: Recorded, name: str, title: str) -> dict[str, float]:
    """A panel's last values by the names it shows."""
    return {
        legend_of(one.legend, series.labels): series.points[-1][1]
        for one in answered.panels[name][panel_of(name, title)["id"]]
        for series in one.series
    }


def value(answered: Recorded, name: str, title: str) -> float:
    """The only value of a panel."""
    [found] = by_legend(answered, name, title).values()
    return found
