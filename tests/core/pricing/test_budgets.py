"""Budgets as requests use them up: reserved before, settled after, counted by the calendar, told when crossed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.core.pricing.budget_errors import Exceeded, Holder, Unpriced
from gateway.core.pricing.budgets import UNKNOWN_HELD_NS, Budgets, Crossing, Reservation, holders_of
from gateway.core.pricing.charged_sums import charged_by_holder
from gateway.core.types import Budget

from .prices import USD

NOW = int(datetime(2026, 11, 22, 8, 47, tzinfo=UTC).timestamp()) * 1_000_000_000
HOUR = 3600 * 1_000_000_000
DAY = 24 * HOUR
ALICE: Holder = ("key", "alice")
BOB: Holder = ("key", "bob")
GROWTH: Holder = ("team", "growth")


def budgets(**amounts: str) -> Budgets:
    """``budgets(alice="10/day")``; growth is the team."""
    made = Budgets(UTC, NOW)
    made.configure(limits(**amounts), NOW)
    return made


def limits(**amounts: str) -> dict[Holder, Budget]:
    return {("team" if name == "growth" else "key", name): limit(text) for name, text in amounts.items()}


def limit(text: str) -> Budget:
    amount, _, period = text.partition("/")
    assert period in ("day", "week", "month", "total")
    return Budget(int(amount) * USD, period)  # type: ignore[arg-type]


def reserved(answer: Reservation | Exceeded | Unpriced) -> Reservation:
    assert isinstance(answer, Reservation), answer
    return answer


def exceeded(answer: Reservation | Exceeded | Unpriced) -> Exceeded:
    assert isinstance(answer, Exceeded), answer
    return answer


def spend(of: Budgets, amount: int, *holders: Holder, at: int = NOW) -> list[Crossing]:
    return of.settle(reserved(of.reserve("x", holders or (ALICE,), amount, at)), amount)


def told(crossings: list[Crossing]) -> list[tuple[str, int]]:
    return [(crossing.holder[1], crossing.percent) for crossing in crossings]


class TestExhausted:
    def test_only_a_budget_with_nothing_left_is(self):
        book = budgets(alice="10/month", growth="15/month")
        running = reserved(book.reserve("1", [ALICE, GROWTH], 9 * USD, NOW))
        last = reserved(book.reserve("2", [ALICE, GROWTH], USD, NOW))
        assert book.exhausted([ALICE, GROWTH], NOW) is None, "what runs may cost nothing in the end"
        book.settle(running, 9 * USD)
        book.hold(last, NOW + DAY)
        refusal = book.exhausted([GROWTH, ALICE], NOW)
        assert refusal is not None
        assert (refusal.holder, refusal.asked, refusal.charged, refusal.reserved) == (ALICE, None, 9 * USD, USD)
        book.release(last)
        assert book.exhausted([ALICE, GROWTH], NOW) is None

    def test_a_budget_of_zero_never_is_and_neither_is_a_holder_without_one(self):
        book = budgets(alice="0/month")
        exceeded(book.reserve("1", [ALICE], 1, NOW))
        assert book.exhausted([ALICE, BOB], NOW) is None


@pytest.mark.parametrize(("team", "holders"), [(None, (ALICE,)), ("growth", (ALICE, GROWTH))])
def test_a_request_counts_against_its_key_and_the_keys_team(team: str | None, holders: tuple[Holder, ...]):
    assert holders_of("alice", team) == holders


def test_the_charges_of_keys_add_up_to_those_of_their_teams():
    charged = {
        ("alice", "growth", "gpt-4o"): 1,
        ("alice", "growth", "flux-dev"): 2,
        ("bob", "growth", "gpt-4o"): 4,
        ("alice", None, "gpt-4o"): 5,
    }
    assert charged_by_holder(charged) == {ALICE: 8, BOB: 4, GROWTH: 7}


class TestReserving:
    def test_what_is_reserved_cannot_be_reserved_again_and_what_was_too_much_comes_back(self):
        book = budgets(alice="10/month")
        first = reserved(book.reserve("1", [ALICE], 8 * USD, NOW))
        refusal = exceeded(book.reserve("2", [ALICE], 3 * USD, NOW))
        assert (refusal.holder, refusal.asked, refusal.charged, refusal.reserved) == (ALICE, 3 * USD, 0, 8 * USD)
        book.settle(first, USD)
        assert book.used(ALICE, "month", NOW) == (USD, 0)
        reserved(book.reserve("3", [ALICE], 9 * USD, NOW))
        assert exceeded(book.reserve("4", [ALICE], 1, NOW)).charged == USD

    def test_the_last_nano_dollar_can_be_spent(self):
        book = budgets(alice="10/total")
        spend(book, 10 * USD - 1)
        exceeded(book.reserve("1", [ALICE], 2, NOW))
        spend(book, 1)
        exceeded(book.reserve("2", [ALICE], 1, NOW))

    def test_a_request_that_costs_nothing_needs_no_budget(self):
        book = budgets(alice="10/month")
        book.settle(reserved(book.reserve("1", [ALICE], 0, NOW)), 11 * USD)
        exceeded(book.reserve("2", [ALICE], 1, NOW))
        reserved(book.reserve("3", [ALICE], 0, NOW))

    def test_what_was_released_costs_nothing_and_once_is_enough(self):
        book = budgets(alice="10/month")
        first, second = (reserved(book.reserve(id, [ALICE], 5 * USD, NOW)) for id in "12")
        book.release(first)
        book.release(first)
        assert book.settle(first, 5 * USD) == []
        assert book.used(ALICE, "month", NOW) == (0, second.amount)

    def test_a_charge_above_its_reservation_is_charged_all_the_same_and_closes_the_budget(self):
        book = budgets(alice="10/month")
        book.settle(reserved(book.reserve("1", [ALICE], USD, NOW)), 12 * USD)
        assert book.used(ALICE, "month", NOW) == (12 * USD, 0)
        state = book.state(ALICE, NOW)
        assert state is not None
        assert state.left == 0
        exceeded(book.reserve("2", [ALICE], 1, NOW))

    @pytest.mark.parametrize("amount", [-1, 1.0, True, float("nan")])
    def test_an_amount_that_is_no_natural_number_is_a_mistake_of_the_caller(self, amount: int):
        book = budgets(alice="10/month")
        with pytest.raises(ValueError, match="whole number"):
            book.reserve("1", [ALICE], amount, NOW)
        open_one = reserved(book.reserve("2", [ALICE], USD, NOW))
        with pytest.raises(ValueError, match="whole number"):
            book.settle(open_one, amount)
        assert book.used(ALICE, "month", NOW) == (0, USD)

    async def test_of_two_hundred_at_once_a_budget_for_ten_lets_ten_through(self):
        book = budgets(growth="10/day", alice="1000/day", bob="1000/day")
        together = asyncio.Barrier(200)

        async def ask(number: int) -> bool:
            await together.wait()
            answer = book.reserve(str(number), [ALICE if number % 2 else BOB, GROWTH], USD, NOW)
            await asyncio.sleep(0)
            if isinstance(answer, Reservation):
                book.settle(answer, USD)
            return isinstance(answer, Reservation)

        assert sum(await asyncio.gather(*(ask(number) for number in range(200)))) == 10
        assert book.used(GROWTH, "day", NOW) == (10 * USD, 0)


class TestKeyAndTeam:
    def test_a_team_shares_its_budget_and_refuses_for_all_its_keys(self):
        book = budgets(alice="10/month", bob="10/month", growth="12/month")
        spend(book, 8 * USD, ALICE, GROWTH)
        refusal = exceeded(book.reserve("1", [BOB, GROWTH], 5 * USD, NOW))
        assert (refusal.holder, refusal.charged) == (GROWTH, 8 * USD)
        assert book.used(BOB, "month", NOW) == (0, 0)  # nothing at all was reserved
        spend(book, 4 * USD, BOB, GROWTH)

    def test_a_key_and_a_team_of_one_name_are_two(self):
        book = budgets(growth="1/month")
        spend(book, 5 * USD, ("key", "growth"))
        assert book.used(GROWTH, "month", NOW) == (0, 0)

    def test_without_any_budget_everything_goes_and_is_counted(self):
        book = budgets()
        spend(book, 10**6 * USD, ALICE, GROWTH)
        assert book.state(ALICE, NOW) is None
        assert [book.used(GROWTH, kind, NOW) for kind in ("day", "month", "total")] == [(10**6 * USD, 0)] * 3
        assert book.used(BOB, "total", NOW) == (0, 0)


class TestUnknownPrices:
    def test_a_price_that_is_unknown_is_refused_where_there_is_a_budget(self):
        book = budgets(growth="10/month")
        assert book.reserve("1", [ALICE, GROWTH], None, NOW) == Unpriced(GROWTH)
        assert reserved(book.reserve("2", [BOB], None, NOW)).amount == 0

    def test_allowed_it_goes_while_anything_is_left(self):
        book = budgets(alice="10/month")
        book.settle(reserved(book.reserve("1", [ALICE], None, NOW, allow_unpriced=True)), 0)
        running = reserved(book.reserve("2", [ALICE], 10 * USD, NOW))
        refusal = exceeded(book.reserve("3", [ALICE], None, NOW, allow_unpriced=True))
        assert (refusal.asked, refusal.reserved) == (None, 10 * USD)
        book.release(running)
        reserved(book.reserve("4", [ALICE], None, NOW, allow_unpriced=True))


class TestPeriods:
    def test_a_budget_begins_anew_with_its_period(self):
        book = budgets(alice="10/day", bob="10/month", growth="10/total")
        for holder in (ALICE, BOB, GROWTH):
            spend(book, 10 * USD, holder)
        tomorrow = NOW + DAY
        spend(book, 10 * USD, ALICE, at=tomorrow)
        exceeded(book.reserve("1", [BOB], 1, tomorrow))
        spend(book, 10 * USD, BOB, at=NOW + 10 * DAY)
        exceeded(book.reserve("2", [GROWTH], 1, NOW + 1000 * DAY))

    def test_a_day_ends_at_the_zones_own_midnight(self):
        book = Budgets(ZoneInfo("Asia/Kolkata"), NOW)  # 14:17 there
        book.configure(limits(alice="10/day"), NOW)
        spend(book, 10 * USD)
        refusal = exceeded(book.reserve("1", [ALICE], 1, NOW + 9 * HOUR))
        assert refusal.period.end_ns == NOW + 9 * HOUR + 43 * 60 * 1_000_000_000
        spend(book, 10 * USD, at=refusal.period.end_ns)

    def test_a_request_belongs_to_the_period_it_was_admitted_in(self):
        book = budgets(alice="10/day")
        slow = reserved(book.reserve("1", [ALICE], 10 * USD, NOW))
        tomorrow = NOW + DAY
        assert book.used(ALICE, "day", tomorrow) == (0, 0)
        assert book.used(ALICE, "month", tomorrow) == (0, 10 * USD)
        spend(book, 7 * USD, at=tomorrow)
        assert told(book.settle(slow, 9 * USD)) == [("alice", 80)]  # of the day before
        assert book.used(ALICE, "day", tomorrow) == (7 * USD, 0)
        assert book.used(ALICE, "total", tomorrow) == (16 * USD, 0)

    def test_a_clock_that_is_set_back_over_midnight_gives_nobody_a_day_twice(self):
        book = budgets(alice="10/day")
        midnight = NOW + 15 * HOUR + 13 * 60 * 1_000_000_000
        spend(book, 10 * USD, at=midnight - 1)
        spend(book, 10 * USD, at=midnight)
        exceeded(book.reserve("1", [ALICE], 1, midnight - HOUR))
        assert book.used(ALICE, "day", midnight - HOUR) == (10 * USD, 0)


class TestCrossings:
    def test_each_share_is_told_once_a_period(self):
        book = budgets(alice="10/day")
        assert told(spend(book, 8 * USD - 1)) == []
        assert told(spend(book, 1)) == [("alice", 80)]
        assert told(spend(book, USD)) == []
        assert told(spend(book, USD)) == [("alice", 100)]
        assert told(spend(book, 10 * USD, at=NOW + DAY)) == [("alice", 80), ("alice", 100)]

    def test_a_crossing_says_whose_of_what_and_when(self):
        book = budgets(alice="100/day", growth="10/month")
        (crossing,) = spend(book, 9 * USD, ALICE, GROWTH)
        assert (crossing.holder, crossing.percent, crossing.limit) == (GROWTH, 80, limit("10/month"))
        assert (crossing.charged, crossing.period) == (9 * USD, book.periods(NOW)["month"])

    def test_reservations_cross_nothing(self):
        book = budgets(alice="10/day")
        assert book.settle(reserved(book.reserve("1", [ALICE], 10 * USD, NOW)), 0) == []

    def test_a_budget_of_nothing_is_crossed_by_the_first_charge_only(self):
        book = budgets(alice="0/day")
        free = reserved(book.reserve("1", [ALICE], 0, NOW))
        assert book.settle(free, 0) == []
        dearer = reserved(book.reserve("2", [ALICE], 0, NOW))
        assert told(book.settle(dearer, 5)) == [("alice", 80), ("alice", 100)]


class TestReload:
    def test_what_was_used_counts_for_a_budget_that_is_set_later(self):
        book = budgets()
        spend(book, 9 * USD)
        assert told(book.configure(limits(alice="10/month"), NOW)) == [("alice", 80)]
        exceeded(book.reserve("1", [ALICE], 2 * USD, NOW))

    def test_a_budget_may_change_its_period(self):
        book = budgets(alice="10/month")
        spend(book, 6 * USD, at=NOW)
        spend(book, 1 * USD, at=NOW + DAY)
        assert book.configure(limits(alice="10/day"), NOW + DAY) == []
        reserved(book.reserve("1", [ALICE], 9 * USD, NOW + DAY))

    def test_a_lowered_budget_tells_what_it_crosses_and_the_same_one_nothing(self):
        book = budgets(alice="100/day")
        spend(book, 45 * USD)
        assert told(book.configure(limits(alice="50/day"), NOW)) == [("alice", 80)]
        assert book.configure(limits(alice="50/day"), NOW) == []
        assert told(book.configure(limits(alice="40/day"), NOW)) == [("alice", 100)]

    def test_a_raised_budget_can_be_crossed_again(self):
        book = budgets(alice="10/day")
        assert told(spend(book, 10 * USD)) == [("alice", 80), ("alice", 100)]
        assert book.configure(limits(alice="20/day"), NOW) == []
        assert told(spend(book, 6 * USD)) == [("alice", 80)]

    def test_a_budget_that_is_dropped_limits_nothing_any_more(self):
        book = budgets(alice="10/day", bob="10/day")
        spend(book, 10 * USD)
        assert book.configure(limits(bob="10/day"), NOW) == []
        assert spend(book, 100 * USD) == []
        assert [state.holder for state in book.states(NOW)] == [BOB]

    def test_requests_in_flight_stay_reserved(self):
        book = budgets(alice="10/day")
        running = reserved(book.reserve("1", [ALICE], 6 * USD, NOW))
        book.configure(limits(alice="8/day"), NOW)
        exceeded(book.reserve("2", [ALICE], 3 * USD, NOW))
        assert told(book.settle(running, 8 * USD)) == [("alice", 80), ("alice", 100)]


class TestUnknownOutcomes:
    def test_what_is_unknown_stays_reserved_for_a_day_and_is_then_released_and_reported(self):
        book = budgets(alice="10/total")
        lost = reserved(book.reserve("lost", [ALICE], 6 * USD, NOW))
        book.hold(lost, lost.admitted_ns + UNKNOWN_HELD_NS)
        assert book.expire(NOW + DAY - 1) == []
        assert book.used(ALICE, "total", NOW) == (0, 6 * USD)
        assert [(one.id, one.holders, one.amount) for one in book.expire(NOW + DAY)] == [("lost", (ALICE,), 6 * USD)]
        assert book.used(ALICE, "total", NOW) == (0, 0)
        assert book.expire(NOW + DAY) == []

    def test_what_becomes_known_is_charged_and_no_longer_held(self):
        book = budgets(alice="10/total")
        lost = reserved(book.reserve("lost", [ALICE], 6 * USD, NOW))
        book.hold(lost, NOW + DAY)
        crossings = book.resolve("lost", 9 * USD)
        assert crossings is not None
        assert told(crossings) == [("alice", 80)]
        assert book.used(ALICE, "total", NOW) == (9 * USD, 0)
        assert book.resolve("lost", 9 * USD) is None
        assert book.expire(NOW + 2 * DAY) == []

    def test_what_has_ended_cannot_be_held(self):
        book = budgets(alice="10/total")
        done = reserved(book.reserve("done", [ALICE], USD, NOW))
        book.settle(done, USD)
        book.hold(done, NOW)
        assert book.expire(NOW + DAY) == []


class TestStarting:
    def test_the_ledger_says_what_was_charged_and_what_was_crossed_is_not_told_again(self):
        book = budgets(alice="10/month", growth="100/total")
        book.load(ALICE, {"day": USD, "month": 9 * USD, "total": 50 * USD})
        book.load(GROWTH, {"total": 50 * USD})
        assert [book.used(ALICE, kind, NOW)[0] // USD for kind in ("day", "month", "total")] == [1, 9, 50]
        exceeded(book.reserve("1", [ALICE, GROWTH], 2 * USD, NOW))
        assert told(spend(book, USD, ALICE, GROWTH)) == [("alice", 100)]

    def test_what_an_earlier_life_left_unknown_is_held_in_the_periods_it_belongs_to(self):
        book = budgets(alice="10/day", bob="10/month")
        yesterday = NOW - 20 * HOUR
        for holder in (ALICE, BOB):
            book.restore(f"lost-{holder[1]}", [holder], 6 * USD, yesterday, yesterday + UNKNOWN_HELD_NS)
        assert book.used(ALICE, "day", NOW) == (0, 0)
        reserved(book.reserve("1", [ALICE], 10 * USD, NOW))
        exceeded(book.reserve("2", [BOB], 5 * USD, NOW))
        assert len(book.expire(NOW + 4 * HOUR)) == 2
        reserved(book.reserve("3", [BOB], 10 * USD, NOW))

    def test_states_show_every_budget(self):
        book = budgets(alice="10/day", growth="50/month")
        spend(book, 2 * USD, ALICE, GROWTH)
        book.reserve("1", [ALICE, GROWTH], 3 * USD, NOW)
        states = {
            state.holder: (state.limit.amount, state.charged, state.reserved, state.left) for state in book.states(NOW)
        }
        assert states == {
            ALICE: (10 * USD, 2 * USD, 3 * USD, 5 * USD),
            GROWTH: (50 * USD, 2 * USD, 3 * USD, 45 * USD),
        }


class TestTopUp:
    """A request goes on to a dearer way than it was let in for."""

    def test_what_it_may_cost_more_is_reserved_or_refused(self):
        budgets = Budgets(UTC, NOW)
        budgets.configure({ALICE: Budget(100, "day")}, NOW)
        reservation = budgets.reserve("one", [ALICE], 40, NOW)
        assert isinstance(reservation, Reservation)
        assert budgets.top_up(reservation, 90, NOW) is None
        assert budgets.used(ALICE, "day", NOW) == (0, 90)
        refused = budgets.top_up(reservation, 120, NOW)
        assert isinstance(refused, Exceeded)
        assert budgets.used(ALICE, "day", NOW) == (0, 90)
        budgets.settle(reservation, 30)
        assert budgets.used(ALICE, "day", NOW) == (30, 0)

    def test_less_changes_nothing_and_neither_does_what_has_ended(self):
        budgets = Budgets(UTC, NOW)
        reservation = budgets.reserve("one", [ALICE], 40, NOW)
        assert isinstance(reservation, Reservation)
        assert budgets.top_up(reservation, 10, NOW) is None
        assert budgets.used(ALICE, "day", NOW) == (0, 40)
        budgets.settle(reservation, 0)
        assert budgets.top_up(reservation, 90, NOW) is None
        assert budgets.used(ALICE, "day", NOW) == (0, 0)


class TestSettlingInPart:
    """Some of what was ordered came, and some may have been bought without coming."""

    def test_what_is_in_doubt_stays_reserved_until_it_is_given_up(self):
        budgets = Budgets(UTC, NOW)
        reservation = budgets.reserve("one", [ALICE], 30, NOW)
        assert isinstance(reservation, Reservation)
        budgets.settle_in_part(reservation, 15, 15, NOW + UNKNOWN_HELD_NS)
        assert budgets.used(ALICE, "total", NOW) == (15, 15)
        assert [one.amount for one in budgets.expire(NOW + UNKNOWN_HELD_NS)] == [15]
        assert budgets.used(ALICE, "total", NOW) == (15, 0)

    def test_it_may_be_resolved_before(self):
        budgets = Budgets(UTC, NOW)
        reservation = budgets.reserve("one", [ALICE], 30, NOW)
        assert isinstance(reservation, Reservation)
        budgets.settle_in_part(reservation, 15, 15, NOW + UNKNOWN_HELD_NS)
        budgets.resolve("one", 10)
        assert budgets.used(ALICE, "total", NOW) == (25, 0)
