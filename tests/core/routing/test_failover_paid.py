"""Stories of paid items: what may be bought again, and what is never risked."""

from __future__ import annotations

import pytest

from gateway.core.outcomes.table import RULES, SAFETY, Permission, Verdict
from gateway.core.routing.failover import FailoverPlan
from gateway.core.routing.route_table import AttemptPlan
from gateway.core.types import FailoverPolicy, Outcome, Phase, Price, Route
from tests.core.builders import CHEAP, DEAR, TOKENS, Chance, Work, backup, ended, target, upstream

from .stories import World, image


class TestPaid:
    def test_an_image_of_unknown_outcome_is_bought_once_more_if_it_is_cheap(self) -> None:
        story = image(CHEAP).exchange()
        assert story.goes() == "piapi api.piapi.ai a"
        assert story.ends("cf_524") is Verdict.NEXT_ENDPOINT
        assert story.goes() == "piapi proxy.piapi.ai a"
        assert story.ends("connection_reset") is Verdict.STOP
        error = story.stops()
        assert (error.status, error.code, error.retry_after) == (504, "upstream_outcome_unknown", None)

    @pytest.mark.parametrize("price", [Price(image=0, table=DEAR.table), Price(image=50_000_001)])
    def test_a_dear_one_is_not(self, price: Price) -> None:
        story = image(price).exchange()
        story.goes()
        assert story.ends("cf_524") is Verdict.STOP
        assert story.stops().code == "upstream_outcome_unknown"

    def test_one_of_unknown_price_is_not(self) -> None:
        world = World(target(upstream(), operation="images", price=None))
        story = FailoverPlan(
            Route("m", world.targets),
            states=world.states,
            deadline=2000.0,
            sdk_retry=False,
            randomness=Chance(),
            work=Work("images"),
        )
        plan = story.next(1000.0)
        assert isinstance(plan, AttemptPlan)
        assert story.report(plan, ended("stall_head"), 1000.0) is Verdict.STOP

    def test_the_limit_is_the_operators(self) -> None:
        world = World(target(upstream(), price=CHEAP), policy=FailoverPolicy(unknown_outcome_up_to=0))
        story = world.exchange()
        story.goes()
        assert story.ends("cf_524") is Verdict.STOP

    def test_nothing_is_bought_again_when_there_is_no_time_left_for_it(self) -> None:
        story = image().exchange(patience=100.0)
        story.goes()
        story.world.now += 96.0
        assert story.ends("cf_524") is Verdict.STOP

    def test_what_was_proven_not_bought_may_go_anywhere(self) -> None:
        story = image(DEAR, with_backup=True).exchange()
        story.goes()
        story.ends("cf_origin_down")
        story.goes()
        story.ends("upstream_5xx", Phase.REJECTED)
        assert story.goes() == "backup api.openai.com b"

    def test_a_paid_request_goes_over_a_fresh_connection(self) -> None:
        story = image().exchange()
        story.goes()
        assert story.plan is not None
        assert story.plan.fresh_connection
        assert story.ends("reused_conn_reset") is Verdict.NEXT_ENDPOINT

    def test_after_a_doubt_no_error_invites_to_buy_again(self) -> None:
        story = image().exchange()
        story.goes()
        story.ends("cf_524")
        story.goes()
        story.ends("rate_limited", retry_after=30.0)
        error = story.stops()
        assert (error.code, error.retry_after) == ("upstream_outcome_unknown", None)

    def test_after_a_doubt_a_rejection_is_still_told(self) -> None:
        story = image(with_backup=True).exchange()
        story.goes()
        story.ends("cf_524")
        story.goes()
        story.ends_as(Outcome("content_policy", Phase.REJECTED, 400, message="not this"))
        error = story.stops()
        assert (error.status, error.message) == (400, "not this")

    @pytest.mark.parametrize(
        ("slug", "code"),
        [
            ("pool_timeout", "upstream_outcome_unknown"),
            ("drain_cut", "server_shutting_down"),
            ("sse_cut_late", "upstream_stream_interrupted"),
        ],
    )
    def test_after_a_doubt_an_ending_is_told_unless_it_invites(self, slug: str, code: str) -> None:
        story = image().exchange()
        story.goes()
        story.ends("cf_524")
        story.goes()
        assert story.ends(slug) is Verdict.STOP
        error = story.stops()
        assert (error.code, error.retry_after) == (code, None)

    def test_it_probes_no_host_while_another_works(self) -> None:
        world = image()
        for _ in range(5):
            world.used("connect_refused")
        world.now += 20.0
        assert world.exchange().goes() == "piapi proxy.piapi.ai a"

    @pytest.mark.parametrize("slug", sorted(set(RULES) - {"ok"}))
    @pytest.mark.parametrize("phase", list(Phase))
    @pytest.mark.parametrize(
        "price", [CHEAP, Price(image=0, table=DEAR.table), TOKENS], ids=["cheap", "dear", "tokens"]
    )
    def test_every_ending_in_every_phase(self, slug: str, phase: Phase, price: Price) -> None:
        world = World(target(upstream(), price=price), target(backup(), price=price))
        story = world.exchange()
        story.goes()
        decision = story.ends(slug, phase)
        cost_class = world.targets[0].cost_class
        allowed = SAFETY[cost_class][phase]
        ends_anyway = RULES[slug].onward is Verdict.STOP
        goes_on = not ends_anyway and (allowed is Permission.YES or (allowed is Permission.BY_PRICE and price is CHEAP))
        assert (decision is not Verdict.STOP) is goes_on
        if goes_on:
            story.goes()
            assert story.ways[0] != story.ways[1] or decision in (Verdict.FRESH_CONNECTION, Verdict.AS_ASKED)
        else:
            assert story.stops().status >= 400
