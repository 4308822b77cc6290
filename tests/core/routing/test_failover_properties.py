"""What holds for every exchange, whatever its upstreams do and however many run side by side."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.outcomes.table import RULES, Verdict, booking, is_doubtful, price_at_stake
from gateway.core.routing.failover import LONGEST_HOLD, MOST_DIALS, FailoverPlan
from gateway.core.routing.retry_budget import ALWAYS_ALLOWED
from gateway.core.routing.route_table import AttemptPlan, Stop, UpstreamStates, Wait
from gateway.core.types import CostClass, FailoverPolicy, Outcome, Phase, Price, Route, Target, Wish
from tests.core.builders import CHEAP, DEAR, TOKENS, Work, backup, key, target, upstream

PRICES = {"tokens": TOKENS, "cheap": CHEAP, "dear": Price(image=0, table=DEAR.table)}
PIAPI = upstream(keys=(key("a", max_parallel=2), key("z", weight=2)))
BACKUP = backup(keys=(key("b"),))


@dataclass
class Exchange:
    """One exchange under way, and its diary."""

    failover_plan: FailoverPlan
    sdk_retry: bool
    current: AttemptPlan | None = None
    gone: list[tuple[AttemptPlan, Outcome]] = field(default_factory=list)
    waited: float = 0.0
    over: Stop | Verdict | None = None


OUTCOMES = st.builds(
    lambda slug, phase, retry_after, wish: Outcome(
        slug,
        RULES[slug].phase if phase is None or slug == "wish_refused" else phase,
        retry_after=retry_after,
        wish=wish if slug == "wish_refused" else None,
    ),
    st.sampled_from(sorted(RULES)),
    st.none() | st.sampled_from(Phase),
    st.none() | st.floats(0.1, 3600.0),
    st.sampled_from(Wish),
)
TURNS = st.lists(st.tuples(st.integers(0, 5), OUTCOMES, st.floats(0.0, 40.0)), max_size=60)


def targets_of(kinds: list[tuple[str, str]]) -> list[Target]:
    return [
        target(PIAPI if where == "piapi" else BACKUP, f"model-{number}", price=PRICES[price])
        for number, (where, price) in enumerate(kinds)
    ]


def step(exchange: Exchange, outcome: Outcome, now: float) -> None:
    """One turn: an attempt under way ends, or the next step is asked for."""
    if exchange.current is not None:
        plan, exchange.current = exchange.current, None
        exchange.gone.append((plan, outcome))
        if exchange.failover_plan.report(plan, outcome, now) is Verdict.DONE:
            exchange.over = Verdict.DONE
        return
    match exchange.failover_plan.next(now):
        case AttemptPlan() as plan:
            exchange.current = plan
        case Wait(seconds):
            assert seconds > 0.0
            exchange.waited += seconds
        case Stop() as stop:
            exchange.over = stop


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from(["piapi", "backup"]), st.sampled_from(sorted(PRICES))), min_size=1, max_size=4),
    TURNS,
    st.lists(st.booleans(), min_size=6, max_size=6),
    st.sampled_from([5.0, 60.0, 600.0]),
    st.integers(0, 2**32),
)
def test_exchanges_side_by_side(
    kinds: list[tuple[str, str]],
    turns: list[tuple[int, Outcome, float]],
    resent: list[bool],
    patience: float,
    seed: int,
) -> None:
    policy, rng, now = FailoverPolicy(), random.Random(seed), 100.0
    states = UpstreamStates([PIAPI, BACKUP], policy)
    exchanges = [
        Exchange(
            FailoverPlan(
                Route("m", tuple(targets_of(kinds))),
                states=states,
                deadline=now + patience,
                sdk_retry=again,
                randomness=rng,
                work=Work("chat"),
            ),
            again,
        )
        for again in resent
    ]
    for number, outcome, passed in turns:
        now += passed
        if exchanges[number].over is None:
            step(exchanges[number], outcome, now)
    for exchange in exchanges:
        turns_left = 2000
        while exchange.over is None:
            turns_left -= 1
            assert turns_left, "an exchange never ends"
            now += 0.05
            step(exchange, Outcome("stall_head", Phase.UNKNOWN), now)
    for exchange in exchanges:
        check(exchange, policy)
    for state in states:
        assert all(one.in_flight == 0 for one in state.pool.snapshot(now))
        for _ in range(ALWAYS_ALLOWED):
            assert state.budget.affords(now + 100.0)
            state.budget.begin(now + 100.0)


def check(exchange: Exchange, policy: FailoverPolicy) -> None:
    dials = [plan for plan, outcome in exchange.gone if outcome.phase is Phase.UNSENT]
    assert len(dials) <= MOST_DIALS
    free = [plan for plan, outcome in exchange.gone if outcome.wish is not None and outcome.wish not in plan.without]
    assert len(exchange.gone) - len(dials) - len(free) <= (2 if exchange.sdk_retry else policy.attempts)
    assert len(free) <= len(Wish) * len({(plan.target.upstream.name, plan.target.model) for plan in free})
    assert [plan.number for plan, _ in exchange.gone] == list(range(1, len(exchange.gone) + 1))
    assert exchange.failover_plan.attempts == len(exchange.gone)
    assert len(exchange.failover_plan.failovers) <= len(exchange.gone)
    assert exchange.waited <= LONGEST_HOLD
    check_money(exchange, policy)
    check_ways(exchange)
    if isinstance(exchange.over, Stop):
        check_error(exchange, exchange.over)


def check_money(exchange: Exchange, policy: FailoverPolicy) -> None:
    """No paid item goes out again after a doubt, unless it is cheap, and then once."""
    doubts = 0
    for number, (plan, outcome) in enumerate(exchange.gone):
        if not is_doubtful(outcome, plan.target.cost_class):
            continue
        doubts += 1
        assert booking(outcome, plan.target.cost_class) == "unknown"
        if number + 1 < len(exchange.gone):
            stake = price_at_stake(plan.target)
            assert doubts == 1
            assert stake is not None
            assert stake <= policy.unknown_outcome_up_to
            after = exchange.gone[number + 1][0]
            assert (after.index, after.endpoint) != (plan.index, plan.endpoint)


def check_ways(exchange: Exchange) -> None:
    """No way is gone twice but on a fresh connection, with a key whose pause is over, or without a refused wish."""
    seen: set[tuple[int, str, str]] = set()
    forgiven: set[tuple[int, str, str]] = set()
    for plan, outcome in exchange.gone:
        way = (plan.index, plan.endpoint.url, plan.credential.name)
        assert way not in seen or way in forgiven
        seen.add(way)
        forgiven.discard(way)
        given_up = outcome.wish is not None and outcome.wish not in plan.without
        fresh = outcome.slug == "reused_conn_reset" and not plan.fresh_connection
        if outcome.slug == "rate_limited" or fresh or given_up:
            forgiven.add(way)


def check_error(exchange: Exchange, stop: Stop) -> None:
    error = stop.error
    assert error.status >= 400
    assert error.message
    assert error.status not in (401, 402, 403)
    bought = any(is_doubtful(outcome, plan.target.cost_class) for plan, outcome in exchange.gone)
    shown = any(outcome.phase is Phase.FORWARDED for _, outcome in exchange.gone)
    if bought or shown:
        assert error.retry_after is None
    if error.retry_after is not None:
        assert error.status in (429, 502, 503)
        assert error.should_retry <= (error.status != 502)
        assert 0.0 < error.retry_after <= 60.0


def test_when_every_upstream_fails_paid_items_are_sent_once() -> None:
    policy, rng = FailoverPolicy(unknown_outcome_up_to=0), random.Random(7)
    states = UpstreamStates([PIAPI, BACKUP], policy)
    sent = 0
    for number in range(200):
        failover_plan = FailoverPlan(
            Route("m", (target(PIAPI, "m", price=CHEAP), target(BACKUP, "m", price=CHEAP))),
            states=states,
            deadline=1e9,
            sdk_retry=False,
            randomness=rng,
            work=Work("chat"),
        )
        while isinstance(plan := failover_plan.next(float(number)), AttemptPlan):
            assert plan.target.cost_class is CostClass.PAID
            failover_plan.report(plan, Outcome("connection_reset", Phase.UNKNOWN), float(number))
            sent += 1
    assert sent == 200


def test_when_an_upstream_fails_retries_stay_within_their_budget() -> None:
    policy, rng = FailoverPolicy(breaker_failures=10**9), random.Random(7)
    many = upstream(keys=("one",))
    states = UpstreamStates([many], policy)
    exchanges = []
    for _ in range(500):
        failover_plan = FailoverPlan(
            Route("m", (target(many),)),
            states=states,
            deadline=1e9,
            sdk_retry=False,
            randomness=rng,
            work=Work("chat"),
        )
        exchanges.append(failover_plan)
    sent = 0
    for failover_plan in exchanges:
        plan = failover_plan.next(1.0)
        if isinstance(plan, AttemptPlan):
            sent += 1
            failover_plan.report(plan, Outcome("stall_content", Phase.ANSWERED), 1.0)
    retries = [plan for failover_plan in exchanges if isinstance(plan := failover_plan.next(1.0), AttemptPlan)]
    assert sent == 500
    assert len(retries) == 50
