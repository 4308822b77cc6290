"""Budgets of keys and teams: reserve what a request may cost at most, then settle what it did cost.

A request reserves on its key and its key's team together or not at all, before anything is bought, in one call that
nothing can come between (one thread only). So what is charged can pass a budget only by what a request costs beyond its
own reservation. A request belongs to the periods in which it was admitted, however long it runs. Money is integers of
nano-dollars, times are Unix nanoseconds.

Every holder is counted by the day, by the month and in total, whatever its budget is for and even without one: a budget
that is set or changed later starts with what was really used. The current periods only ever move forward: a clock
that is set back gives nobody a period twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from gateway.core.pricing.budget_errors import Exceeded, Holder, Unpriced
from gateway.core.pricing.calendar import Period, PeriodKind, period_at
from gateway.core.types import Budget, VirtualKey

PERCENTS = (80, 100)
"""Shares of a budget whose crossing is told."""

UNKNOWN_HELD_NS = 24 * 3600 * 1_000_000_000
"""How long after its intent a request whose outcome is unknown keeps its reservation."""

_KINDS: tuple[PeriodKind, ...] = ("day", "month", "total")


@dataclass(frozen=True, slots=True)
class Crossing:
    """What ``holder`` was charged in ``period`` has reached ``percent`` of its budget."""

    holder: Holder
    percent: int
    limit: Budget
    period: Period
    charged: int


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget and what is used of it: ``charged`` by requests that ended, ``reserved`` by those that have not."""

    holder: Holder
    limit: Budget
    period: Period
    charged: int
    reserved: int

    @property
    def left(self) -> int:
        """What may still be reserved."""
        return max(0, self.limit.amount - self.charged - self.reserved)


class _Account:
    """What one holder used in one period. ``told``: the percentages whose crossing was."""

    __slots__ = ("charged", "period", "reserved", "told")

    def __init__(self, period: Period) -> None:
        self.period = period
        self.charged = 0
        self.reserved = 0
        self.told: set[int] = set()

    def reached(self, limit: Budget) -> set[int]:
        """The percentages of ``limit`` that the charges have come to. What was never charged has crossed nothing."""
        charged = self.charged
        return {percent for percent in PERCENTS if charged and charged * 100 >= limit.amount * percent}


class _Book:
    """One holder's accounts, those of the current periods, and its budget."""

    __slots__ = ("_accounts", "limit")

    def __init__(self) -> None:
        self._accounts: dict[PeriodKind, _Account] = {}
        self.limit: Budget | None = None

    def account(self, period: Period) -> _Account:
        """The account of a current period. One of an earlier period lives on in its reservations."""
        account = self._accounts.get(period.kind)
        if account is None or account.period.start_ns != period.start_ns:
            account = self._accounts[period.kind] = _Account(period)
        return account


class Reservation:
    """What one request holds of its budgets. ``id``: the exchange's. ``open``: until it is settled or released."""

    __slots__ = ("_accounts", "admitted_ns", "amount", "holders", "id", "open")

    def __init__(
        self,
        id: str,
        holders: tuple[Holder, ...],
        amount: int,
        admitted_ns: int,
        accounts: list[tuple[Holder, _Account]],
    ) -> None:
        self.id = id
        self.holders = holders
        self.amount = amount
        self.admitted_ns = admitted_ns
        self.open = True
        self._accounts = accounts
        for _, account in accounts:
            account.reserved += amount

    def _end(self, charged: int) -> list[tuple[Holder, _Account]]:
        """Turn what is reserved into what is charged. The accounts, or none if that was done before."""
        if not self.open:
            return []
        self.open = False
        for _, account in self._accounts:
            account.reserved -= self.amount
            account.charged += charged
        return self._accounts


