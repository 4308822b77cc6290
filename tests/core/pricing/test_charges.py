"""Who pays for what when an exchange ended one way or another."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.billing_terms import Terms
from gateway.core.exchange_record import AttemptRecord, Booking
from gateway.core.pricing.charges import settle_charges
from gateway.core.pricing.usage_sums import MOST_TOKENS
from gateway.core.types import CostClass, Phase, Usage

from .prices import BACKUP, FLUX, GPT_4O, GPT_4O_IMAGE, OPERATIONS, PRICES, TIERS, USAGES, USD, WILD


def attempt(slug: str, phase: Phase, **facts: Any) -> AttemptRecord:
    """A token-billed attempt on gpt-4o: 100 tokens went in, 20 had come back."""
    given = {
        "price": GPT_4O,
        "cost_class": CostClass.TOKENS,
        "operation": "chat",
        "usage": None,
        "estimated": Usage(100, 0, 20, confidence="estimated"),
    }
    return AttemptRecord("piapi", "https://api.piapi.ai", "first", slug, phase, **(given | facts))


def image(slug: str, phase: Phase, **facts: Any) -> AttemptRecord:
    """A gpt-4o-image attempt: one image was asked for."""
    given = {
        "price": GPT_4O_IMAGE,
        "cost_class": CostClass.PAID,
        "estimated": Usage(30, 0, 5, images=1, confidence="estimated"),
    }
    return attempt(slug, phase, **(given | facts))


IN_100_OUT_20 = 100 * 1875 + 20 * 7500


def reasons(facts: list[AttemptRecord]) -> list[tuple[int, str]]:
    settle_charges(facts)
    return [(one.cost, one.reason) for one in facts]


class TestWhoPaysForTokens:
    def test_an_answer_that_came_whole_is_charged_by_what_the_upstream_said(self):
        booking = settle_charges([attempt("ok", Phase.FORWARDED, usage=Usage(10, 0, 10))])
        assert (booking.charged, booking.upstream_cost) == (93_750, 93_750)
        assert (booking.state, booking.confidence, booking.usage) == ("settled", "measured", Usage(10, 0, 10))

    def test_usage_of_zero_that_was_named_is_zero(self):
        booking = settle_charges([attempt("ok", Phase.FORWARDED, usage=Usage())])
        assert (booking.charged, booking.confidence) == (0, "measured")

    def test_where_none_was_named_the_count_stands_and_is_marked(self):
        booking = settle_charges([attempt("ok", Phase.FORWARDED, estimated=Usage(100, 0, 20))])
        assert (booking.charged, booking.confidence) == (IN_100_OUT_20, "estimated")

    @pytest.mark.parametrize("count", [-1, MOST_TOKENS + 1, True, 1.5, float("nan"), "7", None])
    def test_usage_that_cannot_be_believed_is_no_usage(self, count: Any):
        booking = settle_charges([attempt("ok", Phase.FORWARDED, usage=Usage(10, 0, count))])
        assert (booking.charged, booking.confidence) == (IN_100_OUT_20, "estimated")

    def test_without_a_price_the_amount_is_unknown(self):
        booking = settle_charges([attempt("ok", Phase.FORWARDED, usage=Usage(10, 0, 10), price=None)])
        assert (booking.charged, booking.upstream_cost) == (0, 0)
        assert (booking.state, booking.confidence) == ("settled", "unknown")

    @pytest.mark.parametrize("phase", [Phase.UNKNOWN, Phase.ANSWERED, Phase.FORWARDED])
    def test_a_client_that_leaves_pays_for_what_ran(self, phase: Phase):
        facts = [attempt("client_gone_stream", phase, price=replace(GPT_4O, minimum=USD))]
        booking = settle_charges(facts)
        assert (booking.charged, booking.state, booking.confidence) == (IN_100_OUT_20, "settled", "estimated")
        assert reasons(facts) == [(IN_100_OUT_20, "billed")]

    def test_a_client_that_leaves_before_anything_was_sent_pays_nothing(self):
        booking = settle_charges([attempt("client_gone_early", Phase.UNSENT)])
        assert (booking.charged, booking.upstream_cost, booking.state) == (0, 0, "released")

    def test_an_upstream_that_breaks_off_is_paid_for_what_was_passed_on(self):
        facts = [attempt("sse_cut_late", Phase.FORWARDED)]
        booking = settle_charges(facts)
        assert (booking.charged, booking.state, booking.confidence) == (IN_100_OUT_20, "settled", "estimated")
        assert reasons(facts) == [(IN_100_OUT_20, "unknown")]

    @pytest.mark.parametrize("phase", [Phase.UNKNOWN, Phase.ANSWERED])
    def test_a_failure_before_content_is_ours(self, phase: Phase):
        facts = [attempt("cf_524", phase)]
        booking = settle_charges(facts)
        assert (booking.charged, booking.usage, booking.state) == (0, Usage(), "settled")
        assert reasons(facts) == [(IN_100_OUT_20, "unknown")]

    @pytest.mark.parametrize("slug", ["upstream_5xx", "upstream_408", "reused_conn_reset", "cf_unknown", "sse_empty"])
    def test_an_error_for_an_answer_costs_nobody_anything(self, slug: str):
        booking = settle_charges([attempt(slug, Phase.UNKNOWN)])
        assert (booking.charged, booking.upstream_cost, booking.state) == (0, 0, "released")

    def test_an_error_after_content_is_a_stream_that_broke_off(self):
        facts = [attempt("upstream_5xx", Phase.FORWARDED)]
        assert settle_charges(facts).charged == IN_100_OUT_20
        assert reasons(facts) == [(IN_100_OUT_20, "unknown")]

    @pytest.mark.parametrize("phase", [Phase.UNSENT, Phase.REJECTED])
    def test_nor_does_what_was_proven_rejected(self, phase: Phase):
        booking = settle_charges([attempt("rate_limited", phase)])
        assert (booking.charged, booking.upstream_cost, booking.state) == (0, 0, "released")

    def test_after_a_failover_the_key_pays_the_price_of_what_served_it(self):
        facts = [
            attempt("connect_refused", Phase.UNSENT),
            attempt("stall_content", Phase.ANSWERED),
            attempt("ok", Phase.FORWARDED, price=BACKUP, usage=Usage(100, 0, 20)),
        ]
        assert settle_charges(facts).charged == 100 * 2500 + 20 * 10_000
        assert reasons(facts) == [(0, "billed"), (IN_100_OUT_20, "unknown"), (450_000, "billed")]

    def test_no_attempt_no_money(self):
        booking = settle_charges([])
        assert (booking.charged, booking.upstream_cost, booking.state) == (0, 0, "released")


class TestWhoPaysForImages:
    def test_an_image_that_came(self):
        booking = settle_charges([image("ok", Phase.FORWARDED, usage=Usage(30, 0, 500), images=2)])
        assert (booking.charged, booking.upstream_cost, booking.usage.images) == (20_000_000, 20_000_000, 2)

    def test_an_answer_without_one(self):
        assert settle_charges([image("ok", Phase.FORWARDED, usage=Usage(30, 0, 500))]).charged == 660_000

    @pytest.mark.parametrize("phase", [Phase.UNKNOWN, Phase.ANSWERED, Phase.FORWARDED])
    def test_cut_by_the_upstream_before_any_image_the_key_pays_nothing(self, phase: Phase):
        facts = [image("sse_cut_late", phase)]
        booking = settle_charges(facts)
        assert (booking.charged, booking.state, booking.confidence) == (0, "unknown", "unknown")
        assert reasons(facts) == [(20_000_000, "unknown")]

    def test_cut_by_the_upstream_after_the_image_the_key_pays_what_it_received(self):
        booking = settle_charges([image("sse_cut_late", Phase.FORWARDED, images=1)])
        assert (booking.charged, booking.state) == (20_000_000, "settled")

    @pytest.mark.parametrize(
        ("slug", "phase"),
        [("sse_cut_early", Phase.ANSWERED), ("deadline", Phase.UNKNOWN), ("drain_cut", Phase.UNKNOWN)],
    )
    def test_an_image_that_came_to_us_and_not_to_the_client_is_not_paid_by_the_key(self, slug: str, phase: Phase):
        facts = [image(slug, phase, images=1)]
        booking = settle_charges(facts)
        assert (booking.charged, booking.usage.images, booking.state) == (0, 0, "unknown")
        assert reasons(facts) == [(20_000_000, "unknown")]

    @pytest.mark.parametrize(
        ("slug", "phase", "reason"),
        [("client_gone_wait", Phase.UNKNOWN, "unknown"), ("client_gone_stream", Phase.FORWARDED, "billed")],
    )
    def test_a_client_that_leaves_has_bought_the_image_all_the_same(self, slug: str, phase: Phase, reason: str):
        facts = [image(slug, phase)]
        booking = settle_charges(facts)
        assert (booking.charged, booking.state, booking.confidence) == (20_000_000, "settled", "estimated")
        assert (facts[0].cost, facts[0].reason) == (20_000_000, reason)

    def test_an_image_refused_in_the_answer_is_an_answer_without_one(self):
        booking = settle_charges([image("content_policy", Phase.ANSWERED)])
        assert (booking.charged, booking.upstream_cost, booking.state) == (660_000, 660_000, "settled")

    def test_a_client_that_leaves_without_a_price_pays_an_unknown_amount(self):
        booking = settle_charges([image("client_gone_wait", Phase.UNKNOWN, price=None, operation="task")])
        assert (booking.charged, booking.confidence) == (0, "unknown")

    def test_what_may_have_been_bought_twice_is_ours_to_bear(self):
        facts = [image("cf_524", Phase.UNKNOWN), image("ok", Phase.FORWARDED, images=1)]
        assert settle_charges(facts).charged == 20_000_000
        assert reasons(facts) == [(20_000_000, "suspected_duplicate"), (20_000_000, "billed")]

    def test_sent_elsewhere_but_refused_there_it_was_bought_once_at_most(self):
        facts = [image("cf_524", Phase.UNKNOWN), image("connect_refused", Phase.UNSENT)]
        assert reasons(facts) == [(20_000_000, "unknown"), (0, "billed")]
        assert settle_charges(facts).state == "unknown"

    def test_a_task_whose_outcome_is_unknown_counts_all_the_images_asked_for(self):
        facts = [image("bad_json", Phase.UNKNOWN, price=FLUX, operation="task", estimated=Usage(images=3))]
        assert reasons(facts) == [(45_000_000, "unknown")]

    def test_a_rejected_image_is_free(self):
        assert settle_charges([image("upstream_5xx", Phase.REJECTED)]).state == "released"


class TestSubrequests:
    """Several images ordered at once: every subrequest pays for itself."""

    def test_what_came_is_charged_and_what_did_not_is_not(self):
        facts = [
            image("ok", Phase.FORWARDED, images=1),
            image("upstream_5xx", Phase.REJECTED, subrequest=1),
            image("ok", Phase.FORWARDED, images=2, subrequest=2),
        ]
        booking = settle_charges(facts)
        assert (booking.charged, booking.usage.images, booking.state) == (40_000_000, 3, "settled")
        assert (booking.confidence, [one.cost for one in facts]) == (
            "measured",
            [20_000_000, 0, 20_000_000],
        )

    def test_the_attempts_of_a_subrequest_stay_its_own_however_they_are_mixed(self):
        """The second subrequest's lost attempt is a duplicate of the second subrequest's image, not of the first's."""
        facts = [
            image("cf_524", Phase.UNKNOWN, subrequest=1),
            image("ok", Phase.FORWARDED, images=1),
            image("ok", Phase.FORWARDED, images=1, subrequest=1),
        ]
        assert [reason for _, reason in reasons(facts)] == ["suspected_duplicate", "billed", "billed"]
        facts[2] = image("rejected", Phase.REJECTED, subrequest=1)
        assert [reason for _, reason in reasons(facts)] == ["unknown", "billed", "billed"]

    def test_nothing_came_and_one_may_have_been_bought(self):
        booking = settle_charges([image("cf_524", Phase.UNKNOWN), image("rejected", Phase.REJECTED, subrequest=1)])
        assert (booking.charged, booking.state, booking.confidence) == (0, "unknown", "unknown")

    def test_nothing_was_bought_at_all(self):
        booking = settle_charges([image("rejected", Phase.REJECTED), image("rejected", Phase.REJECTED, subrequest=1)])
        assert (booking.charged, booking.state) == (0, "released")

    def test_one_estimate_makes_the_sum_an_estimate(self):
        task: dict[str, Any] = {"price": FLUX, "operation": "task", "images": 1}
        facts = [
            image("ok", Phase.FORWARDED, **task, stated=14_000_000),
            image("ok", Phase.FORWARDED, **task, subrequest=1),
        ]
        booking = settle_charges(facts)
        assert (booking.charged, booking.confidence) == (29_000_000, "estimated")


