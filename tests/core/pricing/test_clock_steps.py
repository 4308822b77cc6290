"""Budgets while the clock jumps: no day is shut by one that has not come, and none begins a second time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.core.pricing.budget_errors import Exceeded, Holder
from gateway.core.pricing.budgets import SET_BACK_NS, Budgets, Reservation
from gateway.core.types import Budget

from .prices import USD

NOON = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()) * 1_000_000_000
SECOND = 1_000_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
YEAR = 365 * DAY
ALICE: Holder = ("key", "alice")


def budgets(period: str = "day", amount: int = 10, at: int = NOON) -> Budgets:
    made = Budgets(UTC, at)
    made.configure({ALICE: Budget(amount * USD, period)}, at)  # type: ignore[arg-type]
    return made


def spend(book: Budgets, amount: int, at: int) -> bool:
    """Whether there was room for it."""
    answer = book.reserve("x", [ALICE], amount * USD, at)
    if isinstance(answer, Reservation):
        book.settle(answer, amount * USD)
    return isinstance(answer, Reservation)


def left(book: Budgets, at: int) -> int:
    state = book.state(ALICE, at)
    assert state is not None
    return state.left // USD


@pytest.mark.parametrize("ahead", [DAY, 2 * DAY, 31 * DAY, YEAR, 100 * YEAR])
@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_a_clock_that_was_ahead_leaves_today_and_the_days_to_come_as_they_were(period: str, ahead: int) -> None:
    book = budgets(period)
    assert spend(book, 4, NOON)
    during = left(book, NOON + ahead)
    assert during in (6, 10), "6 where it is the same week or month"
    assert spend(book, during, NOON + ahead)
    if during == 10:
        assert left(book, NOON + HOUR) == 6, "what was charged ahead belongs to the days that the clock showed"
        assert spend(book, 6, NOON + HOUR)
    assert not spend(book, 1, NOON + 2 * HOUR)
    assert left(book, NOON + ahead) == 0, "and counts when they come"
    assert left(book, NOON + ahead + 62 * DAY) == 10


def test_a_budget_in_total_knows_no_days() -> None:
    book = budgets("total")
    assert spend(book, 4, NOON + YEAR)
    assert spend(book, 6, NOON)
    assert not spend(book, 1, NOON + YEAR)


def test_a_clock_that_starts_in_the_past_and_is_put_right() -> None:
    book = budgets(at=0)
    assert spend(book, 10, HOUR)
    assert left(book, NOON) == 10
    assert spend(book, 10, NOON)
    assert not spend(book, 1, NOON + HOUR)
    assert left(book, NOON + DAY) == 10


def test_an_adjustment_over_midnight_does_not_leave_the_day_that_has_begun() -> None:
    midnight = NOON + 12 * HOUR
    book = budgets()
    assert spend(book, 10, midnight - 1)
    assert spend(book, 4, midnight)
    assert left(book, midnight - SET_BACK_NS) == 6
    assert not book.set_back
    assert left(book, midnight - SET_BACK_NS - 1) == 0, "yesterday was used up"
    assert book.set_back
    assert left(book, midnight) == 6


def test_what_runs_while_the_clock_jumps_stays_reserved_where_it_was_admitted() -> None:
    book = budgets()
    running = book.reserve("running", [ALICE], 7 * USD, NOON)
    assert isinstance(running, Reservation)
    for years in range(1, 8):  # more than are remembered
        assert spend(book, 1, NOON + years * YEAR)
    assert left(book, NOON) == 3
    assert isinstance(book.reserve("another", [ALICE], 4 * USD, NOON), Exceeded)
    book.settle(running, 2 * USD)
    assert left(book, NOON) == 8
    ahead = book.reserve("ahead", [ALICE], USD, NOON + YEAR)
    assert isinstance(ahead, Reservation)
    assert left(book, NOON) == 8
    book.settle(ahead, 0)


def test_of_a_period_that_was_left_long_ago_the_ledger_tells() -> None:
    book = budgets()
    assert spend(book, 8, NOON)
    for years in range(1, 8):
        left(book, NOON + years * YEAR)
        assert not book.set_back
    periods = book.periods(NOON)
    assert book.set_back
    charges = {("alice", "growth", "gpt-4o"): 7 * USD, ("alice", None, "flux-dev"): USD}
    book.recount({periods["day"]: charges, periods["month"]: charges})
    book.recount({periods["day"]: charges})
    assert left(book, NOON) == 2
    assert book.used(("team", "growth"), "day", NOON) == (7 * USD, 0)
    assert book.settle(book.reserve("x", [ALICE], 0, NOON), 0) == [], "that 80 % are used was told then"  # type: ignore[arg-type]
    assert spend(book, 1, NOON)
    book.recount({periods["day"]: charges})
    assert left(book, NOON) == 1, "what the ledger has not got yet stays counted"


def test_a_recount_counts_each_model_for_the_budgets_that_it_belongs_to() -> None:
    some: Holder = ("key", "alice", "gpt-*")
    book = Budgets(UTC, NOON)
    book.configure({some: Budget(10 * USD, "day")}, NOON)
    charges = {("alice", None, "gpt-4o"): 2 * USD, ("alice", "growth", "gpt-5"): 3 * USD, ("alice", None, "flux"): USD}
    day = book.periods(NOON)["day"]
    for _ in range(2):
        book.recount({day: charges})
        assert book.used(some, "day", NOON) == (5 * USD, 0)
        assert book.used(ALICE, "day", NOON) == (6 * USD, 0)
    later: Holder = ("key", "alice", "gpt-4*")
    book.configure({some: Budget(10 * USD, "day"), later: Budget(10 * USD, "day")}, NOON)
    assert book.used(later, "day", NOON) == (2 * USD, 0)


def test_a_recount_of_a_period_that_is_over_meanwhile_changes_nothing() -> None:
    book = budgets()
    today = book.periods(NOON)["day"]
    book.periods(NOON + DAY)
    book.recount({today: {("alice", None, "gpt-4o"): 9 * USD}})
    assert left(book, NOON + DAY) == 10
