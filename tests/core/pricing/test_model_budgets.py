"""Budgets of a key by model: whatever a model is called, and whenever a budget is set, what was used of it counts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.pricing import model_budgets
from gateway.core.pricing.budget_errors import Exceeded, Holder, Unpriced
from gateway.core.pricing.budgets import UNKNOWN_HELD_NS, Budgets, Reservation
from gateway.core.routing.route_table import RouteTable
from gateway.core.types import Budget, Endpoint, Route, Target, Upstream

NOW = int(datetime(2026, 11, 22, 8, 47, tzinfo=UTC).timestamp()) * 1_000_000_000
DAY = 24 * 3600 * 1_000_000_000
ALICE: Holder = ("key", "alice")
GROWTH: Holder = ("team", "growth")
PIAPI = Upstream("piapi", "piapi", (Endpoint("https://api.piapi.ai", "https", "api.piapi.ai", 443),), ())
TABLE = RouteTable(
    [
        Route("gpt-4o", (Target(PIAPI, "gpt-4o"),), aliases=("chatgpt", "openai/gpt-4o")),
        Route("gpt-4o-mini", (Target(PIAPI, "gpt-4o-mini"),)),
        Route("o3", (Target(PIAPI, "o3"),)),
        Route("house/*", (Target(PIAPI, "house-*"),)),
    ]
)


def of(pattern: str) -> Holder:
    return ("key", "alice", pattern)


def budgets(limits: dict[Holder, Budget]) -> Budgets:
    made = Budgets(UTC, NOW, TABLE.names_of)
    made.configure(limits, NOW)
    return made


def reserve(book: Budgets, amount: int, model: str, asked: str = "", at: int = NOW) -> Reservation | Exceeded:
    answer = book.reserve("x", (ALICE, GROWTH), amount, at, model=model, asked=asked)
    assert not isinstance(answer, Unpriced)
    return answer


def spend(book: Budgets, amount: int, model: str, asked: str = "", at: int = NOW) -> None:
    reservation = reserve(book, amount, model, asked, at)
    assert isinstance(reservation, Reservation)
    book.settle(reservation, amount)


def used(book: Budgets, pattern: str) -> tuple[int, int]:
    state = book.state(of(pattern), NOW)
    assert state is not None
    return state.charged, state.reserved


@pytest.mark.parametrize(
    ("pattern", "model", "asked", "counts"),
    [
        ("gpt-4o", "gpt-4o", "", True),
        ("gpt-4o", "gpt-4o", "chatgpt", True),
        ("gpt-4o", "gpt-4o", "gpt-4o-2024-08-06", True),  # spelled as it may be: the model is the same
        ("gpt-4o", "gpt-4o-mini", "", False),
        ("gpt-4o*", "gpt-4o-mini", "", True),
        ("gpt-4o*", "o3", "", False),
        ("chatgpt", "gpt-4o", "", True),  # an alias stands for its model, by whatever name that is asked for
        ("openai/gpt-4o", "gpt-4o", "gpt-4o", True),
        ("openai/*", "gpt-4o", "", True),
        ("openai/gpt-4o*", "gpt-4o-mini", "", True),  # a vendor's prefix before a model's name says nothing
        ("vendor/*", "o3", "vendor/o3", True),  # as it was asked for
        ("vendor/*", "o3", "o3", False),
        ("*", "o3", "", True),
        ("house/cat", "house/cat", "", True),
        ("house/cat", "house/dog", "", False),
        ("house/*", "house/dog", "", True),
        ("never-heard-of", "never-heard-of", "", True),
    ],
)
def test_a_pattern_is_for_a_model_by_any_of_its_names(pattern: str, model: str, asked: str, counts: bool):
    book = budgets({of(pattern): Budget(10, "day")})
    spend(book, 8, model, asked)
    assert used(book, pattern) == ((8, 0) if counts else (0, 0))
    assert isinstance(reserve(book, 3, model, asked), Exceeded) is counts


def test_a_request_reserves_on_all_its_budgets_or_on_none():
    book = budgets(
        {
            ALICE: Budget(100, "month"),
            of("gpt-4o*"): Budget(50, "week"),
            of("gpt-4o"): Budget(20, "day"),
            GROWTH: Budget(90, "total"),
        }
    )
    spend(book, 15, "gpt-4o")
    refusal = reserve(book, 6, "gpt-4o")
    assert isinstance(refusal, Exceeded)
    assert (refusal.holder, refusal.limit) == (of("gpt-4o"), Budget(20, "day"))
    assert (used(book, "gpt-4o*"), used(book, "gpt-4o"), book.used(ALICE, "month", NOW)) == ((15, 0), (15, 0), (15, 0))
    spend(book, 30, "gpt-4o-mini")
    refusal = reserve(book, 6, "gpt-4o-mini")
    assert isinstance(refusal, Exceeded)
    assert refusal.holder == of("gpt-4o*")
    spend(book, 45, "o3")
    refusal = reserve(book, 5, "gpt-4o")
    assert isinstance(refusal, Exceeded)
    assert refusal.holder == GROWTH
    assert book.used(GROWTH, "total", NOW) == (90, 0)


def test_a_refusal_for_good_comes_before_one_that_passes():
    book = budgets({ALICE: Budget(100, "day"), of("gpt-4o"): Budget(20, "day")})
    running = reserve(book, 95, "o3")
    passing = reserve(book, 10, "gpt-4o")
    assert isinstance(passing, Exceeded)
    assert (passing.holder, passing.passing) == (ALICE, True)
    final = reserve(book, 21, "gpt-4o")
    assert isinstance(final, Exceeded)
    assert (final.holder, final.reason) == (of("gpt-4o"), "too_large")
    assert isinstance(running, Reservation)


def test_other_keys_have_nothing_to_do_with_it():
    book = budgets({of("gpt-4o"): Budget(20, "day")})
    answer = book.reserve("x", [("key", "bob")], 30, NOW, model="gpt-4o")
    assert isinstance(answer, Reservation)
    assert used(book, "gpt-4o") == (0, 0)


def test_an_unknown_price_is_refused_only_where_a_budget_is_for_the_model():
    book = budgets({of("gpt-4o"): Budget(20, "day")})
    assert book.reserve("x", [ALICE], None, NOW, model="gpt-4o", asked="chatgpt") == Unpriced(of("gpt-4o"))
    assert isinstance(book.reserve("x", [ALICE], None, NOW, model="o3"), Reservation)
    assert [book.limited([ALICE], model=model) for model in ("gpt-4o", "o3", "")] == [True, False, False]


class TestSetWhileTheGatewayRuns:
    def test_it_starts_with_what_was_used_and_with_what_runs(self):
        book = budgets({})
        spend(book, 3, "gpt-4o")
        spend(book, 4, "gpt-4o-mini")
        spend(book, 9, "o3")
        running = reserve(book, 5, "gpt-4o-mini")
        other = reserve(book, 7, "o3")
        book.configure({of("gpt-4o*"): Budget(20, "week"), of("gpt-4o-mini"): Budget(9, "day")}, NOW)
        assert used(book, "gpt-4o*") == (7, 5)
        assert used(book, "gpt-4o-mini") == (4, 5)
        assert isinstance(running, Reservation)
        assert isinstance(other, Reservation)
        book.settle(running, 2)
        book.settle(other, 7)
        assert used(book, "gpt-4o*") == (9, 0)
        assert used(book, "gpt-4o-mini") == (6, 0)

    def test_what_ran_over_midnight_counts_in_its_own_day_only(self):
        book = budgets({})
        slow = reserve(book, 5, "gpt-4o")
        tomorrow = NOW + DAY
        book.configure({of("gpt-4o"): Budget(20, "day"), of("gpt-4o*"): Budget(20, "month")}, tomorrow)
        assert isinstance(slow, Reservation)
        book.settle(slow, 5)
        assert book.used(of("gpt-4o"), "day", tomorrow) == (0, 0)
        assert book.used(of("gpt-4o*"), "month", tomorrow) == (5, 0)

    def test_what_is_in_doubt_counts_too_and_is_resolved(self):
        book = budgets({})
        lost = reserve(book, 5, "gpt-4o")
        assert isinstance(lost, Reservation)
        book.settle_in_part(lost, 1, 4, NOW + UNKNOWN_HELD_NS)
        book.configure({of("gpt-4o"): Budget(7, "day")}, NOW)
        assert used(book, "gpt-4o") == (1, 4)
        refusal = reserve(book, 3, "gpt-4o")
        assert isinstance(refusal, Exceeded)
        assert not refusal.passing
        book.resolve("x", 2)
        assert used(book, "gpt-4o") == (3, 0)

    def test_taken_away_and_set_again_it_knows_what_went_on_meanwhile(self):
        limits = {of("gpt-4o"): Budget(20, "day")}
        book = budgets(limits)
        spend(book, 3, "gpt-4o")
        running = reserve(book, 2, "gpt-4o")
        book.configure({}, NOW)
        spend(book, 4, "gpt-4o")
        book.configure(limits, NOW)
        assert used(book, "gpt-4o") == (7, 2)
        assert isinstance(running, Reservation)
        book.settle(running, 1)
        assert used(book, "gpt-4o") == (8, 0)

    def test_changed_it_tells_what_it_crosses(self):
        book = budgets({of("gpt-4o"): Budget(100, "day")})
        spend(book, 45, "gpt-4o")
        crossings = book.configure({of("gpt-4o"): Budget(50, "day")}, NOW, {ALICE: (50, 90)})
        assert [(one.holder, one.percent) for one in crossings] == [(of("gpt-4o"), 50), (of("gpt-4o"), 90)]

    def test_beyond_a_bound_models_are_counted_where_a_budget_is_in_force(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(model_budgets, "MOST_MODELS", 2)
        book = budgets({of("house/*"): Budget(100, "day")})
        for number in range(5):
            spend(book, 1, f"house/{number}")
        assert used(book, "house/*") == (5, 0)
        spend(book, 1, "house/0")
        book.configure({of("house/*"): Budget(100, "day"), of("house/0"): Budget(9, "day")}, NOW)
        assert used(book, "house/0") == (2, 0)


class TestAfterARestart:
    def test_the_books_tell_by_model(self):
        book = budgets(
            {of("gpt-4o*"): Budget(20, "week"), of("chatgpt"): Budget(20, "total"), ALICE: Budget(10, "day")}
        )
        book.load(ALICE, {"day": 1, "week": 2, "month": 3, "total": 9})
        book.load_model("alice", "gpt-4o", {"day": 1, "week": 2, "month": 3, "total": 4})
        book.load_model("alice", "gpt-4o-mini", {"week": 16})
        book.load_model("alice", "o3", {"total": 5})
        assert used(book, "gpt-4o*") == (18, 0)
        assert used(book, "chatgpt") == (4, 0)
        assert book.configure({of("gpt-4o*"): Budget(20, "week")}, NOW) == [], "what was crossed is not told again"
        book.configure({of("o3"): Budget(20, "total")}, NOW)
        assert used(book, "o3") == (5, 0)

    def test_what_is_held_is_held_for_its_model(self):
        book = budgets({of("gpt-4o*"): Budget(20, "week"), of("o3"): Budget(20, "week")})
        book.restore("lost", (ALICE, GROWTH), 7, NOW - 1, NOW + DAY, "gpt-4o")
        assert used(book, "gpt-4o*") == (0, 7)
        assert used(book, "o3") == (0, 0)
        refusal = reserve(book, 14, "gpt-4o")
        assert isinstance(refusal, Exceeded)
        assert refusal.reason == "used_up"
        book.resolve("lost", 3)
        assert used(book, "gpt-4o*") == (3, 0)

    @pytest.mark.parametrize(
        ("pattern", "counts"), [("house/cat", True), ("house/*", True), ("h*", True), ("o3", False)]
    )
    def test_models_of_a_route_with_a_star_are_booked_as_one_and_count_for_each(self, pattern: str, counts: bool):
        book = budgets({of(pattern): Budget(20, "day")})
        book.load_model("alice", "house/*", {"day": 5})
        assert used(book, pattern) == ((5, 0) if counts else (0, 0))


PATTERNS = ("gpt-4o", "gpt-4o*", "o3", "*")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["gpt-4o", "gpt-4o-mini", "o3"]), st.integers(0, 40), st.integers(0, 40), st.integers(0, 3)
    ),
    max_size=40,
)


@given(STEPS, st.lists(st.integers(0, 100), min_size=6, max_size=6))
@settings(max_examples=200, deadline=None)
def test_several_budgets_hold_together_whatever_runs_side_by_side(
    steps: list[tuple[str, int, int, int]], amounts: list[int]
):
    """Each is passed only by what a request costs beyond its own reservation, and adds up to what it is for."""
    limits: dict[Holder, Budget] = {ALICE: Budget(amounts[0], "month"), GROWTH: Budget(amounts[1], "total")}
    limits |= {of(pattern): Budget(amount, "week") for pattern, amount in zip(PATTERNS, amounts[2:], strict=True)}
    book = budgets(limits)
    running: list[tuple[str, Reservation, int]] = []
    ended: list[tuple[str, int, int]] = []
    for model, amount, charged, delay in steps:
        answer = reserve(book, amount, model)
        mine = [holder for holder in limits if is_for(holder, model)]
        uses = [total(holder, ended, running) for holder in mine]
        fits = amount == 0 or all(use + amount <= limits[one].amount for use, one in zip(uses, mine, strict=True))
        assert isinstance(answer, Reservation) == fits
        if isinstance(answer, Exceeded):
            spent = total(answer.holder, ended, [])
            assert answer.passing == all(
                total(holder, ended, []) + amount <= limits[holder].amount
                for holder in mine
                if total(holder, ended, running) + amount > limits[holder].amount
            ), spent
        else:
            running.append((model, answer, charged))
        while len(running) > delay:
            model, reservation, charged = running.pop(0)
            book.settle(reservation, charged)
            ended.append((model, charged, max(0, charged - reservation.amount)))
        for holder, limit in limits.items():
            state = book.state(holder, NOW)
            assert state is not None
            assert state.charged + state.reserved == total(holder, ended, running)
            beyond = sum(over for model, _, over in ended if is_for(holder, model))
            assert state.charged + state.reserved <= limit.amount + beyond


def is_for(holder: Holder, model: str) -> bool:
    pattern = holder[2] if len(holder) == 3 else "*"
    return model.startswith(pattern[:-1]) if pattern.endswith("*") else model == pattern


def total(
    holder: Holder, ended: Iterable[tuple[str, int, int]], running: Iterable[tuple[str, Reservation, int]]
) -> int:
    charged = sum(nano for model, nano, _ in ended if is_for(holder, model))
    return charged + sum(reservation.amount for model, reservation, _ in running if is_for(holder, model))


@pytest.mark.parametrize(
    ("pattern", "asked"),
    [
        ("claude-9", "anthropic/claude-9"),
        ("claude-9", "Claude-9"),
        ("claude-9", "claude-9-2026-11-01"),
        ("claude-9", "~Anthropic/Claude-9-20261101"),
        ("anthropic/claude-9", "claude-9"),
        ("claude-9*", "anthropic/claude-9-mini"),
        ("Claude-*", "claude-9"),
        ("anthropic/claude-*", "CLAUDE-9"),
        ("GPT-4o*", "gpt-4o-mini"),
        ("house/one", "house/ONE"),
        ("house/one", "house/one-2026-11-01"),
    ],
)
def test_no_spelling_of_a_model_that_is_not_known_gets_around_its_budget(pattern: str, asked: str) -> None:
    book = budgets({of(pattern): Budget(100, "day")})
    spend(book, 30, asked, asked)
    assert used(book, pattern) == (30, 0)
    after = budgets({of(pattern): Budget(100, "day")})
    after.load_model("alice", asked, {"day": 30})
    assert used(after, pattern) == (30, 0)


@pytest.mark.parametrize(
    ("pattern", "asked"),
    [
        ("claude-9", "claude-9-mini"),
        ("claude-9*", "claude-8"),
        ("one", "house/one"),  # of another route, at another price
        ("gpt-4o", "gpt-4o-mini"),
        ("house/one", "house/two"),
    ],
)
def test_another_model_is_another_model(pattern: str, asked: str) -> None:
    book = budgets({of(pattern): Budget(100, "day")})
    spend(book, 30, asked, asked)
    assert used(book, pattern) == (0, 0)


def test_what_was_looked_up_is_looked_up_again_once_budgets_change() -> None:
    book = budgets({ALICE: Budget(1_000, "month")})
    spend(book, 100, "gpt-4o")
    book.configure_key("alice", {ALICE: Budget(1_000, "month"), of("gpt-4o"): Budget(300, "month")}, NOW, {})
    assert used(book, "gpt-4o") == (100, 0)
    assert isinstance(reserve(book, 250, "gpt-4o"), Exceeded)
    book.configure_key("alice", {}, NOW, {})
    assert not book.limited((ALICE, GROWTH), model="gpt-4o")
    assert isinstance(reserve(book, 10**9, "gpt-4o"), Reservation)


def test_as_many_are_kept_at_hand_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.core.pricing.budgets.MOST_FOUND", 3)
    book = budgets({of("house/*"): Budget(1_000, "month")})
    for number in range(10):
        spend(book, 1, f"house/{number}")
        assert len(book._found) <= 3
    assert used(book, "house/*") == (10, 0)
