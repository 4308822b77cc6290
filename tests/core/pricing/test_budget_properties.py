"""Whatever happens in whatever order: the sums of the budgets are those of the requests."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.core.pricing.budget_errors import Exceeded, Holder
from gateway.core.pricing.budgets import PERCENTS, Budgets, Crossing, Reservation
from gateway.core.pricing.calendar import PeriodKind, period_at
from gateway.core.types import Budget

NOON = int(datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()) * 1_000_000_000  # a month's last day
HOUR = 3600 * 1_000_000_000
DAY = 24 * HOUR
KINDS: tuple[PeriodKind, ...] = ("day", "week", "month", "total")
LIMITS: dict[Holder, Budget] = {
    ("key", "daily"): Budget(100, "day"),
    ("key", "monthly"): Budget(150, "month"),
    ("key", "weekly"): Budget(120, "week"),
    ("team", "all"): Budget(200, "total"),
}
HOLDERS = st.sampled_from(
    [
        (("key", "daily"),),
        (("key", "daily"), ("team", "all")),
        (("key", "monthly"), ("team", "all")),
        (("key", "weekly"), ("team", "all")),
        (("key", "free"), ("team", "all")),
        (("key", "free"),),
    ]
)
AMOUNTS = st.integers(0, 60)


@dataclass
class Request:
    """What the test itself remembers of one: ``starts``: of the periods it belongs to."""

    reservation: Reservation
    starts: dict[PeriodKind, int]
    held_until: int | None = None
    charged: int | None = None
    in_part: bool = False
    crossings: list[Crossing] = field(default_factory=list)


class Spending(RuleBasedStateMachine):
    """Requests come, end, get lost and are found, while the clock runs on, is set back, and jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.budgets = Budgets(UTC, NOON)
        self.budgets.configure(LIMITS, NOON)
        self.requests: list[Request] = []
        self.told: Counter[tuple[Holder, int, int]] = Counter()

    @property
    def open(self) -> list[Request]:
        return [request for request in self.requests if request.charged is None]

    def pick(self, data: st.DataObject, requests: list[Request]) -> Request | None:
        return data.draw(st.sampled_from(requests)) if requests else None

    def end(self, request: Request, charged: int, crossings: list[Crossing]) -> None:
        request.charged = charged
        self.told.update((crossing.holder, crossing.period.start_ns, crossing.percent) for crossing in crossings)

    def sums(self, holder: Holder, kind: PeriodKind, start: int) -> tuple[int, int, int]:
        """Charged, reserved, and charged beyond reservations, by the test's own count."""
        own = [one for one in self.requests if holder in one.reservation.holders and one.starts[kind] == start]
        return (
            sum(one.charged or 0 for one in own),
            sum(one.reservation.amount for one in own if one.charged is None),
            sum(max(0, (one.charged or 0) - one.reservation.amount) for one in own),
        )

    @rule(hours=st.integers(-2, 12))
    def time_passes(self, hours: int) -> None:
        self.now += hours * HOUR
        self.clock_was_moved()

    @rule(days=st.sampled_from([-400, -31, -7, -1, 1, 2, 30, 365, 400]))
    def the_clock_jumps(self, days: int) -> None:
        self.now = max(NOON - 500 * DAY, self.now + days * DAY)
        self.clock_was_moved()

    def clock_was_moved(self) -> None:
        """As the service does: what was charged in the periods that a clock set back shows is read from the ledger."""
        periods = self.budgets.periods(self.now)
        if self.budgets.set_back:
            self.budgets.set_back = False
            self.budgets.recount({period: self.ledger(kind, period.start_ns) for kind, period in periods.items()})

    def ledger(self, kind: PeriodKind, start: int) -> dict[tuple[str, str | None, str], int]:
        charged: Counter[tuple[str, str | None, str]] = Counter()
        for one in self.requests:
            if one.starts[kind] == start and one.charged:
                key, *team = one.reservation.holders
                charged[key[1], team[0][1] if team else None, "gpt-4o"] += one.charged
        return dict(charged)

    @rule(holders=HOLDERS, amount=AMOUNTS)
    def a_request_comes(self, holders: tuple[Holder, ...], amount: int) -> None:
        starts = {kind: period_at(kind, self.now, UTC).start_ns for kind in KINDS}
        limited = [(holder, LIMITS[holder]) for holder in holders if holder in LIMITS]
        fits = amount == 0 or all(
            sum(self.sums(holder, limit.period, starts[limit.period])[:2]) + amount <= limit.amount
            for holder, limit in limited
        )
        answer = self.budgets.reserve(str(len(self.requests)), holders, amount, self.now)
        assert isinstance(answer, Reservation if fits else Exceeded)
        if isinstance(answer, Reservation):
            self.requests.append(Request(answer, starts))

    @rule(data=st.data(), charged=AMOUNTS)
    def one_is_settled(self, data: st.DataObject, charged: int) -> None:
        if (request := self.pick(data, self.open)) is not None:
            self.end(request, charged, self.budgets.settle(request.reservation, charged))
            assert self.budgets.settle(request.reservation, charged) == []

    @rule(data=st.data(), amount=AMOUNTS)
    def one_goes_on_to_a_dearer_way(self, data: st.DataObject, amount: int) -> None:
        if (request := self.pick(data, [one for one in self.open if one.held_until is None])) is None:
            return
        before = request.reservation.amount
        more = amount - before
        starts = {kind: period_at(kind, self.now, UTC).start_ns for kind in KINDS}
        fits = more <= 0 or all(
            sum(self.sums(holder, LIMITS[holder].period, starts[LIMITS[holder].period])[:2]) + more
            <= LIMITS[holder].amount
            for holder in request.reservation.holders
            if holder in LIMITS
        )
        assert (self.budgets.top_up(request.reservation, amount, self.now) is None) == fits
        assert request.reservation.amount == (max(before, amount) if fits else before)

    @rule(data=st.data(), charged=AMOUNTS, doubtful=st.integers(1, 20), hours=st.integers(0, 24))
    def one_comes_in_part(self, data: st.DataObject, charged: int, doubtful: int, hours: int) -> None:
        if (request := self.pick(data, [one for one in self.open if one.held_until is None])) is None:
            return
        charged = min(charged, request.reservation.amount)
        doubtful = min(doubtful, request.reservation.amount - charged)
        until = self.now + hours * HOUR
        self.end(request, charged, self.budgets.settle_in_part(request.reservation, charged, doubtful, until))
        request.in_part = True
        rest, _ = self.budgets._held[request.reservation.id]
        self.requests.append(Request(rest, request.starts, until))

    @rule(data=st.data())
    def one_is_released(self, data: st.DataObject) -> None:
        if (request := self.pick(data, self.open)) is not None:
            self.budgets.release(request.reservation)
            self.end(request, 0, [])

    @rule(data=st.data(), hours=st.integers(0, 24))
    def one_is_lost(self, data: st.DataObject, hours: int) -> None:
        if (request := self.pick(data, self.open)) is not None:
            request.held_until = self.now + hours * HOUR
            self.budgets.hold(request.reservation, request.held_until)

    @rule(data=st.data(), charged=AMOUNTS)
    def one_is_found_again(self, data: st.DataObject, charged: int) -> None:
        if (request := self.pick(data, [one for one in self.requests if not one.in_part])) is not None:
            held = request.charged is None and request.held_until is not None
            crossings = self.budgets.resolve(request.reservation.id, charged)
            assert (crossings is not None) == held
            if crossings is not None:
                self.end(request, charged, crossings)

    @rule()
    def what_was_lost_too_long_ago_is_given_up(self) -> None:
        due = [one for one in self.open if one.held_until is not None and one.held_until <= self.now]
        given_up = self.budgets.expire(self.now)
        assert {one.id for one in given_up} == {one.reservation.id for one in due}
        for request in due:
            self.end(request, 0, [])

    @invariant()
    def the_sums_agree_with_the_requests(self) -> None:
        for holder in (*LIMITS, ("key", "free")):
            for kind in KINDS:
                charged, reserved = self.budgets.used(holder, kind, self.now)
                start = period_at(kind, self.now, UTC).start_ns
                assert (charged, reserved) == self.sums(holder, kind, start)[:2]
                assert type(charged) is type(reserved) is int

    @invariant()
    def a_budget_is_passed_only_by_charges_beyond_their_own_reservations(self) -> None:
        for state in self.budgets.states(self.now):
            beyond = self.sums(state.holder, state.limit.period, state.period.start_ns)[2]
            assert 0 <= state.charged + state.reserved <= state.limit.amount + beyond
            assert state.left == max(0, state.limit.amount - state.charged - state.reserved)

    @invariant()
    def every_share_that_was_reached_was_told_exactly_once(self) -> None:
        reached: set[tuple[Holder, int, int]] = set()
        for holder, limit in LIMITS.items():
            for start in {one.starts[limit.period] for one in self.requests}:
                charged = self.sums(holder, limit.period, start)[0]
                reached |= {(holder, start, percent) for percent in PERCENTS if charged * 100 >= limit.amount * percent}
        assert self.told == Counter(reached)


TestSpending = Spending.TestCase
TestSpending.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
