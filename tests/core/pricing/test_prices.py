"""Money: what usage costs, and who pays for what when an exchange ended one way or another."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.billing_terms import Asked, Terms
from gateway.core.pricing.prices import (
    amount_due,
    bill,
    charge,
    format_usd,
    image_stake,
    upper_bound,
    usd_number,
)
from gateway.core.pricing.usage_sums import believable
from gateway.core.types import Price, Usage

from .prices import (
    BACKUP,
    COUNTS,
    FACTORS,
    FLUX,
    GPT_4O,
    GPT_4O_IMAGE,
    GPT_IMAGE_1,
    OPERATIONS,
    PRICES,
    TIERS,
    USAGES,
    USD,
    WILD,
)


class TestTokens:
    def test_input_and_output_at_their_own_prices(self):
        assert charge(GPT_4O, Usage(1_000_000, 0, 1_000_000)) == 9_375_000_000
        assert charge(GPT_4O, Usage(8, 0, 9)) == 82_500

    def test_cached_input_has_its_own_price(self):
        usage = Usage(input_tokens=1000, cached_input_tokens=400, output_tokens=100)
        assert charge(BACKUP, usage) == 600 * 2500 + 400 * 1250 + 100 * 10000

    def test_cached_input_costs_as_much_as_any_where_no_price_is_given(self):
        assert charge(GPT_4O, Usage(1000, 400, 0)) == charge(GPT_4O, Usage(1000, 0, 0))

    def test_more_cached_than_sent_counts_as_all_of_it(self):
        assert charge(BACKUP, Usage(10, 99, 0)) == 10 * 1250

    @pytest.mark.parametrize(("tokens", "nano"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
    def test_a_sum_is_rounded_half_up(self, tokens: int, nano: int):
        assert charge(Price(input=500_000, output=0), Usage(tokens)) == nano

    def test_and_only_once(self):
        assert charge(Price(input=300_000, output=300_000), Usage(1, 0, 1)) == 1

    def test_the_minimum_holds_for_an_answer_that_came_whole_only(self):
        gizmo = replace(GPT_4O, minimum=5_000_000)
        assert charge(gizmo, Usage(1, 0, 1)) == 5_000_000
        assert charge(gizmo, Usage(1_000_000, 0, 0)) == 1_875_000_000
        assert amount_due(gizmo, Usage(1, 0, 1), succeeded=False) == 9_375

    def test_without_a_price_nothing_is_charged_and_the_amount_is_unknown(self):
        assert charge(None, Usage(10, 0, 10)) == 0
        assert amount_due(None, Usage(10, 0, 10)) is None
        assert amount_due(Price(), Usage(10, 0, 10)) is None

    def test_half_a_price_is_enough_for_half_a_usage(self):
        only_input = Price(input=USD)
        assert amount_due(only_input, Usage(10, 0, 0)) == 10_000
        assert amount_due(only_input, Usage(10, 0, 1)) is None

    def test_free_is_not_unknown(self):
        assert amount_due(Price(input=0, output=0), Usage(10, 0, 10)) == 0


class TestImages:
    @pytest.mark.parametrize(("images", "nano"), [(0, 660_000), (1, 20_000_000), (4, 20_000_000)])
    def test_gpt_4o_image_costs_by_the_answer_however_many_it_holds(self, images: int, nano: int):
        assert charge(GPT_4O_IMAGE, Usage(50, 0, 900), images=images) == nano

    def test_an_answer_without_an_image_is_free_where_no_price_says_otherwise(self):
        assert amount_due(Price(image=5), Usage(), images=0) == 0

    def test_a_task_costs_by_the_image(self):
        assert charge(FLUX, Usage(images=4), operation="task") == 60_000_000
        assert charge(FLUX, Usage(), operation="task", images=0) == 0

    def test_gpt_image_1_costs_by_its_tokens_where_the_upstream_names_them(self):
        usage = Usage(input_tokens=60, cached_input_tokens=15, output_tokens=272, images=1, image_input_tokens=50)
        text_cached, image_cached = 10, 5
        expected = (text_cached + image_cached) * 1250 + 45 * 10_000 + 272 * 40_000
        assert charge(GPT_IMAGE_1, usage, operation="images", quality="low", size="1024x1024") == expected

    @pytest.mark.parametrize("usage", [Usage(), Usage(60, 0, 0, confidence="estimated")])
    def test_and_by_the_table_where_it_does_not(self, usage: Usage):
        due = charge(GPT_IMAGE_1, usage, operation="images", images=2, quality="low", size="1536x1024")
        assert due == 32_000_000

    @pytest.mark.parametrize(
        ("quality", "size", "nano"),
        [("auto", "auto", 250_000_000), (None, "1024x1024", 167_000_000), ("low", None, 16_000_000)],
    )
    def test_what_was_left_to_the_upstream_counts_as_the_dearest_it_may_have_chosen(
        self, quality: str | None, size: str | None, nano: int
    ):
        assert charge(GPT_IMAGE_1, Usage(), operation="images", images=1, quality=quality, size=size) == nano

    def test_a_table_is_the_price_where_tokens_have_none(self):
        price = Price(table={"low": {"1024x1024": 11_000_000}})
        usage = Usage(10, 0, 272, images=1)
        assert charge(price, usage, operation="images", quality="low", size="1024x1024") == 11_000_000


class TestUpperBound:
    def test_tokens(self):
        assert upper_bound(GPT_4O, 1000, 500) == 1000 * 1875 + 500 * 7500
        assert upper_bound(Price(input=1, output=1), 1, 1) == 1

    def test_images(self):
        assert upper_bound(GPT_4O_IMAGE, 10**6, 10**6) == 20_000_000
        assert upper_bound(FLUX, 0, 0, 3, operation="task") == 45_000_000
        assert upper_bound(GPT_IMAGE_1, 0, 0, 2, operation="images", quality="high") == 500_000_000

    def test_nothing_is_known_without_a_price(self):
        assert upper_bound(None, 10, 10) == 0


class TestImageStake:
    """What is at stake when an image's fate is unknown: the price of just this order."""

    @pytest.mark.parametrize(
        ("quality", "size", "images", "stake"),
        [
            ("low", "1024x1024", 1, 11_000_000),
            ("low", "1024x1024", 3, 33_000_000),
            ("high", "1536x1024", 1, 250_000_000),
            (None, None, 1, 250_000_000),
            ("low", "auto", 1, 16_000_000),
        ],
    )
    def test_a_table_is_asked_for_this_quality_and_size(
        self, quality: str | None, size: str | None, images: int, stake: int
    ):
        assert image_stake(GPT_IMAGE_1, images, operation="images", quality=quality, size=size) == stake

    def test_an_answer_in_a_chat_costs_the_same_however_many_it_holds(self):
        assert image_stake(GPT_4O_IMAGE, 3, operation="chat", quality=None, size=None) == 20_000_000

    def test_tasks_cost_by_the_image(self):
        assert image_stake(FLUX, 4, operation="task", quality=None, size=None) == 60_000_000

    @pytest.mark.parametrize("price", [None, GPT_4O])
    def test_a_price_that_names_no_image_says_nothing(self, price: Price | None):
        assert image_stake(price, 1, operation="images", quality=None, size=None) is None


