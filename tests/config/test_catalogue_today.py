"""The catalogue's models of today, held against the vendors' pages: prices, tiers, ends, and what is only a bound."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import NamedTuple

import pytest

from gateway.config import days_old, load, load_catalogue
from gateway.core.types import CostClass, LongContext
from tests.days import TODAY, noon_ns

STANDARD = {"flex": "0.5", "fast": "2", "priority": "2"}
ULTRA = {**STANDARD, "ultrafast": "6"}
FLEX = {"flex": "0.5"}
LONG = LongContext(above=272_000, input=2000, output=1500)


class Row(NamedTuple):
    """US dollars per 1M tokens, as the vendor's list has them; "" where there is no such price."""

    model: str
    input: str
    cached: str
    written: str
    output: str
    tiers: dict[str, str]
    long: LongContext | None = None
    shutdown: str = ""
    successor: str = ""
    max_output: int = 128_000
    estimated: bool = False


ROWS = [
    Row("gpt-6.2-astra", "8", "0.40", "10", "40", STANDARD, LONG),
    Row("gpt-6.2-sol", "2", "0.10", "2.50", "10", ULTRA, LONG),
    Row("gpt-6.1-sol", "2", "0.10", "2.50", "10", ULTRA, LONG),
    Row("gpt-6.1-terra", "1", "0.05", "1.25", "5", STANDARD, LONG),
    Row("gpt-6-luna", "0.10", "0.01", "0.125", "0.50", STANDARD, LONG),
    Row("gpt-6-sol", "2", "0.20", "2.50", "10", STANDARD, LONG),
    Row("gpt-6-astra", "10", "1", "12.50", "50", ULTRA, LONG),
    Row("gpt-5.6-luna", "0.20", "0.02", "0.25", "1.20", STANDARD, LONG),
    Row("gpt-5.6-terra", "2", "0.20", "2.50", "12", STANDARD, LONG),
    Row("gpt-5.6-sol", "5", "0.50", "6.25", "30", STANDARD, LONG, estimated=True),
    Row("gpt-5.5", "5", "0.50", "", "30", {"flex": "0.5", "fast": "2.5", "priority": "2.5"}, LONG),
    Row("gpt-5.4", "2.50", "0.25", "", "15", STANDARD, LONG),
    Row("gpt-5.4-mini", "0.75", "0.075", "", "4.50", STANDARD),
    Row("gpt-5.4-nano", "0.20", "0.02", "", "1.25", FLEX, None, "2027-04-01", "gpt-6-luna"),
    Row("gpt-5.2", "1.75", "0.175", "", "14", STANDARD),
    Row("gpt-5.1", "1.25", "0.125", "", "10", STANDARD, None, "2027-04-01", "gpt-6-sol"),
    Row("gpt-5", "1.25", "0.125", "", "10", STANDARD, None, "2026-12-11", "gpt-6.1-sol"),
    Row(
        "gpt-5-mini", "0.25", "0.025", "", "2", {**FLEX, "fast": "1.8", "priority": "1.8"}, None, "2026-12-11",
        "gpt-6.1-terra",
    ),
    Row("gpt-5-nano", "0.05", "0.005", "", "0.40", FLEX, None, "2026-12-11", "gpt-6-luna"),
    Row("chat-latest", "5", "0.50", "", "30", {}),
    Row(
        "gpt-4o", "2.50", "1.25", "", "10", {"fast": "1.7", "priority": "1.7"}, None, "2027-01-14", "gpt-6-luna", 16_384
    ),
    Row(
        "gpt-4o-mini", "0.15", "0.075", "", "0.60", {"fast": "1.667", "priority": "1.667"}, None, "2027-01-14",
        "gpt-6-luna", 16_384,
    ),
    Row("gpt-4o-2024-05-13", "5", "", "", "15", {"fast": "1.75", "priority": "1.75"}, max_output=16_384),
    Row(
        "gpt-4.1", "2", "0.50", "", "8", {"fast": "1.75", "priority": "1.75"}, None, "2027-01-14", "gpt-6-luna", 32_768
    ),
    Row(
        "gpt-4.1-mini", "0.40", "0.10", "", "1.60", {"fast": "1.75", "priority": "1.75"}, None, "2027-01-14",
        "gpt-6-luna", 32_768,
    ),
    Row("gpt-4.1-nano", "0.10", "0.025", "", "0.40", {}, None, "2026-10-23", "gpt-6-luna", 32_768),
]  # fmt: skip

GONE = {("gpt-4.1-nano", 1), ("gpt-3.5-turbo", 1), ("gpt-image-1", 1)}
"""What OpenAI has shut down by ``TODAY``: the model, and which of its targets."""


def nano(usd: str) -> int | None:
    return int(Decimal(usd) * 10**9) if usd else None


