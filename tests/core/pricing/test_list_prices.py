"""List prices of models that no catalogue names."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gateway.core.pricing.list_prices import MOST_WRITTEN, ListPrices
from gateway.core.types import LongContext, Price

PRICES = ListPrices(
    source="test 1",
    as_of="2026-11-10",
    models={
        "openai": {
            "gpt-9": {
                "input": Decimal("1.25"),
                "cached_input": Decimal("0.125"),
                "output": 10,
                "call": Decimal("0.01"),
                "long": {"above": 272000, "input": 2, "output": Decimal("1.5")},
                "tiers": {"flex": Decimal("0.5"), "priority": Decimal("1.667")},
                "context": 1_050_000,
            },
            "gpt-9-2026-05-13": {"input": 5, "output": 15, "context": 8192},
            "ft:gpt-9": {"input": 3, "output": 12},
        },
        "anthropic": {"claude-9": {"input": 3, "output": 15}},
        "google": {"gemini-9": {"input": Decimal("0.0000000001"), "output": 1}},
    },
    names={"openai": {"gpt-9-codex": "gpt-9"}},
    prefixes={"openai": "openai", "anthropic": "anthropic", "models": "google"},
)
GPT_9 = Price(
    input=1_250_000_000,
    cached_input=125_000_000,
    output=10_000_000_000,
    call=10_000_000,
    long=LongContext(272_000, 2000, 1500),
    tiers={"flex": 500, "priority": 1667},
    estimated=True,
)


@pytest.mark.parametrize(
    "model",
    [
        "gpt-9",
        "GPT-9",
        "gpt-9-codex",
        "openai/gpt-9",
        "openai/gpt-9-codex",
        "gpt-9-2026-08-06",
        "openai/gpt-9-20260806",
        "gpt-9@20260806",
        "gpt-9-latest",
        "gpt-9-codex-2026-08-06",
    ],
)
def test_a_model_is_found_by_its_names_a_vendors_prefix_and_a_date(model: str) -> None:
    assert PRICES.price(model) == GPT_9


@pytest.mark.parametrize(
    "model",
    ["gpt-9-mini", "gpt-9-2026", "anthropic/gpt-9", "azure/gpt-9", "openai/openai/gpt-9", "", "/", "openai/", "gpt-9 "],
)
def test_another_models_price_is_not_guessed(model: str) -> None:
    assert PRICES.price(model) is None
    assert PRICES.max_output(model) is None


def test_a_prefix_may_be_another_word_for_the_vendor() -> None:
    assert PRICES.price("models/gemini-9") == PRICES.price("gemini-9") is not None
    assert PRICES.price("google/gemini-9") is None  # not among the prefixes


def test_a_snapshot_with_a_price_of_its_own_has_that() -> None:
    price = PRICES.price("openai/gpt-9-2026-05-13")
    assert price is not None
    assert price.input == 5_000_000_000


@pytest.mark.parametrize("model", ["ft:gpt-9:us::1", "ft:gpt-9-2026-08-06:us:our-own:1"])
def test_a_fine_tuned_model_has_the_price_of_its_kind(model: str) -> None:
    assert PRICES.price(model) == Price(input=3_000_000_000, output=12_000_000_000, estimated=True)


def test_a_fine_tuned_model_of_an_unknown_kind_does_not_have_the_plain_models_price() -> None:
    assert PRICES.price("ft:claude-9:us::1") is None


@pytest.mark.parametrize("model", ["claude-9", "gemini-9", "gpt-9"])
def test_every_price_is_marked_as_a_guess_and_is_whole(model: str) -> None:
    price = PRICES.price(model)
    assert price is not None
    assert price.estimated
    assert type(price.input) is int
    assert price.input > 0  # rounded up: what costs anything is not free


def test_an_output_is_bounded_by_the_context_and_by_what_any_model_writes() -> None:
    assert PRICES.max_output("gpt-9") == MOST_WRITTEN
    assert PRICES.max_output("gpt-9-2026-05-13") == 8192
    assert PRICES.max_output("claude-9") == MOST_WRITTEN