class TestDollars:
    @pytest.mark.parametrize(
        ("nano", "text"),
        [
            (0, "0.00"),
            (1_500_000_000, "1.50"),
            (660_000, "0.00066"),
            (1, "0.000000001"),
            (123_456_789_012_345_678, "123456789.012345678"),
            (-3_100_000_000, "-3.10"),
        ],
    )
    def test_an_exact_decimal_for_people(self, nano: int, text: str):
        assert format_usd(nano) == text

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 10**15), max_size=30))
    def test_what_is_printed_sums_up_to_the_cent_and_below(self, amounts: list[int]):
        printed = sum((Decimal(format_usd(nano)) for nano in amounts), Decimal(0))
        assert printed == Decimal(format_usd(sum(amounts)))

    @settings(deadline=None)
    @given(st.integers(0, 10**15))
    def test_the_number_for_json_names_the_same_amount(self, nano: int):
        assert round(usd_number(nano) * USD) == nano
        assert usd_number(nano) == float(format_usd(nano))


@settings(deadline=None)
@given(PRICES, USAGES, st.integers(0, 5), OPERATIONS)
def test_no_amount_is_ever_negative_or_anything_but_an_integer(price: Price, usage: Usage, images: int, operation: Any):
    amount = charge(price, usage, operation=operation, images=images)
    assert type(amount) is int
    assert amount >= 0