@pytest.fixture(scope="module")
def routes():
    config = load(None, {"PIAPI_API_KEY": "one", "BACKUP_API_KEY": "two"})
    return {route.model: route for route in config.routes}


def at_openai(route):
    (target,) = [one for one in route.targets if one.upstream.name == "backup"]
    return target


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.model)
def test_openais_chat_models(routes, row):
    route = routes[row.model]
    target = at_openai(route)
    price = target.price
    assert (target.model, target.operation, target.cost_class) == (row.model, "chat", CostClass.TOKENS)
    assert (price.input, price.cached_input, price.cache_write, price.output) == tuple(
        nano(usd) for usd in (row.input, row.cached, row.written, row.output)
    )
    assert price.tiers == {tier: int(Decimal(factor) * 1000) for tier, factor in row.tiers.items()}
    assert (price.long, price.estimated) == (row.long, row.estimated)
    assert (target.shutdown, target.successor) == (row.shutdown, row.successor)
    assert route.max_output == row.max_output


def test_the_table_above_has_every_chat_model_of_openais(routes):
    found = {
        name
        for name, route in routes.items()
        for one in route.targets
        if (one.upstream.name, one.operation) == ("backup", "chat")
    }
    assert found - {row.model for row in ROWS} == {"gpt-3.5-turbo"}  # it ended, and no price of it is known


@pytest.mark.parametrize(
    ("model", "tier", "input", "cached", "output"),
    [  # the amounts that the vendor's page lists for the tier itself
        ("gpt-4o", "priority", "4.25", "2.125", "17"),
        ("gpt-4.1", "fast", "3.50", "0.875", "14"),
        ("gpt-4.1-mini", "fast", "0.70", "0.175", "2.80"),
        ("gpt-5.5", "fast", "12.50", "1.25", "75"),
        ("gpt-5-mini", "priority", "0.45", "0.045", "3.60"),
        ("gpt-5.2", "priority", "3.50", "0.35", "28"),
        ("gpt-5.4-nano", "flex", "0.10", "0.01", "0.625"),
        ("gpt-6-luna", "fast", "0.20", "0.02", "1"),
        ("gpt-4o-2024-05-13", "fast", "8.75", "", "26.25"),
    ],
)
def test_a_tier_comes_to_what_its_own_list_says(routes, model, tier, input, cached, output):
    price = at_openai(routes[model]).price
    times = price.tiers[tier]
    for amount, usd in ((price.input, input), (price.cached_input, cached), (price.output, output)):
        if usd:
            assert amount * times == nano(usd) * 1000


def test_the_fast_tier_of_gpt_4o_mini_is_rounded_up_to_a_thousandth(routes):
    price = at_openai(routes["gpt-4o-mini"]).price
    assert nano("0.25") <= price.input * price.tiers["fast"] // 1000 <= nano("0.2501")
    assert nano("1") <= price.output * price.tiers["fast"] // 1000 <= nano("1.0005")


def test_writes_cost_a_quarter_more_than_input_and_searches_a_cent(routes):
    for row in ROWS:
        price = at_openai(routes[row.model]).price
        if price.cache_write is not None:
            assert price.cache_write * 4 == price.input * 5, row.model
        assert price.call in (None, nano("0.01")), row.model


@pytest.mark.parametrize(
    ("model", "input", "output"),
    [
        ("gpt-5", "1.25", "10"),
        ("gpt-5.2", "1.75", "14"),
        ("claude-opus-4-6", "5", "25"),
        ("claude-sonnet-4-6", "3", "15"),
    ],
)
def test_what_piapi_takes_for_a_new_model_is_bounded_by_the_list_price(routes, model, input, output):
    target = routes[model].targets[0]
    assert (target.upstream.name, target.shutdown) == ("piapi", "")
    assert (target.price.input, target.price.output) == (nano(input), nano(output))
    assert target.price.cached_input is None  # so that nothing is counted for less
    assert target.price.estimated
    assert load_catalogue().models[model].targets[0].confidence == "low"


def test_what_nobody_prices_has_no_price(routes):
    (target,) = routes["gemini-2.5-flash-nothinking"].targets
    assert (target.upstream.name, target.price) == ("piapi", None)


def test_a_guess_is_marked_as_one_and_nothing_else_is():
    guesses = {
        (model, target.upstream)
        for model, section in load_catalogue().models.items()
        for target in section.targets
        if target.price is not None and target.price.estimated
    }
    piapi = {("gpt-5", "piapi"), ("gpt-5.2", "piapi"), ("claude-opus-4-6", "piapi"), ("claude-sonnet-4-6", "piapi")}
    assert guesses == {*piapi, ("gpt-5.6-sol", "backup")}


