"""What was refused of our own wishes: how long it is remembered, for whom, and what an exchange makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.outcomes.table import Verdict
from gateway.core.routing.failover import FailoverPlan
from gateway.core.routing.refused_wishes import MOST_REMEMBERED, REMEMBERED_FOR, OwnWishes, RefusedWishes
from gateway.core.routing.route_table import AttemptPlan, Stop, UpstreamStates
from gateway.core.types import ALL_WISHES, NO_WISHES, FailoverPolicy, Outcome, Phase, Route, Target, Upstream, Wish
from tests.core.builders import CHEAP, Chance, Work, backup, ended, target, upstream

STREAM, OPTIONS = Wish.STREAM, Wish.STREAM_OPTIONS
ONLY_STREAM, ONLY_OPTIONS = frozenset({STREAM}), frozenset({OPTIONS})
PLAIN, AUDIO = b"plain", b"audio"
CHAT = target(upstream())


def refusal(wish: Wish) -> Outcome:
    return Outcome("wish_refused", Phase.REJECTED, 400, wish=wish)


class TestMemory:
    def test_holds_for_an_hour(self) -> None:
        memory = RefusedWishes()
        memory.refuse(CHAT, PLAIN, STREAM, 100.0)
        assert memory.known(CHAT, PLAIN, 100.0 + REMEMBERED_FOR - 0.1) == ONLY_STREAM
        assert memory.known(CHAT, PLAIN, 100.0 + REMEMBERED_FOR) == NO_WISHES
        assert not memory.places

    def test_counts_from_the_last_refusal(self) -> None:
        memory = RefusedWishes()
        memory.refuse(CHAT, PLAIN, STREAM, 0.0)
        memory.refuse(CHAT, AUDIO, STREAM, 1.0)
        memory.refuse(CHAT, PLAIN, STREAM, 2000.0)
        assert memory.known(CHAT, PLAIN, 3700.0) == ONLY_STREAM
        assert memory.known(CHAT, AUDIO, 3700.0) == NO_WISHES

    def test_is_of_one_target_field_and_shape(self) -> None:
        memory = RefusedWishes()
        memory.refuse(CHAT, AUDIO, OPTIONS, 0.0)
        assert memory.known(CHAT, AUDIO, 1.0) == ONLY_OPTIONS
        for other in (target(upstream(), "gpt-4o-mini"), target(upstream(), operation="images")):
            assert memory.known(other, AUDIO, 1.0) == NO_WISHES
        assert memory.known(CHAT, PLAIN, 1.0) == NO_WISHES

    def test_is_bounded(self) -> None:
        memory = RefusedWishes()
        for number in range(3 * MOST_REMEMBERED):
            memory.refuse(CHAT, b"%d" % number, STREAM, float(number))
        assert len(memory.places) == MOST_REMEMBERED
        assert memory.known(CHAT, b"%d" % (3 * MOST_REMEMBERED - 1), 1000.0) == ONLY_STREAM

    def test_can_be_corrected(self) -> None:
        memory = RefusedWishes()
        memory.refuse(CHAT, PLAIN, STREAM, 0.0)
        memory.refuse(CHAT, PLAIN, OPTIONS, 0.0)
        memory.forget(CHAT, PLAIN, ONLY_STREAM)
        assert memory.known(CHAT, PLAIN, 1.0) == ONLY_OPTIONS


def walled(first: float | None, second: float | None) -> Upstream:
    api, proxy = upstream().endpoints
    return replace(upstream(), endpoints=(replace(api, wall=first), replace(proxy, wall=second)))


class World:
    """Exchanges of a client that wants no stream, on a clock that only the test moves."""

    def __init__(self, *targets: Target, attempts: int = 3, made: frozenset[Wish] = ALL_WISHES) -> None:
        self.targets = targets or (target(walled(120.0, None)), target(backup()))
        self.policy = FailoverPolicy(attempts=attempts, retry_budget=0.0)
        self.states = UpstreamStates({one.upstream.name: one.upstream for one in self.targets}.values(), self.policy)
        self.made = made
        self.now = 1000.0

    def exchange(self, shape: bytes = PLAIN, *, sdk_retry: bool = False) -> FailoverPlan:
        return FailoverPlan(
            Route("gpt-4o", self.targets),
            states=self.states,
            deadline=self.now + 600.0,
            sdk_retry=sdk_retry,
            randomness=Chance(),
            work=Work("chat", OwnWishes(self.made, shape)),
        )

    def goes(self, exchange: FailoverPlan, outcome: Outcome) -> tuple[str, frozenset[Wish]]:
        plan = exchange.next(self.now)
        assert isinstance(plan, AttemptPlan)
        exchange.report(plan, outcome, self.now)
        return plan.endpoint.host.partition(".")[0], plan.without

    def served(self, shape: bytes = PLAIN) -> tuple[str, frozenset[Wish]]:
        """One exchange that is served at once."""
        return self.goes(self.exchange(shape), ended("ok"))


class TestExchange:
    def test_goes_on_as_the_client_asked_free_of_everything(self) -> None:
        world = World(attempts=1)
        exchange = world.exchange(sdk_retry=True)
        assert world.goes(exchange, refusal(OPTIONS)) == ("api", NO_WISHES)
        assert world.goes(exchange, refusal(STREAM)) == ("api", ONLY_OPTIONS)
        assert world.goes(exchange, ended("ok")) == ("proxy", ALL_WISHES)
        [state, _] = world.states
        assert all(one.in_flight == 0 and one.cooling is None for one in state.pool.snapshot(world.now))
        assert all(one.state == "closed" for one in state.health.snapshot(world.now).endpoints)

    def test_keeps_its_host_where_only_the_usage_is_given_up(self) -> None:
        world = World()
        world.goes(exchange := world.exchange(), refusal(OPTIONS))
        assert world.goes(exchange, ended("ok")) == ("api", ONLY_OPTIONS)

    def test_uses_a_wall_where_there_is_nothing_else(self) -> None:
        world = World(target(walled(120.0, 60.0)))
        world.goes(exchange := world.exchange(), refusal(STREAM))
        assert world.goes(exchange, ended("ok")) == ("api", ONLY_STREAM)
        assert world.served() == ("api", ONLY_STREAM)

    def test_uses_a_wall_where_the_other_host_is_ejected(self) -> None:
        world = World()
        world.goes(exchange := world.exchange(), refusal(STREAM))
        world.goes(exchange, ended("ok"))
        proxy = world.targets[0].upstream.endpoints[1]
        health = world.states["piapi"].health
        for _ in range(5):
            ticket = health.begin(proxy, "gpt-4o", world.now)
            health.report(ticket, world.targets[0].upstream.credentials[0], ended("bad_http"), world.now, Chance())
        assert world.served() == ("api", ONLY_STREAM)

    def test_is_the_one_after_an_hour_that_asks_anew(self) -> None:
        world = World()
        world.goes(exchange := world.exchange(), refusal(STREAM))
        world.goes(exchange, ended("ok"))
        world.now += REMEMBERED_FOR - 1.0
        assert world.served() == ("proxy", ONLY_STREAM)
        world.now += 1.0
        assert world.served() == ("api", NO_WISHES)

    def test_of_another_shape_is_streamed(self) -> None:
        world = World()
        world.goes(exchange := world.exchange(AUDIO), refusal(STREAM))
        world.goes(exchange, ended("ok"))
        assert world.served(PLAIN) == ("api", NO_WISHES)
        assert world.served(AUDIO) == ("proxy", ONLY_STREAM)

    def test_of_a_client_that_streams_keeps_its_order_of_hosts(self) -> None:
        world = World()
        world.goes(exchange := world.exchange(), refusal(STREAM))
        world.goes(exchange, ended("ok"))
        world.made = ONLY_OPTIONS
        assert world.served() == ("api", ONLY_STREAM)

    def test_takes_what_it_gave_up_to_the_next_host_but_not_to_the_next_upstream(self) -> None:
        world = World()
        exchange = world.exchange()
        world.goes(exchange, refusal(STREAM))
        assert world.goes(exchange, ended("bad_http")) == ("proxy", ONLY_STREAM)
        exchange_of_other = world.exchange()
        world.goes(exchange_of_other, ended("model_missing"))
        assert world.goes(exchange_of_other, ended("ok")) == ("api", NO_WISHES)

    def test_does_not_forget_what_it_gave_up_when_the_hour_ends(self) -> None:
        world = World()
        exchange = world.exchange()
        world.goes(exchange, refusal(STREAM))
        world.now += 590.0
        world.states["piapi"].refused.forget(world.targets[0], PLAIN, ALL_WISHES)
        assert world.goes(exchange, ended("ok")) == ("proxy", ONLY_STREAM)

    def test_rejected_either_way_teaches_nothing(self) -> None:
        world = World()
        exchange = world.exchange()
        world.goes(exchange, refusal(STREAM))
        world.goes(exchange, Outcome("rejected", Phase.REJECTED, 400, message="max_tokens is too large"))
        assert world.served() == ("api", NO_WISHES)

    @pytest.mark.parametrize(
        ("first", "second", "told"),
        [
            ("bad streaming prompt", "only in stream mode", "bad streaming prompt"),
            ("bad streaming prompt", "bad prompt", "bad prompt"),
            (None, "only in stream mode", "only in stream mode"),
        ],
    )
    def test_rejected_either_way_is_told_by_the_words_that_help(
        self, first: str | None, second: str, told: str
    ) -> None:
        """The first words are kept where they may have been about something else than the stream."""
        world = World()
        exchange = world.exchange()
        world.goes(exchange, replace(refusal(STREAM), message=first))
        world.goes(exchange, Outcome("rejected", Phase.REJECTED, 400, message=second))
        step = exchange.next(world.now)
        assert isinstance(step, Stop)
        assert (step.error.status, step.error.message) == (400, told)

    def test_rejected_for_the_stream_that_is_missing_is_forgotten(self) -> None:
        world = World()
        world.goes(exchange := world.exchange(), refusal(STREAM))
        world.goes(exchange, ended("ok"))
        for message, then in (("max_tokens", ("proxy", ONLY_STREAM)), ("only in stream mode", ("api", NO_WISHES))):
            world.goes(world.exchange(), Outcome("rejected", Phase.REJECTED, 400, message=message))
            assert world.served() == then

    def test_served_with_its_wishes_takes_the_refusal_back(self) -> None:
        world = World()
        early = world.exchange()
        plan = early.next(world.now)
        assert isinstance(plan, AttemptPlan)
        world.goes(exchange := world.exchange(), refusal(STREAM))
        world.goes(exchange, ended("ok"))
        early.report(plan, ended("ok"), world.now)
        assert world.served() == ("api", NO_WISHES)

    def test_too_late_is_told_without_the_upstreams_words(self) -> None:
        world = World()
        exchange = world.exchange()
        world.goes(exchange, replace(refusal(STREAM), message="streaming is not supported"))
        world.now += 599.5
        step = exchange.next(world.now)
        assert isinstance(step, Stop)
        assert (step.error.status, step.error.code, step.error.param) == (504, "upstream_timeout", None)
        assert "stream" not in step.error.message.replace("upstream", "")

    def test_explains_less_than_any_other_failure(self) -> None:
        world = World(target(upstream(hosts=("only",))))
        exchange = world.exchange()
        world.goes(exchange, refusal(STREAM))
        world.goes(exchange, ended("connect_refused"))
        step = exchange.next(world.now)
        assert isinstance(step, Stop)
        assert step.error.code == "upstream_unreachable"

    def test_of_a_paid_item(self) -> None:
        world = World(target(walled(120.0, None), "gpt-4o-image", price=CHEAP))
        exchange = world.exchange()
        plan = exchange.next(world.now)
        assert isinstance(plan, AttemptPlan)
        assert exchange.report(plan, refusal(STREAM), world.now) is Verdict.AS_ASKED
        again = exchange.next(world.now)
        assert isinstance(again, AttemptPlan)
        assert (again.fresh_connection, again.is_retry, again.without) == (True, False, ONLY_STREAM)

    @given(st.lists(st.sampled_from(Wish), max_size=30))
    def test_ends_even_if_a_conversation_will_not_see_it(self, refusals: list[Wish]) -> None:
        world = World()
        exchange = world.exchange()
        turns = 0
        while isinstance(plan := exchange.next(world.now), AttemptPlan):
            wish = refusals[turns % len(refusals)] if refusals else STREAM
            exchange.report(plan, refusal(wish), world.now)
            turns += 1
            assert turns <= world.policy.attempts + len(Wish) * len(world.targets)


@pytest.mark.parametrize("host", ["api.piapi.ai", "elsewhere"])
def test_a_reload_keeps_it_for_the_same_hosts(host: str) -> None:
    before, after = (UpstreamStates([one], FailoverPolicy()) for one in (upstream(), upstream(hosts=(host,))))
    before["piapi"].refused.refuse(CHAT, PLAIN, STREAM, 0.0)
    after.adopt(before)
    known = after["piapi"].refused.known(CHAT, PLAIN, 1.0)
    assert known == (ONLY_STREAM if host == "api.piapi.ai" else NO_WISHES)