@settings(deadline=None)
@given(PRICES, USAGES, st.integers(0, 5), OPERATIONS, TIERS, st.booleans())
def test_no_amount_ever_exceeds_its_upper_bound(
    price: Price, usage: Usage, images: int, operation: Any, tier: str | None, downgraded: bool
):
    asked = Asked(tier, usage.calls, "12h")
    bound = upper_bound(price, usage.input_tokens, usage.output_tokens, images, operation=operation, asked=asked)
    terms = Terms(tier, "default" if downgraded else tier)
    priced = bill(price, usage, operation=operation, images=images, terms=terms)
    assert type(priced.amount or 0) is int
    assert (priced.amount or 0) <= bound


SURCHARGED = st.tuples(PRICES, FACTORS, FACTORS, st.integers(0, 10**11), st.integers(0, 10**11)).map(
    lambda drawn: replace(
        drawn[0],
        input=drawn[3],
        output=drawn[4],
        long=drawn[0].long and replace(drawn[0].long, input=drawn[1], output=drawn[2]),
        image=None,
        table={},
    )
)
"""Prices of all tokens, with surcharges that make nothing cheaper."""


@settings(deadline=None)
@given(SURCHARGED, USAGES, TIERS, st.integers(1, 1000))
def test_more_tokens_and_more_calls_never_cost_less(price: Price, usage: Usage, tier: str | None, more: int):
    def due(used: Usage) -> int:
        amount = bill(price, used, terms=Terms(tier, None)).amount
        assert type(amount) is int
        return amount

    for name in ("input_tokens", "output_tokens", "calls"):
        assert due(usage) <= due(replace(usage, **{name: getattr(usage, name) + more}))


DEARER = {
    "cached_input_tokens": "cached_input",
    "cache_write_tokens": "cache_write",
    "image_input_tokens": "image_input",
    "audio_input_tokens": "audio_input",
    "image_output_tokens": "image_output",
    "audio_output_tokens": "audio_output",
}


@settings(deadline=None)
@given(SURCHARGED, COUNTS, COUNTS, COUNTS, st.integers(1, 1000), st.sampled_from([*DEARER]))
def test_a_part_that_is_dearer_than_the_rest_makes_a_bill_dearer_and_a_cheaper_one_cheaper(
    price: Price, tokens_in: int, tokens_out: int, part: int, more: int, name: str
):
    own, rest = getattr(price, DEARER[name]), price.output if "output" in name else price.input
    plain = Usage(tokens_in, 0, tokens_out)
    fewer = bill(price, replace(plain, **{name: part})).amount or 0
    larger = bill(price, replace(plain, **{name: part + more})).amount or 0
    assert rest is not None
    if own is None or own == rest:
        assert fewer == larger
    else:
        assert fewer <= larger if own > rest else fewer >= larger


@settings(deadline=None)
@given(st.builds(Usage, WILD, WILD, WILD))
def test_what_cannot_be_believed_is_refused(usage: Usage):
    if believable(usage):
        assert charge(GPT_4O, usage) >= 0
    else:
        with pytest.raises(ValueError, match="whole numbers"):
            charge(GPT_4O, usage)
