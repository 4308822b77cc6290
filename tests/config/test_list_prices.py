"""The price data that the wheel ships."""

from __future__ import annotations

import json
import tomllib
from datetime import date
from importlib.resources import files
from pathlib import Path

import pytest

from gateway.config import describe_price, load
from gateway.config.list_prices import FILE, list_price, list_prices, unlisted_output, unlisted_price
from gateway.core.pricing.list_prices import AMOUNTS, TOKEN_PRICES
from scripts.price_data import VENDORS, as_file, installed_version, listed_models
from scripts.prices import PATH

MOST_BYTES = 300_000


def text() -> str:
    return files("gateway").joinpath(FILE).read_text(encoding="utf-8")


def test_the_file_says_where_it_is_from_of_what_day_and_under_which_licence() -> None:
    head = json.loads(text())
    assert head["source"] == "genai-prices"
    assert date(2026, 11, 10) <= date.fromisoformat(head["as_of"])
    assert "MIT License" in head["licence"]
    assert "Copyright (c) Pydantic Services Inc." in head["licence"]
    assert "shall be included in all copies" in head["licence"]


def test_it_is_small_and_in_the_wheel() -> None:
    assert len(text().encode()) < MOST_BYTES
    package_data = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
        "package-data"
    ]
    assert FILE in package_data["gateway"]


def test_every_row_is_one_that_a_chat_can_be_priced_by() -> None:
    prices = list_prices()
    assert prices.models.keys() == set(prices.prefixes.values()) == set(VENDORS)
    for vendor, models in prices.models.items():
        for model, row in models.items():
            assert row["input"] > 0, model
            assert row["output"] > 0, model
            assert row.keys() <= {*AMOUNTS, "long", "tiers", "context"}, model
            assert all(row[name] >= 0 for name in AMOUNTS if name in row), model
            price = prices.price(f"{vendor}/{model}")
            assert price is not None, model
            assert price.estimated
        for name, model in prices.names[vendor].items():
            assert model in models, name
            assert name not in models, name


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        # https://developers.openai.com/api/docs/models, of 2026-11
        ("gpt-5.2", {"input": "1.75", "cached_input": "0.175", "output": "14"}),
        ("gpt-5.4-mini-2026-03-17", {"input": "0.75", "cached_input": "0.075", "output": "4.5"}),
        ("openai/gpt-6-luna", {"input": "0.1", "cached_input": "0.01", "cache_write": "0.125", "output": "0.5"}),
        # https://platform.claude.com/docs/en/about-claude/pricing
        ("claude-sonnet-4-6", {"input": "3", "cached_input": "0.3", "cache_write": "3.75", "output": "15"}),
        ("anthropic/claude-opus-4-6", {"input": "5", "cached_input": "0.5", "cache_write": "6.25", "output": "25"}),
        # https://ai.google.dev/gemini-api/docs/pricing
        ("google/gemini-2.5-flash", {"input": "0.3", "cached_input": "0.03", "output": "2.5", "audio_input": "1"}),
        # Announced: twice as much from 2026-12-01. The dearer of the two is the bound.
        ("gemini-4-argon", {"input": "4", "cached_input": "0.2", "output": "20"}),
    ],
)
def test_known_prices(model: str, tokens: dict[str, str]) -> None:
    price = list_price(model)
    shown = describe_price(price)
    assert shown is not None
    assert {name: amount for name, amount in shown.items() if name in TOKEN_PRICES} == tokens
    assert unlisted_price(load(None, {}).upstreams["piapi"], model) == price


def test_a_long_request_and_a_fast_tier_cost_what_openai_says() -> None:
    price = list_price("gpt-6.1-sol")
    assert price is not None
    assert price.long is not None
    assert (price.long.above, price.long.input, price.long.output) == (272_000, 2000, 1500)
    assert price.tiers["flex"] == 500
    assert price.tiers["priority"] == price.tiers["fast"] == 2000


def test_what_a_model_may_write_is_bounded_by_its_context() -> None:
    assert unlisted_output("gpt-4") == 8192
    assert unlisted_output("openai/gpt-6-luna") == 131_072
    assert unlisted_output("nobody-knows-it") is None


def test_a_configuration_is_loaded_without_reading_it() -> None:
    list_prices.cache_clear()
    load(None, {})
    assert list_prices.cache_info().misses == 0


def test_it_is_what_the_installed_data_make() -> None:
    """After the lock has a newer genai-prices: make prices ARGS="--write --as-of DAY_IT_WAS_PUBLISHED"."""
    head = json.loads(text())
    assert head["version"] == installed_version()
    day = date.fromisoformat(head["as_of"])
    assert PATH.read_text(encoding="utf-8") == as_file(listed_models(day), day)