def test_other_names_of_models(routes):
    assert {
        name: route.aliases for name, route in routes.items() if route.aliases and name.startswith(("gpt-5", "chat"))
    } == {
        "gpt-5.6-sol": ("gpt-5.6",),
        "chat-latest": ("gpt-chat-latest",),
    }


class TestPictures:
    def test_that_end_in_two_days_are_priced_until_then(self, routes):
        piapi, openai, stand_in = routes["gpt-image-1.5"].targets
        for target in (piapi, openai):
            price = target.price
            assert (target.operation, target.cost_class) == ("images", CostClass.PAID)
            assert (price.input, price.cached_input) == (nano("5"), nano("1.25"))
            assert (price.image_input, price.output) == (nano("8"), nano("32"))
            assert price.table["high"] == {
                "1024x1024": nano("0.133"),
                "1024x1536": nano("0.2"),
                "1536x1024": nano("0.2"),
            }
        assert (openai.shutdown, openai.successor) == ("2026-12-01", "gpt-image-2.6-flare")
        assert (piapi.shutdown, stand_in.model, stand_in.shutdown) == ("", "gpt-image-2.6-flare", "")

    def test_of_a_table_cost_what_their_tokens_do(self, routes):
        price = routes["gpt-image-1.5"].targets[0].price
        tokens = {"low": (272, 408, 400), "medium": (1056, 1584, 1568), "high": (4160, 6240, 6208)}
        for quality, counts in tokens.items():
            for listed, count in zip(price.table[quality].values(), counts, strict=True):
                assert abs(listed - count * price.output // 10**6) < nano("0.0015")

    def test_of_the_small_model_end_without_a_stand_in_that_costs_four_times_as_much(self, routes):
        (target,) = routes["gpt-image-1-mini"].targets
        assert (target.upstream.name, target.shutdown, target.successor) == (
            "backup",
            "2026-12-01",
            "gpt-image-2.6-flare",
        )
        price = target.price
        assert (price.input, price.cached_input, price.image_input, price.output) == tuple(
            nano(usd) for usd in ("2", "0.20", "2.50", "8")
        )

    def test_of_the_preview_have_one_price(self, routes):
        (target,) = routes["gpt-image-2-preview"].targets
        assert (target.upstream.name, target.operation, target.price.image) == ("piapi", "images", nano("0.10"))


class TestEnds:
    def test_stand_at_openais_targets_only_and_name_a_successor_that_lives(self, routes):
        for model, route in routes.items():
            for target in route.targets:
                if target.shutdown:
                    assert target.upstream.name == "backup", model
                    if target.operation in ("transcriptions", "translations"):
                        continue  # for which OpenAI has named none yet
                    successor = routes[target.successor]
                    assert any(not one.shutdown for one in successor.targets), model

    def test_that_have_come_leave_no_route_without_a_target(self, routes):
        now_ns = noon_ns(TODAY)
        ended = {
            (model, index)
            for model, route in routes.items()
            for index, target in enumerate(route.targets)
            if target.ends_ns is not None and target.ends_ns <= now_ns
        }
        assert ended == GONE
        assert all(len(routes[model].targets) > 1 for model, _ in GONE)

    def test_bring_no_other_chat_model_in_silence(self, routes):
        for model, route in routes.items():
            assert all(one.model == model for one in route.targets if one.operation == "chat"), model


def test_every_row_says_where_it_is_from_when_that_was_and_how_sure_it_is():
    as_of = load_catalogue().as_of
    for model, section in load_catalogue().models.items():
        for target in section.targets:
            assert target.source, model
            assert target.confidence, model
            assert target.as_of == "mid-2025" or date.fromisoformat(target.as_of) <= as_of, model


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4.1-mini",
        "gpt-4.1-nano",
        "gpt-3.5-turbo",
        "claude-3-7-sonnet-20250219",
        "claude-sonnet-4-20250514",
        "gpt-4-gizmo-*",
    ],
)
def test_what_piapi_may_no_longer_have_is_said(routes, model):
    assert any("whether PiAPI still has it is not stated" in note for note in routes[model].notes)


def test_the_day_of_the_whole_catalogue():
    assert load_catalogue().as_of == date(2026, 11, 29)
    assert load(None, {}).prices_as_of == date(2026, 11, 29)


@pytest.mark.parametrize(
    ("now", "days"),
    [
        ("2026-11-29T00:00:00", 0),
        ("2026-11-29T23:59:59", 0),
        ("2026-11-30T00:00:00", 1),
        ("2027-11-29T12:00:00", 365),
        ("2026-11-01T12:00:00", 0),
    ],
)
def test_age_is_counted_in_days_and_never_below_none(now, days):
    now_ns = int(datetime.fromisoformat(now).replace(tzinfo=UTC).timestamp()) * 10**9
    assert days_old(date(2026, 11, 29), now_ns) == days
