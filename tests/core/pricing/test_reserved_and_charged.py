"""Whatever clients send and upstreams state: no row is charged more than its bound, and no budget is overspent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from functools import partial
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.billing_terms import Terms
from gateway.core.exchange_record import AttemptRecord
from gateway.core.pricing.budget_errors import Exceeded, Holder
from gateway.core.pricing.budgets import Budgets, Reservation
from gateway.core.pricing.charges import settle_charges
from gateway.core.pricing.cost_bound import RequestedWork, cost_bound, most_output
from gateway.core.types import Budget, CostClass, Endpoint, LongContext, Phase, Price, Target, Upstream, Usage
from gateway.wire.asked_work import as_asked, asked_of, asked_tier, most_asked_output, most_beside, most_choices
from gateway.wire.chat_request import ChatRequest, parse_chat_request
from gateway.wire.most_input import most_input
from gateway.wire.usage_reading import read_usage

USD = 1_000_000_000
NOW = 1_796_000_000 * USD
WINDOW, MOST_WRITTEN = 128_000, 16_384
UPSTREAM = Upstream("piapi", "piapi", (Endpoint("http://u", "http", "u", 80),), ())
PRICE = Price(
    input=2 * USD,
    cached_input=USD,
    cache_write=3 * USD,
    output=8 * USD,
    audio_input=40 * USD,
    audio_output=80 * USD,
    call=USD // 100,
    long=LongContext(100_000, 2000, 1500),
    tiers={"flex": 500, "fast": 2000, "ultrafast": 6000},
)
DEARER = Price(input=150 * USD, output=600 * USD, tiers={"fast": 9000})
TARGET = Target(UPSTREAM, "gpt-4o", price=PRICE)
HOLDERS: tuple[Holder, ...] = (("key", "alice"), ("team", "growth"))

ids = st.sampled_from(["file-1", "audio_1", "resp_1", "https://e/a.pdf"])
numbers = st.sampled_from([0, -1, 12_000, 12_000.0, 1.2e4, 1e300, "12000", "1.2e4", "many", None, True])
parts = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, st.text(max_size=20)),
    st.builds(lambda id: {"type": "text", "text": "a", "file_ids": [id]}, ids),
    st.builds(lambda id: {"type": "file", "file": {"file_id": id}}, ids),
    st.builds(lambda data: {"type": "file", "file": {"file_data": data}}, st.text("A", max_size=99) | ids),
    st.builds(lambda id: {"type": "input_audio", "input_audio": {"id": id}}, ids),
    st.builds(lambda data: {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}, st.text("A")),
    st.builds(lambda url: {"type": "image_url", "image_url": {"url": url}}, ids | st.just("data:image/png;base64,AA")),
    st.builds(lambda kind, id: {"type": kind, "id": id}, st.text(max_size=5), ids),
)
messages = st.one_of(
    st.builds(lambda content: {"role": "user", "content": content}, st.text(max_size=50) | st.lists(parts, max_size=3)),
    st.builds(lambda text: {"role": "assistant", "reasoning_content": text}, st.text(max_size=200)),
    st.builds(lambda id: {"role": "assistant", "audio": {"id": id}}, ids),
)
tools = st.lists(st.sampled_from([{"type": "function", "function": {"name": "f"}}, {"type": "web_search"}, {"x": 1}]))
fields = st.fixed_dictionaries(
    {"model": st.just("gpt-4o"), "messages": st.lists(messages, min_size=1, max_size=3)},
    optional={
        "n": st.integers(1, 5),
        "max_tokens": st.integers(1, 50_000),
        "max_completion_tokens": st.integers(1, 50_000),
        "tools": tools,
        "web_search_options": st.just({}),
        "prediction": st.builds(lambda text: {"type": "content", "content": text}, st.text(max_size=300)),
        "thinking": st.builds(lambda budget: {"type": "enabled", "budget_tokens": budget}, numbers),
        "reasoning_effort": st.sampled_from(["none", "high"]),
        "service_tier": st.sampled_from(["auto", "default", "flex", "ultrafast", "warp", 7, ["fast"]]),
        "speed": st.sampled_from(["fast", "standard", 1]),
        "prompt_cache_options": st.just({"ttl": "12h"}),
        "modalities": st.just(["text", "audio"]),
        "newer": numbers | ids,
        "cached_content": ids,
        "max_output_tokens": numbers,
        "extra_body": st.dictionaries(
            st.sampled_from(["n", "max_tokens", "service_tier", "tools", "web_search_options", "prediction", "google"]),
            numbers | ids | st.just({}) | st.just({"thinking_config": {"thinking_budget": 12_000}}),
        ),
    },
)

counts = st.one_of(
    st.integers(-5, 200),
    st.integers(-(10**20), 10**20),
    st.sampled_from([500_000, 10**9, 1.5, -0.0, float("nan"), float("inf"), None, "7", True]),
)
details = st.dictionaries(
    st.sampled_from(["cached_tokens", "audio_tokens", "image_tokens", "reasoning_tokens", "cache_write_tokens"]), counts
)
usages = st.dictionaries(
    st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens"])
    | st.sampled_from(["cache_read_input_tokens", "cache_creation_input_tokens", "num_search_queries"]),
    counts,
    min_size=2,
) | st.fixed_dictionaries(
    {"prompt_tokens": st.integers(0, 10**8), "completion_tokens": st.integers(0, 10**8)},
    optional={"prompt_tokens_details": details, "completion_tokens_details": details, "num_search_queries": counts},
)
answers = st.tuples(
    st.none() | usages,
    st.sampled_from([None, "default", "flex", "ultrafast", "warp"]),
    st.sampled_from([PRICE, DEARER]),
    st.sampled_from([("ok", Phase.FORWARDED), ("client_gone_stream", Phase.FORWARDED), ("reset", Phase.UNKNOWN)]),
    st.none() | st.integers(0, 10**15),
)


def bound_of(request: ChatRequest) -> int:
    body = request.body
    thinking, prediction = most_beside(body, "gpt-4o")
    asked, choices = most_asked_output(body), most_choices(body)
    bound = cost_bound(
        (TARGET,),
        RequestedWork(
            most_input(body, "gpt-4o", WINDOW),
            most_output(asked, MOST_WRITTEN, choices, thinking) + choices * prediction,
            asked=asked_of(body, "gpt-4o"),
        ),
    )
    assert bound is not None
    return bound


def facts_of(request: ChatRequest, answer: Any, bound: int) -> AttemptRecord:
    said, tier, price, (slug, phase), stated = answer
    usage = read_usage(said)
    return AttemptRecord(
        *("piapi", "https://api.piapi.ai", "first", slug, phase),
        price=price,
        cost_class=CostClass.TOKENS,
        usage=None if usage is None else as_asked(usage, request.body, "gpt-4o"),
        estimated=Usage(10, 0, 10),
        stated=stated,
        terms=Terms(asked_tier(request.body), tier),
        bound=bound,
    )


def ended(budgets: Budgets, reservation: Reservation, facts: AttemptRecord) -> int:
    booking = settle_charges([facts])
    assert 0 <= booking.charged <= reservation.amount
    assert booking.upstream_cost >= booking.charged or booking.state != "settled"
    assert not booking.above_bound or booking.confidence == "estimated"
    budgets.settle(reservation, booking.charged)
    return booking.charged


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(fields, answers, st.booleans()), min_size=1, max_size=12),
    st.integers(0, 5 * USD),
    st.integers(0, 5 * USD),
    st.integers(0, 5 * USD),
)
def test_no_budget_is_overspent(asked: list[Any], of_key: int, of_team: int, of_model: int) -> None:
    """Requests run side by side, each ending at once or only when all have begun."""
    budgets = Budgets(UTC, NOW)
    limits: dict[Holder, Budget] = {
        HOLDERS[0]: Budget(of_key, "day"),
        HOLDERS[1]: Budget(of_team, "month"),
        ("key", "alice", "gpt-4o*"): Budget(of_model, "total"),
    }
    budgets.configure(limits, NOW)
    charged = 0
    running: list[Callable[[], int]] = []
    for number, (body, answer, at_once) in enumerate(asked):
        request = parse_chat_request(body)
        bound = bound_of(request)
        reservation = budgets.reserve(str(number), HOLDERS, bound, NOW, model="gpt-4o")
        if isinstance(reservation, Exceeded):
            assert reservation.asked == bound
            continue
        assert isinstance(reservation, Reservation)

        end = partial(ended, budgets, reservation, facts_of(request, answer, bound))
        if at_once:
            charged += end()
        else:
            running.append(end)
        assert all(state.charged + state.reserved <= state.limit.amount for state in budgets.states(NOW))
    charged += sum(end() for end in running)
    assert charged <= min(of_key, of_team, of_model)
    assert {state.charged for state in budgets.states(NOW)} == {charged}


@settings(max_examples=300, deadline=None)
@given(fields)
def test_a_bound_has_room_for_every_byte_or_for_the_window(body: dict[str, Any]) -> None:
    request = parse_chat_request(body)
    least = min(len(orjson.dumps(body["messages"])) // 3, WINDOW)  # pictures that are held are no text
    assert most_input(request.body, "gpt-4o", WINDOW) >= least
    assert bound_of(request) >= least * 2_000


def test_what_is_above_the_bound_is_charged_at_it_and_says_so_and_is_owed_as_stated() -> None:
    request = parse_chat_request({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9})
    said = {"prompt_tokens": 500_000, "completion_tokens": 5}
    booking = settle_charges([facts_of(request, (said, None, PRICE, ("ok", Phase.FORWARDED), None), 70)])
    assert (booking.charged, booking.confidence, booking.above_bound) == (70, "estimated", True)
    assert booking.upstream_cost > USD
    free = facts_of(request, (said, None, PRICE, ("ok", Phase.FORWARDED), None), 70)
    free.bound = None
    assert settle_charges([free]).charged == booking.upstream_cost
    assert settle_charges([free]).confidence == "measured"