class Budgets:
    """``zone``: whose calendar counts. ``wall_ns``: the time now."""

    def __init__(self, zone: tzinfo, wall_ns: int) -> None:
        self._zone = zone
        self._periods: dict[PeriodKind, Period] = {kind: period_at(kind, wall_ns, zone) for kind in _KINDS}
        self._books: dict[Holder, _Book] = {}
        self._held: dict[str, tuple[Reservation, int]] = {}

    def periods(self, wall_ns: int) -> Mapping[PeriodKind, Period]:
        """The current periods, which every request admitted now belongs to."""
        for kind, period in self._periods.items():
            if period.end_ns is not None and wall_ns >= period.end_ns:
                self._periods[kind] = period_at(kind, wall_ns, self._zone)
        return self._periods

    def configure(self, limits: Mapping[Holder, Budget], wall_ns: int) -> list[Crossing]:
        """Let these budgets, and no others, hold from now on; what is used stays used.

        Returns what a lowered or new budget makes crossed at once. A raised one may be crossed, and told, again.
        """
        periods = self.periods(wall_ns)
        for holder, book in self._books.items():
            if holder not in limits:
                book.limit = None
        crossings: list[Crossing] = []
        for holder, limit in limits.items():
            book = self._book(holder)
            account = book.account(periods[limit.period])
            if book.limit != limit:
                account.told &= account.reached(limit)
                book.limit = limit
            crossings += self._crossed(holder, account)
        return crossings

    def load(self, holder: Holder, charged: Mapping[PeriodKind, int]) -> None:
        """Start from what the ledger says was charged to requests of the current periods, as ``periods`` tells them.

        To be done after ``configure`` and before any request; what is crossed by it counts as told in an earlier life.
        """
        book = self._book(holder)
        for kind, amount in charged.items():
            account = book.account(self._periods[kind])
            account.charged = _whole(amount)
            if book.limit is not None and book.limit.period == kind:
                account.told = account.reached(book.limit)

    def restore(self, id: str, holders: Sequence[Holder], amount: int, admitted_ns: int, until_ns: int) -> None:
        """Hold what a request of an earlier life had reserved and whose outcome is unknown.

        ``admitted_ns``: its intent's time; in periods that are over by now it counts no more.
        """
        periods = [period for period in self._periods.values() if admitted_ns >= period.start_ns]
        self._held[id] = (self._reserve(id, holders, _whole(amount), admitted_ns, periods), until_ns)

    def reserve(
        self, id: str, holders: Sequence[Holder], amount: int | None, wall_ns: int, *, allow_unpriced: bool = False
    ) -> Reservation | Exceeded | Unpriced:
        """Reserve ``amount`` on every holder, or refuse and reserve nothing. ``wall_ns`` is the intent's time as well.

        ``amount``: the most that the request can cost, None if its price is unknown: that is refused where any holder
        has a budget, unless ``allow_unpriced``, and then let in while anything is left. What costs nothing always is.
        """
        if amount is not None:
            _whole(amount)
        periods = self.periods(wall_ns)
        for holder in holders:
            book = self._book(holder)
            limit = book.limit
            if limit is None:
                continue
            account = book.account(periods[limit.period])
            used = account.charged + account.reserved
            if amount is None and not allow_unpriced:
                return Unpriced(holder)
            fits = used < limit.amount if amount is None else amount == 0 or used + amount <= limit.amount
            if not fits:
                return Exceeded(holder, limit, account.period, amount, account.charged, account.reserved, self._zone)
        return self._reserve(id, holders, amount or 0, wall_ns, periods.values())

    def exhausted(self, holders: Sequence[Holder], wall_ns: int) -> Exceeded | None:
        """Why nothing that costs money can be reserved, whatever it costs; None as long as every holder has some left.

        A budget of nothing at all is never used up: it is there for what costs nothing.
        """
        for holder in holders:
            state = self.state(holder, wall_ns)
            if state is not None and state.limit.amount and not state.left:
                return Exceeded(holder, state.limit, state.period, None, state.charged, state.reserved, self._zone)
        return None

    def settle(self, reservation: Reservation, charged: int) -> list[Crossing]:
        """The request has ended and costs ``charged``. Doing so twice changes nothing the second time.

        Returns what is crossed by it: each percentage once a period for each holder.
        """
        ended = reservation._end(_whole(charged))
        if ended:
            self._held.pop(reservation.id, None)
        return [crossing for holder, account in ended for crossing in self._crossed(holder, account)]

    def release(self, reservation: Reservation) -> None:
        """The request has ended and costs nothing."""
        self.settle(reservation, 0)

    def hold(self, reservation: Reservation, until_ns: int) -> None:
        """What the request did is unknown: it stays reserved until it is resolved, or until ``until_ns``."""
        if reservation.open:
            self._held[reservation.id] = (reservation, until_ns)

    def settle_in_part(self, reservation: Reservation, charged: int, doubtful: int, until_ns: int) -> list[Crossing]:
        """The request has ended and costs ``charged``; of what more it may have bought, ``doubtful`` stays reserved."""
        crossings = self.settle(reservation, charged)
        accounts = [(holder, account) for holder, account in reservation._accounts]
        rest = Reservation(reservation.id, reservation.holders, _whole(doubtful), reservation.admitted_ns, accounts)
        self._held[rest.id] = (rest, until_ns)
        return crossings

    def top_up(self, reservation: Reservation, amount: int, wall_ns: int) -> Exceeded | None:
        """Reserve ``amount`` in all for a request that is under way, or refuse and leave it as it was."""
        more = _whole(amount) - reservation.amount
        if more <= 0 or not reservation.open:
            return None
        periods = self.periods(wall_ns)
        for holder in reservation.holders:
            limit = self._book(holder).limit
            if limit is None:
                continue
            account = self._book(holder).account(periods[limit.period])
            if account.charged + account.reserved + more > limit.amount:
                return Exceeded(holder, limit, account.period, more, account.charged, account.reserved, self._zone)
        for _, account in reservation._accounts:
            account.reserved += more
        reservation.amount = amount
        return None

    def resolve(self, id: str, charged: int) -> list[Crossing] | None:
        """The outcome of a held request is known now. As ``settle``; None if it is not held (any more)."""
        held = self._held.get(id)
        return None if held is None else self.settle(held[0], charged)

    def expire(self, wall_ns: int) -> list[Reservation]:
        """Release what was held until now; returns it, to be reported."""
        over = [reservation for reservation, until_ns in self._held.values() if until_ns <= wall_ns]
        for reservation in over:
            self.release(reservation)
        return over

    def used(self, holder: Holder, kind: PeriodKind, wall_ns: int) -> tuple[int, int]:
        """What a holder, with a budget or without, was charged and has reserved in its current period of a kind."""
        period = self.periods(wall_ns)[kind]
        book = self._books.get(holder)
        if book is None:
            return 0, 0
        account = book.account(period)
        return account.charged, account.reserved

    def state(self, holder: Holder, wall_ns: int) -> BudgetState | None:
        """A holder's budget; None if it has none."""
        book = self._books.get(holder)
        if book is None or book.limit is None:
            return None
        account = book.account(self.periods(wall_ns)[book.limit.period])
        return BudgetState(holder, book.limit, account.period, account.charged, account.reserved)

    def states(self, wall_ns: int) -> list[BudgetState]:
        """Every budget there is."""
        states = (self.state(holder, wall_ns) for holder in self._books)
        return [state for state in states if state is not None]

    def _book(self, holder: Holder) -> _Book:
        book = self._books.get(holder)
        if book is None:
            book = self._books[holder] = _Book()
        return book

    def _reserve(
        self, id: str, holders: Sequence[Holder], amount: int, admitted_ns: int, periods: Iterable[Period]
    ) -> Reservation:
        """Reserve whatever the budgets say, in those current periods that the request belongs to."""
        accounts = [(holder, self._book(holder).account(period)) for period in periods for holder in holders]
        return Reservation(id, tuple(holders), amount, admitted_ns, accounts)

    def _crossed(self, holder: Holder, account: _Account) -> list[Crossing]:
        """What ``account`` has reached of its holder's budget and was not told of yet."""
        limit = self._books[holder].limit
        if limit is None or limit.period != account.period.kind:
            return []
        new = sorted(account.reached(limit) - account.told)
        account.told.update(new)
        return [Crossing(holder, percent, limit, account.period, account.charged) for percent in new]


def holders_of(key: VirtualKey) -> tuple[Holder, ...]:
    """Whose budgets a request of this key counts against: the key's own, and its team's."""
    return (("key", key.name),) if key.team is None else (("key", key.name), ("team", key.team))


def _whole(amount: int) -> int:
    """``amount``, if it is a natural number; a charge must never be anything else."""
    if type(amount) is not int or amount < 0:
        raise ValueError("an amount of money must be a whole number of nano-dollars, not below zero")
    return amount
