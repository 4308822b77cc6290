"""Money: what usage costs, and who pays for what when an exchange ended one way or another."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.pricing import (
    MOST_TOKENS,
    AttemptFacts,
    amount_due,
    believable,
    book,
    charge,
    format_usd,
    upper_bound,
    usd_number,
)
from gateway.core.types import CostClass, Phase, Price, Usage

USD = 1_000_000_000
GPT_4O = Price(input=1_875_000_000, output=7_500_000_000)
BACKUP = Price(input=2_500_000_000, cached_input=1_250_000_000, output=10_000_000_000)
GPT_4O_IMAGE = Price(image=20_000_000, no_image=660_000)
FLUX = Price(image=15_000_000)
GPT_IMAGE_1 = Price(
    input=5 * USD,
    cached_input=1_250_000_000,
    image_input=10 * USD,
    output=40 * USD,
    table={
        "low": {"1024x1024": 11_000_000, "1536x1024": 16_000_000},
        "high": {"1024x1024": 167_000_000, "1536x1024": 250_000_000},
    },
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


class TestPictures:
    @pytest.mark.parametrize(("pictures", "nano"), [(0, 660_000), (1, 20_000_000), (4, 20_000_000)])
    def test_gpt_4o_image_costs_by_the_answer_however_many_it_holds(self, pictures: int, nano: int):
        assert charge(GPT_4O_IMAGE, Usage(50, 0, 900), images=pictures) == nano

    def test_an_answer_without_a_picture_is_free_where_no_price_says_otherwise(self):
        assert amount_due(Price(image=5), Usage(), images=0) == 0

    def test_a_task_costs_by_the_picture(self):
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


class TestUpperBound:
    def test_tokens(self):
        assert upper_bound(GPT_4O, 1000, 500) == 1000 * 1875 + 500 * 7500
        assert upper_bound(Price(input=1, output=1), 1, 1) == 1

    def test_pictures(self):
        assert upper_bound(GPT_4O_IMAGE, 10**6, 10**6) == 20_000_000
        assert upper_bound(FLUX, 0, 0, 3, operation="task") == 45_000_000
        assert upper_bound(GPT_IMAGE_1, 0, 0, 2, operation="images", quality="high") == 500_000_000

    def test_nothing_is_known_without_a_price(self):
        assert upper_bound(None, 10, 10) == 0


def attempt(slug: str, phase: Phase, **facts: Any) -> AttemptFacts:
    """A token-billed attempt on gpt-4o: 100 tokens went in, 20 had come back."""
    given = {
        "price": GPT_4O,
        "cost_class": CostClass.TOKENS,
        "operation": "chat",
        "usage": None,
        "estimated": Usage(100, 0, 20, confidence="estimated"),
    }
    return AttemptFacts(slug=slug, phase=phase, **(given | facts))


def picture(slug: str, phase: Phase, **facts: Any) -> AttemptFacts:
    """A gpt-4o-image attempt: one picture was asked for."""
    given = {
        "price": GPT_4O_IMAGE,
        "cost_class": CostClass.PAID,
        "estimated": Usage(30, 0, 5, images=1, confidence="estimated"),
    }
    return attempt(slug, phase, **(given | facts))


IN_100_OUT_20 = 100 * 1875 + 20 * 7500


def reasons(facts: list[AttemptFacts]) -> list[tuple[int, str]]:
    return [(cost.amount, cost.reason) for cost in book(facts).costs]


class TestWhoPaysForTokens:
    def test_an_answer_that_came_whole_is_charged_by_what_the_upstream_said(self):
        booking = book([attempt("ok", Phase.FORWARDED, usage=Usage(10, 0, 10))])
        assert (booking.charged, booking.upstream_cost) == (93_750, 93_750)
        assert (booking.state, booking.confidence, booking.usage) == ("settled", "measured", Usage(10, 0, 10))

    def test_usage_of_zero_that_was_named_is_zero(self):
        booking = book([attempt("ok", Phase.FORWARDED, usage=Usage())])
        assert (booking.charged, booking.confidence) == (0, "measured")

    def test_where_none_was_named_the_count_stands_and_is_marked(self):
        booking = book([attempt("ok", Phase.FORWARDED, estimated=Usage(100, 0, 20))])
        assert (booking.charged, booking.confidence) == (IN_100_OUT_20, "estimated")

    @pytest.mark.parametrize("count", [-1, MOST_TOKENS + 1, True, 1.5, float("nan"), "7", None])
    def test_usage_that_cannot_be_believed_is_no_usage(self, count: Any):
        booking = book([attempt("ok", Phase.FORWARDED, usage=Usage(10, 0, count))])
        assert (booking.charged, booking.confidence) == (IN_100_OUT_20, "estimated")

    def test_without_a_price_the_amount_is_unknown(self):
        booking = book([attempt("ok", Phase.FORWARDED, usage=Usage(10, 0, 10), price=None)])
        assert (booking.charged, booking.upstream_cost) == (0, 0)
        assert (booking.state, booking.confidence) == ("settled", "unknown")

    @pytest.mark.parametrize("phase", [Phase.UNKNOWN, Phase.ANSWERED, Phase.FORWARDED])
    def test_a_client_that_leaves_pays_for_what_ran(self, phase: Phase):
        facts = [attempt("client_gone_stream", phase, price=replace(GPT_4O, minimum=USD))]
        booking = book(facts)
        assert (booking.charged, booking.state, booking.confidence) == (IN_100_OUT_20, "settled", "estimated")
        assert reasons(facts) == [(IN_100_OUT_20, "billed")]

    def test_a_client_that_leaves_before_anything_was_sent_pays_nothing(self):
        booking = book([attempt("client_gone_early", Phase.UNSENT)])
        assert (booking.charged, booking.upstream_cost, booking.state) == (0, 0, "released")

    def test_an_upstream_that_breaks_off_is_paid_for_what_was_passed_on(self):
        facts = [attempt("sse_cut_late", Phase.FORWARDED)]
        booking = book(facts)
        assert (booking.charged, booking.state, booking.confidence) == (IN_100_OUT_20, "settled", "estimated")
        assert reasons(facts) == [(IN_100_OUT_20, "unknown")]

    @pytest.mark.parametrize("phase", [Phase.UNKNOWN, Phase.ANSWERED])
    def test_a_failure_before_content_is_ours(self, phase: Phase):
        facts = [attempt("cf_524", phase)]
        booking = book(facts)
        assert (booking.charged, booking.usage, booking.state) == (0, Usage(), "settled")
        assert reasons(facts) == [(IN_100_OUT_20, "unknown")]

    @pytest.mark.parametrize("slug", ["upstream_5xx", "upstream_408", "reused_conn_reset", "cf_unknown", "sse_empty"])
    def test_an_error_for_an_answer_costs_nobody_anything(self, slug: str):
        booking = book([attempt(slug, Phase.UNKNOWN)])
        assert (booking.charged, booking.upstream_cost, booking.state) == (0, 0, "released")

    def test_an_error_after_content_is_a_stream_that_broke_off(self):
        facts = [attempt("upstream_5xx", Phase.FORWARDED)]
        assert book(facts).charged == IN_100_OUT_20
        assert reasons(facts) == [(IN_100_OUT_20, "unknown")]

    @pytest.mark.parametrize("phase", [Phase.UNSENT, Phase.REJECTED])
    def test_nor_does_what_was_proven_rejected(self, phase: Phase):
        booking = book([attempt("rate_limited", phase)])
        assert (booking.charged, booking.upstream_cost, booking.state) == (0, 0, "released")

    def test_after_a_failover_the_key_pays_the_price_of_what_served_it(self):
        facts = [
            attempt("connect_refused", Phase.UNSENT),
            attempt("stall_content", Phase.ANSWERED),
            attempt("ok", Phase.FORWARDED, price=BACKUP, usage=Usage(100, 0, 20)),
        ]
        assert book(facts).charged == 100 * 2500 + 20 * 10_000
        assert reasons(facts) == [(0, "billed"), (IN_100_OUT_20, "unknown"), (450_000, "billed")]

    def test_no_attempt_no_money(self):
        booking = book([])
        assert (booking.charged, booking.costs, booking.state) == (0, (), "released")


class TestWhoPaysForPictures:
    def test_a_picture_that_came(self):
        booking = book([picture("ok", Phase.FORWARDED, usage=Usage(30, 0, 500), images=2)])
        assert (booking.charged, booking.upstream_cost, booking.usage.images) == (20_000_000, 20_000_000, 2)

    def test_an_answer_without_one(self):
        assert book([picture("ok", Phase.FORWARDED, usage=Usage(30, 0, 500))]).charged == 660_000

    @pytest.mark.parametrize("phase", [Phase.UNKNOWN, Phase.ANSWERED, Phase.FORWARDED])
    def test_cut_by_the_upstream_before_any_picture_the_key_pays_nothing(self, phase: Phase):
        facts = [picture("sse_cut_late", phase)]
        booking = book(facts)
        assert (booking.charged, booking.state, booking.confidence) == (0, "unknown", "unknown")
        assert reasons(facts) == [(20_000_000, "unknown")]

    def test_cut_by_the_upstream_after_the_picture_the_key_pays_what_it_received(self):
        booking = book([picture("sse_cut_late", Phase.FORWARDED, images=1)])
        assert (booking.charged, booking.state) == (20_000_000, "settled")

    @pytest.mark.parametrize(
        ("slug", "phase", "reason"),
        [("client_gone_wait", Phase.UNKNOWN, "unknown"), ("client_gone_stream", Phase.FORWARDED, "billed")],
    )
    def test_a_client_that_leaves_has_bought_the_picture_all_the_same(self, slug: str, phase: Phase, reason: str):
        booking = book([picture(slug, phase)])
        assert (booking.charged, booking.state, booking.confidence) == (20_000_000, "settled", "estimated")
        assert (booking.costs[0].amount, booking.costs[0].reason) == (20_000_000, reason)

    def test_a_picture_refused_in_the_answer_is_an_answer_without_one(self):
        booking = book([picture("content_policy", Phase.ANSWERED)])
        assert (booking.charged, booking.upstream_cost, booking.state) == (660_000, 660_000, "settled")

    def test_a_client_that_leaves_without_a_price_pays_an_unknown_amount(self):
        booking = book([picture("client_gone_wait", Phase.UNKNOWN, price=None, operation="task")])
        assert (booking.charged, booking.confidence) == (0, "unknown")

    def test_what_may_have_been_bought_twice_is_ours_to_bear(self):
        facts = [picture("cf_524", Phase.UNKNOWN), picture("ok", Phase.FORWARDED, images=1)]
        assert book(facts).charged == 20_000_000
        assert reasons(facts) == [(20_000_000, "suspected_duplicate"), (20_000_000, "billed")]

    def test_sent_elsewhere_but_refused_there_it_was_bought_once_at_most(self):
        facts = [picture("cf_524", Phase.UNKNOWN), picture("connect_refused", Phase.UNSENT)]
        assert reasons(facts) == [(20_000_000, "unknown"), (0, "billed")]
        assert book(facts).state == "unknown"

    def test_a_task_whose_outcome_is_unknown_counts_all_the_pictures_asked_for(self):
        facts = [picture("bad_json", Phase.UNKNOWN, price=FLUX, operation="task", estimated=Usage(images=3))]
        assert reasons(facts) == [(45_000_000, "unknown")]

    def test_a_rejected_picture_is_free(self):
        assert book([picture("upstream_5xx", Phase.REJECTED)]).state == "released"


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


PRICES = st.builds(
    Price,
    input=st.none() | st.integers(0, 10**11),
    cached_input=st.none() | st.integers(0, 10**11),
    output=st.none() | st.integers(0, 10**11),
    image_input=st.none() | st.integers(0, 10**11),
    image=st.none() | st.integers(0, 10**9),
    no_image=st.none() | st.integers(0, 10**9),
    table=st.just({}) | st.just(GPT_IMAGE_1.table),
    minimum=st.integers(0, 10**7),
)
COUNTS = st.integers(0, 100_000)
USAGES = st.builds(Usage, COUNTS, COUNTS, COUNTS, image_input_tokens=COUNTS)
WILD = st.integers() | st.floats() | st.booleans() | st.none() | st.text(max_size=3)
OPERATIONS = st.sampled_from(["chat", "images", "task"])
FACTS = st.builds(
    AttemptFacts,
    price=st.none() | PRICES,
    cost_class=st.sampled_from([CostClass.TOKENS, CostClass.PAID]),
    operation=OPERATIONS,
    slug=st.sampled_from(
        ["ok", "client_gone_stream", "sse_cut_late", "cf_524", "upstream_5xx", "rate_limited", "content_policy"]
    ),
    phase=st.sampled_from(Phase),
    usage=st.none() | st.builds(Usage, WILD, WILD, WILD, WILD, image_input_tokens=WILD),
    estimated=USAGES | st.just(Usage(-1)),
    images=st.integers(0, 5),
    quality=st.sampled_from([None, "low", "auto"]),
    size=st.sampled_from([None, "1024x1024", "9x9"]),
)


@settings(deadline=None)
@given(PRICES, USAGES, st.integers(0, 5), OPERATIONS)
def test_no_amount_is_ever_negative_or_anything_but_an_integer(price: Price, usage: Usage, images: int, operation: Any):
    amount = charge(price, usage, operation=operation, images=images)
    assert type(amount) is int
    assert amount >= 0


@settings(deadline=None)
@given(PRICES, USAGES, st.integers(0, 5), OPERATIONS)
def test_no_amount_ever_exceeds_its_upper_bound(price: Price, usage: Usage, images: int, operation: Any):
    bound = upper_bound(price, usage.input_tokens, usage.output_tokens, images, operation=operation)
    assert charge(price, usage, operation=operation, images=images) <= bound


@settings(deadline=None)
@given(st.builds(Usage, WILD, WILD, WILD))
def test_what_cannot_be_believed_is_refused(usage: Usage):
    if believable(usage):
        assert charge(GPT_4O, usage) >= 0
    else:
        with pytest.raises(ValueError, match="whole numbers"):
            charge(GPT_4O, usage)


@settings(deadline=None)
@given(st.lists(FACTS, max_size=4))
def test_whatever_an_upstream_says_the_books_stay_sane(facts: list[AttemptFacts]):
    booking = book(facts)
    assert booking.charged >= 0
    assert len(booking.costs) == len(facts)
    for one, cost in zip(facts, booking.costs, strict=True):
        assert type(cost.amount) is int
        assert cost.amount >= 0
        if one.slug != "ok" and one.phase <= Phase.REJECTED:
            assert cost.amount == 0
    if booking.state == "released":
        assert (booking.charged, booking.upstream_cost) == (0, 0)
    if facts and facts[-1].slug != "ok" and facts[-1].phase <= Phase.REJECTED:
        assert booking.charged == 0
