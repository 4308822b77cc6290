"""What one of several gateways knows of their budgets, and what it asks the store that counts them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from gateway.core.pricing.budget_accounts import Reservation
from gateway.core.pricing.budget_errors import Exceeded, Holder
from gateway.core.pricing.calendar import period_at
from gateway.core.pricing.claims import Claim, ClaimRefused, holder_of, holder_text
from gateway.core.pricing.shared_budgets import AHEAD_NS, SharedBudgets
from gateway.core.types import Budget

NOON = int(datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()) * 10**9
DAY = period_at("day", NOON, UTC)
MONTH = period_at("month", NOON, UTC)
ALICE: Holder = ("key", "alice")
GPT: Holder = ("key", "alice", "gpt*")
GROWTH: Holder = ("team", "growth")


def shared(**limits: Budget) -> SharedBudgets:
    """Budgets with limits of Alice (``alice``), of her for some models (``gpt``), and of her team (``growth``)."""
    budgets = SharedBudgets(UTC, NOON)
    named = {"alice": ALICE, "gpt": GPT, "growth": GROWTH}
    budgets.configure({named[name]: limit for name, limit in limits.items()}, NOON)
    return budgets


def reserved(budgets: SharedBudgets, amount: int, id: str = "one") -> Reservation:
    made = budgets.reserve(id, [ALICE, GROWTH], amount, NOON, model="gpt-4o")
    assert isinstance(made, Reservation)
    return made


class TestClaims:
    def test_name_every_holder_with_the_budget_it_has(self) -> None:
        budgets = shared(gpt=Budget(50, "day"), growth=Budget(900, "month"))
        assert budgets.claims([ALICE, GROWTH], NOON, model="gpt-4o") == (
            Claim(ALICE),
            Claim(GPT, 50, "day", DAY.start_ns, DAY.end_ns),
            Claim(GROWTH, 900, "month", MONTH.start_ns, MONTH.end_ns),
        )
        assert [claim.holder for claim in budgets.claims([ALICE], NOON, model="flux-dev")] == [ALICE]

    def test_follow_a_changed_budget_and_a_period_that_begins(self) -> None:
        budgets = shared(alice=Budget(50, "day"))
        budgets.claims([ALICE], NOON)
        budgets.configure_key("alice", {ALICE: Budget(70, "day")}, NOON, {})
        [claim] = budgets.claims([ALICE], NOON)
        assert claim.limit == 70
        assert DAY.end_ns is not None
        [claim] = budgets.claims([ALICE], DAY.end_ns)
        assert claim.start_ns == DAY.end_ns

    def test_are_of_the_period_that_the_moment_is_in_also_where_a_clock_was_adjusted(self) -> None:
        assert DAY.end_ns is not None
        budgets = shared(alice=Budget(50, "day"))
        budgets.claims([ALICE], DAY.end_ns)
        [claim] = budgets.claims([ALICE], DAY.end_ns - 10**9)  # less than a minute: it counts as tomorrow in memory
        assert (claim.start_ns, claim.end_ns) == (DAY.start_ns, DAY.end_ns)

    def test_know_a_holder_by_its_text(self) -> None:
        for holder in (ALICE, GPT, GROWTH, ("key", 'a"[],\\é')):
            assert holder_of(holder_text(holder)) == holder


class TestDue:
    def test_are_the_current_periods_and_those_that_begin_soon(self) -> None:
        budgets = SharedBudgets(ZoneInfo("Europe/Oslo"), NOON)
        budgets.configure({ALICE: Budget(5, "day"), GROWTH: Budget(9, "total")}, NOON)
        day = period_at("day", NOON, ZoneInfo("Europe/Oslo"))
        assert day.end_ns is not None
        assert [claim.start_ns for claim in budgets.due(NOON, "alice")] == [day.start_ns]
        late = day.end_ns - AHEAD_NS
        assert [claim.start_ns for claim in budgets.due(late, "alice")] == [day.start_ns, day.end_ns]
        assert sorted(claim.holder[1] for claim in budgets.due(late)) == ["alice", "alice", "growth"]

    def test_of_a_key_are_its_own_alone(self) -> None:
        budgets = shared(alice=Budget(5, "day"), gpt=Budget(4, "day"), growth=Budget(9, "total"))
        assert {claim.holder for claim in budgets.due(NOON, "alice")} == {ALICE, GPT}
        assert budgets.due(NOON, "bob") == []


class TestWhatOthersUsed:
    def test_is_told_with_what_was_used_here(self) -> None:
        budgets = shared(alice=Budget(100, "day"))
        budgets.settle(reserved(budgets, 30), 20)
        assert budgets.saw(ALICE, "day", DAY.start_ns, (10, 0, 0)) == []  # it does not know of all yet
        state = budgets.state(ALICE, NOON)
        assert state is not None
        assert state.charged == 20
        [crossing] = budgets.saw(ALICE, "day", DAY.start_ns, (85, 9, 4))
        assert crossing.percent == 80
        state = budgets.state(ALICE, NOON)
        assert state is not None
        assert (state.charged, state.reserved, state.held, state.left) == (85, 9, 4, 6)

    def test_is_taken_over_as_it_is_where_all_is_in_it(self) -> None:
        budgets = shared(alice=Budget(100, "day"))
        budgets.settle(reserved(budgets, 30), 20)
        budgets.saw(ALICE, "day", DAY.start_ns, (15, 0, 0), exact=True)
        assert budgets.used(ALICE, "day", NOON) == (15, 0)

    def test_of_another_period_says_nothing(self) -> None:
        budgets = shared(alice=Budget(100, "day"))
        assert budgets.saw(ALICE, "day", DAY.start_ns - 1, (100, 0, 0)) == []
        assert budgets.used(ALICE, "day", NOON) == (0, 0)

    def test_refuses_here_what_the_store_would_refuse_and_nothing_for_what_may_be_free_by_now(self) -> None:
        budgets = shared(alice=Budget(100, "day"))
        budgets.saw(ALICE, "day", DAY.start_ns, (60, 40, 0))
        reserved(budgets, 40)
        assert isinstance(budgets.reserve("two", [ALICE], 1, NOON), Exceeded)

    def test_leaves_no_room_for_what_was_not_asked_before(self) -> None:
        budgets = shared(alice=Budget(100, "day"))
        own = reserved(budgets, 0)
        budgets.saw(ALICE, "day", DAY.start_ns, (60, 30, 0))
        denied = budgets.top_up(own, 11, NOON)
        assert denied is not None
        assert (denied.charged, denied.reserved, own.amount, own.denied) == (60, 30, 0, denied)
        assert budgets.top_up(own, 10, NOON) is None
        assert own.amount == 10


class TestWhatIsInDoubt:
    def test_is_held_by_the_store(self) -> None:
        budgets = shared(alice=Budget(100, "day"))
        budgets.settle_in_part(reserved(budgets, 30), 10, 20, NOON)
        budgets.hold(reserved(budgets, 30, "two"), NOON)
        budgets.restore("three", [ALICE], 30, NOON, NOON)
        assert budgets.used(ALICE, "day", NOON) == (10, 0)
        assert budgets.amount_held("one") is None


def test_a_refusal_of_the_store_is_told_like_any_other() -> None:
    budgets = shared(alice=Budget(100, "day"))
    claim = Claim(ALICE, 100, "day", DAY.start_ns, DAY.end_ns)
    told = budgets.exceeded(ClaimRefused(claim, 30, charged=50, reserved=40, held=0))
    assert told.passing
    assert "$0.00000005 are spent" in told.message()
    held = budgets.exceeded(ClaimRefused(claim, 30, charged=50, reserved=40, held=40))
    assert (held.passing, held.error().code) == (False, "insufficient_quota")


def test_a_budget_is_for_its_key_its_models_and_its_team() -> None:
    budgets = shared(gpt=Budget(1, "day"))
    assert budgets.counts(ALICE, "alice", None, "flux-dev")
    assert not budgets.counts(ALICE, "bob", None, "flux-dev")
    assert budgets.counts(GPT, "alice", None, "gpt-4o")
    assert not budgets.counts(GPT, "alice", None, "flux-dev")
    assert budgets.counts(GROWTH, "bob", "growth", "gpt-4o")
    assert not budgets.counts(GROWTH, "bob", None, "gpt-4o")