class TestTasks:
    """Flux: what the task says it consumed, else the price by the image."""

    def task(self, slug: str, phase: Phase, **facts: Any) -> AttemptRecord:
        return image(slug, phase, **({"price": FLUX, "operation": "task"} | facts))

    def test_what_the_task_names_comes_before_the_price(self):
        booking = settle_charges([self.task("ok", Phase.FORWARDED, images=1, stated=2_000_000)])
        assert (booking.charged, booking.upstream_cost, booking.confidence) == (2_000_000, 2_000_000, "measured")

    def test_a_task_that_names_nothing_costs_the_price_of_its_images(self):
        booking = settle_charges([self.task("ok", Phase.FORWARDED, images=4)])
        assert (booking.charged, booking.confidence) == (60_000_000, "estimated")

    def test_a_named_cost_is_known_where_the_price_is_not(self):
        booking = settle_charges([self.task("ok", Phase.FORWARDED, images=1, price=None, stated=7)])
        assert (booking.charged, booking.confidence) == (7, "measured")

    def test_a_failed_task_costs_nobody_anything(self):
        booking = settle_charges([self.task("task_failed", Phase.REJECTED)])
        assert (booking.charged, booking.upstream_cost, booking.state) == (0, 0, "released")

    def test_a_task_that_was_never_done_is_in_doubt(self):
        facts = [self.task("task_poll", Phase.UNKNOWN)]
        booking = settle_charges(facts)
        assert (booking.charged, booking.state) == (0, "unknown")
        assert [(one.cost, one.reason) for one in facts] == [(15_000_000, "unknown")]

    def test_a_task_done_without_an_image_costs_us_what_it_says_and_the_key_nothing(self):
        facts = [self.task("empty_response", Phase.ANSWERED, stated=15_000_000)]
        booking = settle_charges(facts)
        assert (booking.charged, booking.upstream_cost, booking.state) == (0, 15_000_000, "settled")
        assert facts[0].reason == "billed"

    def test_an_image_that_was_made_but_not_fetched_is_charged(self):
        facts = [self.task("asset_unavailable", Phase.ANSWERED, images=1, stated=2_000_000)]
        booking = settle_charges(facts)
        assert (booking.charged, booking.state, facts[0].reason) == (2_000_000, "settled", "billed")


