"""Service tiers: what one costs, and the dearest that a request may be served in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.billing_terms import Asked, Terms
from gateway.core.pricing.service_tiers import billed_tier, most_tier_factor, tier_factor
from gateway.core.types import Price

SOL = Price(tiers={"flex": 500, "fast": 2000, "ultrafast": 6000})
NAMES = st.sampled_from([None, "", "auto", "default", "standard", "flex", "fast", "priority", "ultrafast", "warp"])


@pytest.mark.parametrize(
    ("asked", "most"),
    [
        (None, 2000),  # what the account's settings may say
        ("auto", 2000),
        ("default", 1000),
        ("standard", 1000),
        ("flex", 1000),  # may be served as usual
        ("fast", 2000),
        ("priority", 2000),
        ("Ultrafast", 6000),
        ("warp", 6000),
    ],
)
def test_the_dearest_that_may_come(asked: str | None, most: int) -> None:
    assert most_tier_factor(SOL, Asked(asked)) == most
    assert most_tier_factor(Price(), Asked(asked)) == 1000


def test_two_prices_for_the_tier_with_two_names() -> None:
    both = Price(tiers={"fast": 2000, "Priority": 2500})
    assert most_tier_factor(both, Asked("fast")) == 2500
    assert tier_factor(both, Terms("fast", "priority")) == (2500, True)
    assert tier_factor(both, Terms("fast", None)) == (2000, True)


def test_the_name_of_what_is_billed() -> None:
    assert billed_tier(Terms("priority", "default")) is None
    assert billed_tier(Terms("Flex", None)) == "flex"
    assert billed_tier(Terms("flex", "auto")) == "flex"


@given(st.dictionaries(st.sampled_from(["flex", "fast", "priority", "ultrafast"]), st.integers(1, 10_000)), NAMES)
def test_neither_the_tier_that_was_asked_nor_the_usual_one_costs_more_than_was_reserved(
    tiers: dict[str, int], asked: str | None
) -> None:
    price = Price(tiers=tiers)
    for echoed in (None, asked, "default", "auto"):
        assert tier_factor(price, Terms(asked, echoed))[0] <= most_tier_factor(price, Asked(asked))
