"""The most a request can cost: as long as it keeps its bounds, what is charged afterwards is never more."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.billing_terms import USUAL_TERMS, Asked, Terms
from gateway.core.pricing.cost_bound import DEFAULT_MAX_OUTPUT, RequestedWork, cost_bound, most_output
from gateway.core.pricing.prices import bill, charge, image_stake
from gateway.core.types import OperationName, Price, Target, Usage
from tests.core.builders import backup, target, upstream

from .prices import BACKUP, FLUX, GPT_4O, GPT_4O_IMAGE, GPT_IMAGE_1, OPERATIONS, PRICES, TIERS, USD

CENT = USD // 100
GPT_IMAGE_2_5 = Price(
    input=5 * USD,
    cached_input=1_250_000_000,
    image_input=8 * USD,
    output=30 * USD,
    picture_tokens={"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96},
)


def priced(price: Price | None, operation: OperationName = "chat") -> Target:
    return target(upstream(), "model", price=price, operation=operation)


class TestOutput:
    @pytest.mark.parametrize(
        ("asked", "limit", "most"),
        [
            (None, None, DEFAULT_MAX_OUTPUT),
            (None, 4096, 4096),
            (100, 4096, 100),
            (100_000, 4096, 4096),  # a model does not write more than it can
            (100_000, None, 100_000),
        ],
    )
    def test_the_clients_bound_or_the_models_whichever_is_less(self, asked: int | None, limit: int | None, most: int):
        assert most_output(asked, limit) == most
        assert most_output(asked, limit, choices=3) == 3 * most

    def test_thinking_may_come_on_top_of_the_clients_bound_but_not_of_the_models(self):
        assert most_output(1_000, None, beside=16_000) == 17_000
        assert most_output(1_000, 64_000, beside=16_000) == 17_000
        assert most_output(1_000, 8_192, choices=2, beside=16_000) == 16_384
        assert most_output(None, 8_192, beside=16_000) == 8_192


class TestChat:
    def test_input_and_output_at_the_dearest_target(self):
        asked = RequestedWork(input_tokens=1_000_000, output_tokens=2_000_000)
        piapi, other = target(upstream(), price=GPT_4O), target(backup(), price=BACKUP)
        assert cost_bound([piapi], asked) == 1_875_000_000 + 2 * 7_500_000_000
        assert cost_bound([piapi, other], asked) == cost_bound([other], asked) == 2_500_000_000 + 2 * 10_000_000_000

    def test_a_chat_that_is_sold_by_the_image_costs_an_image_however_long_it_is(self):
        asked = RequestedWork(input_tokens=10**6, output_tokens=10**6)
        assert cost_bound([priced(GPT_4O_IMAGE)], asked) == 2 * CENT

    def test_a_chat_that_a_maker_of_images_may_serve_costs_what_either_takes(self):
        asked = RequestedWork(input_tokens=10, output_tokens=10)
        assert cost_bound([priced(GPT_4O), priced(FLUX, "task")], asked) == 15_000_000
        assert cost_bound([priced(GPT_4O), priced(FLUX, "task")], replace(asked, output_tokens=10**6)) > USD

    def test_a_minimum_is_part_of_it(self):
        assert cost_bound([priced(replace(GPT_4O, minimum=CENT))], RequestedWork(1, 1)) == CENT

    def test_nothing_is_bought_where_nobody_serves(self):
        assert cost_bound([], RequestedWork(10, 10)) == 0


class TestUnknown:
    @pytest.mark.parametrize(
        ("price", "operation"),
        [
            (None, "chat"),
            (None, "task"),
            (Price(minimum=CENT), "chat"),
            (Price(input=USD), "chat"),
            (Price(output=USD), "images"),
            (Price(table=GPT_IMAGE_1.table), "chat"),
            (Price(no_image=CENT), "images"),
        ],
    )
    def test_one_target_without_a_whole_price_makes_the_bound_unknown(
        self, price: Price | None, operation: OperationName
    ):
        assert cost_bound([priced(price, operation)], RequestedWork(10, 10)) is None
        assert cost_bound([priced(GPT_4O), priced(price, operation)], RequestedWork(10, 10)) is None

    def test_free_is_known(self):
        assert cost_bound([priced(Price(input=0, output=0))], RequestedWork(10, 10)) == 0


class TestImages:
    def test_tasks_and_chats_cost_the_price_of_every_image(self):
        assert cost_bound([priced(FLUX, "task")], RequestedWork(subrequests=(4, 2))) == 6 * 15_000_000
        assert cost_bound([priced(GPT_4O_IMAGE)], RequestedWork(subrequests=(1, 1, 1))) == 6 * CENT

    def test_every_subrequest_may_go_to_the_dearest_target(self):
        asked = RequestedWork(subrequests=(1, 1), quality="high", size="1024x1024")
        both = [priced(GPT_4O_IMAGE), priced(GPT_IMAGE_1, "images")]
        assert cost_bound(both, asked) == cost_bound(both[1:], asked)
        assert cost_bound(both[1:], asked) == 2 * (167_000_000 + 500_000)

    def test_what_is_left_to_the_upstream_counts_as_its_dearest_choice(self):
        bound = cost_bound([priced(GPT_IMAGE_1, "images")], RequestedWork())
        assert bound == 250_000_000 + 500_000

    def test_prompt_sources_and_previews_come_on_top_where_tokens_are_billed(self):
        plain = RequestedWork(quality="low", size="1024x1024")
        images, task = [priced(GPT_IMAGE_1, "images")], [priced(FLUX, "task")]
        alone = cost_bound(images, plain)
        assert alone is not None
        asked = replace(plain, input_tokens=500, sources=2, previews=3)
        assert cost_bound(images, asked) == alone + (500 + 2 * 1536) * 10_000 + 300 * 40_000
        assert cost_bound(images, replace(asked, faithful=True)) == alone + 14_500 * 10_000 + 300 * 40_000
        assert cost_bound(task, asked) == cost_bound(task, plain)

    def test_without_a_list_the_tokens_of_the_largest_image_count(self):
        by_tokens = Price(input=5 * USD, output=40 * USD)
        assert cost_bound([priced(by_tokens, "images")], RequestedWork(subrequests=(2,))) == 2 * 23_719 * 40_000
        assert cost_bound([priced(by_tokens, "images")], RequestedWork(size="1024x1536")) == 6240 * 40_000

    @pytest.mark.parametrize("operation", ["images", "images_async"])
    @pytest.mark.parametrize(
        ("size", "tokens"), [("1024x1024", 7024), ("1536x1024", 5488), ("3840x2160", 13_342), (None, 23_719)]
    )
    def test_by_the_formula_with_the_dearest_factor_at_the_size_that_is_asked(
        self, operation: OperationName, size: str | None, tokens: int
    ):
        targets = [priced(GPT_IMAGE_2_5, operation)]
        asked = RequestedWork(input_tokens=100, subrequests=(1, 1), sources=16, size=size, quality="low")
        inputs = 100 + 16 * 1536
        assert cost_bound(targets, asked) == 2 * (inputs * 8_000 + tokens * 30_000)
        assert cost_bound(targets, replace(asked, faithful=True)) == cost_bound(targets, asked)

    def test_is_what_may_be_bought_twice_at_most(self):
        stake = image_stake(GPT_IMAGE_2_5, 2, operation="images_async", quality="low", size="1024x1024")
        assert stake == 2 * 7024 * 30_000
        assert image_stake(Price(output=USD), 1, operation="images", quality=None, size=None) is None

    @pytest.mark.parametrize(
        ("quality", "size", "output"),
        [
            ("low", "1024x1024", 272),
            ("low", "1536x1024", 408),
            ("high", "1024x1024", 4160),
            ("high", "1536x1024", 6240),
        ],
    )
    def test_a_bill_by_tokens_stays_within_the_rounded_price_list(self, quality: str, size: str, output: int):
        bound = cost_bound([priced(GPT_IMAGE_1, "images")], RequestedWork(quality=quality, size=size))
        assert bound is not None
        assert charge(GPT_IMAGE_1, Usage(0, 0, output, images=1), operation="images") <= bound


WHOLE = PRICES.map(lambda price: replace(price, input=price.input or 0, output=price.output or 0, table={}))
TOKENS = st.integers(0, 10**6)


@given(st.lists(WHOLE, min_size=1, max_size=3), OPERATIONS, TOKENS, TOKENS, TIERS, st.integers(0, 20), st.data())
def test_no_charge_within_the_bounds_is_above_the_bound(
    prices: list[Price],
    operation: OperationName,
    most_in: int,
    most_out: int,
    tier: str | None,
    calls: int,
    data: st.DataObject,
):
    chat = operation == "chat"
    lifetime = data.draw(st.sampled_from(["usual", "hour", "12h"])) if chat else "usual"
    asked = RequestedWork(most_in, most_out, asked=Asked(tier, calls, lifetime))
    bound = cost_bound([priced(price, operation) for price in prices], asked)
    used = data.draw(st.integers(0, most_in))
    made = data.draw(st.integers(0, most_out if chat else 6240))
    part_in, part_out = st.integers(0, used), st.integers(0, made)
    written = data.draw(part_in)
    usage = Usage(
        input_tokens=used,
        cached_input_tokens=data.draw(part_in),
        output_tokens=made,
        images=1,
        image_input_tokens=data.draw(part_in),
        cache_write_tokens=written if chat else 0,
        cache_write_hour_tokens=written if lifetime == "hour" else 0,
        cache_write_12h_tokens=written if lifetime == "12h" else 0,
        image_output_tokens=data.draw(part_out),
        audio_input_tokens=data.draw(part_in),
        audio_output_tokens=data.draw(part_out),
        reasoning_tokens=data.draw(part_out),
        calls=data.draw(st.integers(0, calls)) if chat else 0,
    )
    terms = Terms(tier, data.draw(st.sampled_from([None, tier, "default", "auto"]))) if chat else USUAL_TERMS
    due = bill(data.draw(st.sampled_from(prices)), usage, operation=operation, terms=terms).amount
    assert bound is not None
    assert due is not None
    assert 0 <= due <= bound