class TestOnWhichTerms:
    """What the answer says of itself decides the price; what has no price of its own is no measurement."""

    TIERED = replace(BACKUP, tiers={"flex": 500, "fast": 2000})
    USED = Usage(100, 0, 20)
    NANO = 100 * 2500 + 20 * 10_000

    def booked(self, terms: Terms, **facts: Any) -> Booking:
        given = {"price": self.TIERED, "usage": self.USED, "terms": terms}
        return settle_charges([attempt("ok", Phase.FORWARDED, **(given | facts))])

    def test_the_tier_that_served_is_booked(self):
        booking = self.booked(Terms("fast", "priority", "gpt-4o"))
        assert (booking.charged, booking.upstream_cost, booking.confidence) == (
            2 * self.NANO,
            2 * self.NANO,
            "measured",
        )
        assert (booking.price, booking.terms) == (self.TIERED, Terms("fast", "priority", "gpt-4o"))
        assert self.booked(Terms("fast", "default")).charged == self.NANO

    def test_a_tier_without_a_price_is_an_estimate(self):
        assert self.booked(Terms(None, "warp")).confidence == "estimated"
        assert self.booked(Terms("flex"), price=BACKUP).confidence == "estimated"
        assert self.booked(Terms("flex"), price=BACKUP).charged == self.NANO

    def test_an_answer_by_a_model_without_a_price_is_an_estimate(self):
        booking = self.booked(Terms(model="mystery"), own_price=False)
        assert (booking.charged, booking.confidence, booking.usage) == (self.NANO, "estimated", self.USED)

    def test_what_was_sold_beside_the_usage_makes_an_estimate(self):
        assert self.booked(Terms(unpriced=True)).confidence == "estimated"

    def test_a_tier_counts_for_what_was_only_counted_here(self):
        booking = self.booked(Terms("fast"), usage=None, estimated=Usage(100, 0, 20, confidence="estimated"))
        assert (booking.charged, booking.confidence) == (2 * self.NANO, "estimated")

    def test_an_unknown_price_stays_unknown(self):
        assert self.booked(Terms("fast"), price=None).confidence == "unknown"

    def test_a_price_that_is_a_guess_is_an_estimate_but_what_the_upstream_names_is_not(self):
        guess = replace(FLUX, estimated=True)
        task = {"price": guess, "operation": "task", "cost_class": CostClass.PAID, "usage": None, "images": 1}
        assert self.booked(Terms(), **task).confidence == "estimated"
        assert self.booked(Terms(), **task, stated=7).confidence == "measured"
        sold = settle_charges([image("ok", Phase.FORWARDED, images=1, price=replace(GPT_4O_IMAGE, estimated=True))])
        assert sold.confidence == "estimated"

    def test_several_subrequests_are_counted_together(self):
        usage = Usage(10, 1, 5, cache_write_tokens=2, audio_input_tokens=3, calls=1, image_output_tokens=4)
        both = [
            attempt("ok", Phase.FORWARDED, price=self.TIERED, usage=usage, subrequest=number, terms=Terms("flex"))
            for number in (0, 1)
        ]
        booking = settle_charges(both)
        assert booking.usage == replace(
            usage,
            input_tokens=20,
            cached_input_tokens=2,
            output_tokens=10,
            cache_write_tokens=4,
            audio_input_tokens=6,
            calls=2,
            image_output_tokens=8,
            confidence="estimated",
        )
        assert (booking.price, booking.terms.asked_tier) == (self.TIERED, "flex")


FACTS = st.builds(
    attempt,
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
    stated=st.none() | st.integers(0, 10**9),
    subrequest=st.integers(0, 2),
    terms=st.builds(Terms, TIERS, TIERS, st.none() | st.text(max_size=5), st.booleans()),
    own_price=st.booleans(),
)


@settings(deadline=None)
@given(st.lists(FACTS, max_size=4))
def test_whatever_an_upstream_says_the_books_stay_sane(facts: list[AttemptRecord]):
    booking = settle_charges(facts)
    assert booking.charged >= 0
    assert booking.upstream_cost == sum(one.cost for one in facts)
    for one in facts:
        assert type(one.cost) is int
        assert one.cost >= 0
        if one.outcome != "ok" and one.phase <= Phase.REJECTED:
            assert one.cost == 0
    if booking.state == "released":
        assert (booking.charged, booking.upstream_cost) == (0, 0)
    last = {one.subrequest: one for one in facts}.values()
    if all(one.outcome != "ok" and one.phase <= Phase.REJECTED for one in last):
        assert booking.charged == 0
