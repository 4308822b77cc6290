"""Where orders begin by what was learned: another order of the same ways, never fewer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.routing.durations import ANY_SHAPE, LearnedDurations, OrderShape
from gateway.core.routing.failover import FailoverPlan
from gateway.core.routing.learned_routing import (
    LearnedRouting,
    hopeless_last,
    kind_of,
    learn,
    preferring,
    shape_of,
)
from gateway.core.routing.route_table import AttemptPlan, Stop, UpstreamStates, Wait
from gateway.core.types import Endpoint, FailoverPolicy, OperationName, Outcome, Phase, Price, Route, Target, Upstream
from tests.core.builders import CHEAP, DEAR, TOKENS, Chance, Work, endpoint, key, target

NOW = 1_800_000_000.0
OK = Outcome("ok", Phase.FORWARDED)


class Order:
    """An order of a shape. ``silent``: nothing comes before it is done."""

    def __init__(self, shape: OrderShape = ANY_SHAPE) -> None:
        self._shape = shape

    def shape(self, target: Target) -> OrderShape:
        return self._shape


def hosts(*walls: float | None) -> tuple[Endpoint, ...]:
    return tuple(replace(endpoint(f"host-{number}.example"), wall=wall) for number, wall in enumerate(walls))


def at(*walls: float | None, name: str = "piapi", price: Price = CHEAP, operation: OperationName = "images") -> Target:
    upstream = Upstream(name, "piapi", hosts(*walls), (key(f"key-of-{name}"),))
    return target(upstream, "gpt-image-1", price=price, operation=operation)


def taught(one: Target, *seconds: float, censored: tuple[float, ...] = ()) -> LearnedDurations:
    learned = LearnedDurations()
    for each in seconds:
        learned.observe(kind_of(one), each, NOW)
    for each in censored:
        learned.observe(kind_of(one), each, NOW, censored=True)
    return learned


def knowing(learned: LearnedDurations, order: object = None) -> LearnedRouting:
    return LearnedRouting(learned, order or Order(), NOW)


def way(target: Target, learned: LearnedRouting, *, later: Target | None = None) -> list[str]:
    """The hosts that an order tries that is refused by all of them."""
    targets = (target,) if later is None else (target, later)
    states = UpstreamStates({one.upstream.name: one.upstream for one in targets}.values(), FailoverPolicy(attempts=9))
    plan = FailoverPlan(
        Route("gpt-image-1", targets),
        states=states,
        deadline=600.0,
        sdk_retry=False,
        randomness=Chance(),
        work=Work(target.operation),
        learned=learned,
    )
    found = []
    for now in range(100):
        match plan.next(float(now)):
            case AttemptPlan() as step:
                found.append(step.endpoint.host)
                plan.report(step, Outcome("connect_refused", Phase.UNSENT), float(now))
            case Wait():
                pass
            case Stop():
                return found
    raise AssertionError("it never stops")


def test_an_order_begins_at_the_host_that_waits() -> None:
    one = at(120.0, None)
    assert way(one, knowing(taught(one, *[150.0] * 12)))[0] == "host-1.example"


def test_an_order_of_which_too_little_is_known_goes_the_usual_way() -> None:
    one = at(120.0, None)
    assert way(one, knowing(taught(one, *[150.0] * 11)))[0] == "host-0.example"


def test_an_order_that_is_done_in_time_goes_the_usual_way() -> None:
    one = at(120.0, None)
    assert way(one, knowing(taught(one, *[100.0] * 12)))[0] == "host-0.example"


def test_a_longer_wall_will_do() -> None:
    one = at(120.0, 100.0, 300.0, None)
    assert way(one, knowing(taught(one, *[150.0] * 12)))[0] == "host-2.example"


def test_where_all_give_up_the_order_goes_the_usual_way() -> None:
    one = at(120.0, 100.0)
    known = knowing(taught(one, *[150.0] * 12))
    assert way(one, known)[0] == "host-0.example"
    assert known.avoided is None


def test_what_was_avoided_is_told() -> None:
    one = at(120.0, None)
    known = knowing(taught(one, *[150.0] * 12))
    way(one, known)
    assert str(known.avoided) == (
        "begun at https://host-1.example, since orders like it take 150 s (p90) and https://host-0.example gives up "
        "after 120 s"
    ).replace("150 s", f"{known.avoided.p90:.4g} s" if known.avoided else "")


@pytest.mark.parametrize("operation", ["task", "images_async"])
def test_what_is_asked_after_by_its_id_meets_no_wall(operation: OperationName) -> None:
    one = at(120.0, None, operation=operation)
    assert way(one, knowing(taught(one, *[150.0] * 12)))[0] == "host-0.example"


def test_an_order_with_previews_is_not_silent() -> None:
    one = at(120.0, None)
    order = Order(OrderShape(silent=False))
    assert way(one, knowing(taught(one, *[150.0] * 12), order))[0] == "host-0.example"


def test_chats_of_tokens_meet_no_wall_by_what_was_learned() -> None:
    one = at(120.0, None, price=TOKENS, operation="chat")
    assert way(one, knowing(taught(one, *[150.0] * 12)))[0] == "host-0.example"


def test_work_that_tells_no_shape_is_all_alike() -> None:
    one = at(120.0, None)
    assert shape_of(object(), one) == ANY_SHAPE
    assert way(one, LearnedRouting(taught(one, *[150.0] * 12), object(), NOW))[0] == "host-1.example"


def test_an_upstream_at_which_most_are_given_up_on_comes_last() -> None:
    first, second = at(120.0), at(None, name="backup", price=DEAR)
    known = knowing(taught(first, *[150.0] * 7, *[60.0] * 5))
    assert hopeless_last((first, second), known) == (second, first)
    known = knowing(taught(first, *[150.0] * 5, *[60.0] * 7))
    assert hopeless_last((first, second), known) == (first, second), "most are served"
    assert hopeless_last((first, second), None) == (first, second)


def test_by_cost_what_has_no_price_comes_last() -> None:
    dear, cheap, unknown, free = at(None, name="a"), at(None, name="b"), at(None, name="c"), at(None, name="d")
    costs = {"a": 7, "b": 5, "c": None, "d": 0}
    found = preferring((dear, cheap, unknown, free), "cost", None, lambda one: costs[one.upstream.name])
    assert [one.upstream.name for one in found] == ["d", "b", "a", "c"]


def test_by_speed_what_is_not_known_is_tried_first() -> None:
    slow, fast, unknown = at(None, name="a"), at(None, name="b"), at(None, name="c")
    learned = taught(slow, *[60.0] * 12)
    for _ in range(12):
        learned.observe(kind_of(fast), 20.0, NOW)
    found = preferring((slow, fast, unknown), "speed", knowing(learned), lambda one: None)
    assert [one.upstream.name for one in found] == ["c", "b", "a"]
    assert preferring((slow, fast), "speed", None, lambda one: None) == (slow, fast), "nothing is learned"


@pytest.mark.parametrize("slug", ["cf_524", "stall_head", "stall_idle", "deadline", "drain_cut", "task_poll"])
def test_an_order_that_was_given_up_on_took_at_least_so_long(slug: str) -> None:
    one, learned = at(120.0, None), LearnedDurations()
    for _ in range(12):
        learn(learned, kind_of(one), one.upstream.endpoints[0], Outcome(slug, Phase.UNKNOWN), seconds=119.0, at=NOW)
    expected = learned.expected(kind_of(one), NOW)
    assert expected is not None
    assert expected.p10 > 119.0
    assert (expected.p10 > 120.0) or slug != "cf_524"


@pytest.mark.parametrize(
    ("slug", "phase", "operation"),
    [
        ("deadline", Phase.UNSENT, "task"),  # it never got its turn
        ("drain_cut", Phase.UNSENT, "images"),
        ("cf_524", Phase.UNKNOWN, "task"),  # its creation was waited for in vain
        ("stall_head", Phase.UNKNOWN, "images_async"),
    ],
)
def test_an_order_that_never_ran_says_nothing(slug: str, phase: Phase, operation: OperationName) -> None:
    one, learned = at(120.0, operation=operation), LearnedDurations()
    learn(learned, kind_of(one), one.upstream.endpoints[0], Outcome(slug, phase), seconds=120.0, at=NOW)
    assert len(learned) == 0


@pytest.mark.parametrize("slug", ["upstream_5xx", "content_policy", "task_failed", "connection_reset", "rate_limited"])
def test_other_failures_say_nothing_of_how_long_an_order_takes(slug: str) -> None:
    one, learned = at(120.0), LearnedDurations()
    learn(learned, kind_of(one), one.upstream.endpoints[0], Outcome(slug, Phase.REJECTED), seconds=3.0, at=NOW)
    assert len(learned) == 0


walls = st.lists(st.none() | st.floats(0.1, 300.0), min_size=1, max_size=5)
durations = st.lists(st.tuples(st.floats(0.0, 1000.0), st.booleans()), max_size=40)


@given(walls, walls, durations)
def test_every_way_that_there_is_stays_a_way(
    first: list[float | None], second: list[float | None], told: list[tuple[float, bool]]
) -> None:
    """Whatever was learned: an order that all refuse has tried all hosts that it would have tried otherwise."""
    one, other = at(*first), at(*second, name="backup")
    learned = LearnedDurations()
    for seconds, censored in told:
        learned.observe(kind_of(one), seconds, NOW, censored=censored)
    known = knowing(learned)
    before = way(one, knowing(LearnedDurations()), later=other)
    after = way(one, known, later=other)
    assert len(after) == len(before)
    assert sorted(hopeless_last((one, other), known), key=id) == sorted((one, other), key=id)
    assert after[0] in {each.host for each in one.upstream.endpoints}


@given(walls, durations)
def test_the_first_host_waits_long_enough_if_any_does(
    first: list[float | None], told: list[tuple[float, bool]]
) -> None:
    one, learned = at(*first), LearnedDurations()
    for seconds, censored in told:
        learned.observe(kind_of(one), seconds, NOW, censored=censored)
    expected = learned.expected(kind_of(one), NOW)
    begun = way(one, knowing(learned))[0]
    if expected is None:
        assert begun == "host-0.example"
        return
    waits = [each.host for each in one.upstream.endpoints if each.wall is None or each.wall >= expected.p90]
    assert begun == (waits[0] if waits else "host-0.example")


@given(st.permutations(range(5)), st.lists(st.none() | st.integers(0, 100), min_size=5, max_size=5))
def test_no_preference_loses_a_target(order: list[int], costs: list[int | None]) -> None:
    targets = tuple(at(None, name=f"u{number}") for number in order)
    found = preferring(targets, "cost", None, lambda one: costs[int(one.upstream.name[1:])])
    assert sorted(one.upstream.name for one in found) == sorted(one.upstream.name for one in targets)
    known = [cost for one in found if (cost := costs[int(one.upstream.name[1:])]) is not None]
    assert known == sorted(known)
