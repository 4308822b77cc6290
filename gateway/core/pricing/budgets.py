"""The budgets of keys and teams: reserve the most a request may cost, then settle what it did cost.

A request reserves on its key and its key's team together or not at all, before anything is bought, in one call that
cannot be interrupted (one thread only). So the charges exceed a budget only by what a request costs beyond its own
reservation. A request belongs to the periods in which it was admitted, however long it runs. Money is whole
nano-dollars, times are Unix nanoseconds.

Every holder is counted by the day, by the month and in total, whichever of these its budget is for, and also without a
budget: one that is set or changed later starts with what was really used. The current periods only ever move forward: a
clock that is set back does not start a period a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from gateway.core.pricing.budget_errors import Exceeded, Holder, Unpriced
from gateway.core.pricing.calendar import BudgetPeriod, PeriodKind, period_at
from gateway.core.types import Budget

PERCENTS = (80, 100)
"""Percentages of a budget that raise an alert when they are reached."""

UNKNOWN_HELD_NS = 24 * 3600 * 1_000_000_000
"""Nanoseconds after its intent for which a request of unknown outcome keeps its reservation."""

_KINDS: tuple[PeriodKind, ...] = ("day", "month", "total")


@dataclass(frozen=True, slots=True)
class Crossing:
    """An alert: what ``holder`` was charged in ``period`` has reached ``percent`` of its budget."""

    holder: Holder
    percent: int
    limit: Budget
    period: BudgetPeriod
    charged: int


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget and its use: ``charged`` by requests that ended, ``reserved`` by those that run."""

    holder: Holder
    limit: Budget
    period: BudgetPeriod
    charged: int
    reserved: int

    @property
    def left(self) -> int:
        """What may still be reserved."""
        return max(0, self.limit.amount - self.charged - self.reserved)


class _Account:
    """The charges and reservations of one holder in one period.

    ``alerted``: the percentages that have raised an alert.
    """

    __slots__ = ("alerted", "charged", "period", "reserved")

    def __init__(self, period: BudgetPeriod) -> None:
        self.period = period
        self.charged = 0
        self.reserved = 0
        self.alerted: set[int] = set()

    def reached(self, limit: Budget) -> set[int]:
        """The percentages of ``limit`` that the charges have reached. Without any charge no percentage is reached."""
        charged = self.charged
        return {percent for percent in PERCENTS if charged and charged * 100 >= limit.amount * percent}


class _HolderAccounts:
    """One holder's accounts of the current periods, and its budget."""

    __slots__ = ("_accounts", "limit")

    def __init__(self) -> None:
        self._accounts: dict[PeriodKind, _Account] = {}
        self.limit: Budget | None = None

    def account(self, period: BudgetPeriod) -> _Account:
        """The account of a current period. Accounts of earlier periods live on in their reservations."""
        account = self._accounts.get(period.kind)
        if account is None or account.period.start_ns != period.start_ns:
            account = self._accounts[period.kind] = _Account(period)
        return account


class Reservation:
    """The amount one request holds of its budgets.

    ``id``: the exchange's.
    ``open``: True until it is settled or released.
    """

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
        """Turn what is reserved into what is charged. Returns the accounts, none of them if this was done before."""
        if not self.open:
            return []
        self.open = False
        for _, account in self._accounts:
            account.reserved -= self.amount
            account.charged += charged
        return self._accounts


class Budgets:
    """Every holder's accounts and the reservations on them.

    ``zone``: the time zone whose calendar days and months are the periods.
    ``wall_ns``: the time now.
    """

    def __init__(self, zone: tzinfo, wall_ns: int) -> None:
        self._zone = zone
        self._periods: dict[PeriodKind, BudgetPeriod] = {kind: period_at(kind, wall_ns, zone) for kind in _KINDS}
        self._holders: dict[Holder, _HolderAccounts] = {}
        self._held: dict[str, tuple[Reservation, int]] = {}

    def periods(self, wall_ns: int) -> Mapping[PeriodKind, BudgetPeriod]:
        """The current periods, to which every request admitted now belongs."""
        for kind, period in self._periods.items():
            if period.end_ns is not None and wall_ns >= period.end_ns:
                self._periods[kind] = period_at(kind, wall_ns, self._zone)
        return self._periods

    def configure(self, limits: Mapping[Holder, Budget], wall_ns: int) -> list[Crossing]:
        """Apply these budgets, and no others, from now on; the use so far stays counted.

        Returns the alerts of percentages that a lowered or new budget has already reached. A raised budget may raise an
        alert again.
        """
        periods = self.periods(wall_ns)
        for holder, accounts in self._holders.items():
            if holder not in limits:
                accounts.limit = None
        crossings: list[Crossing] = []
        for holder, limit in limits.items():
            accounts = self._accounts_of(holder)
            account = accounts.account(periods[limit.period])
            if accounts.limit != limit:
                account.alerted &= account.reached(limit)
                accounts.limit = limit
            crossings += self._crossed(holder, account)
        return crossings

    def load(self, holder: Holder, charged: Mapping[PeriodKind, int]) -> None:
        """Start from the charges the ledger has for requests of the current periods (see ``periods``).

        Call it after ``configure`` and before any request. Percentages reached by these charges count as alerted
        already.
        """
        accounts = self._accounts_of(holder)
        for kind, amount in charged.items():
            account = accounts.account(self._periods[kind])
            account.charged = _whole(amount)
            if accounts.limit is not None and accounts.limit.period == kind:
                account.alerted = account.reached(accounts.limit)

    def restore(self, id: str, holders: Sequence[Holder], amount: int, admitted_ns: int, until_ns: int) -> None:
        """Hold the reservation of a request from before a restart whose outcome is unknown.

        ``admitted_ns``: its intent's time; periods that are over by now are not charged.
        """
        periods = [period for period in self._periods.values() if admitted_ns >= period.start_ns]
        self._held[id] = (self._reserve(id, holders, _whole(amount), admitted_ns, periods), until_ns)

    def reserve(
        self, id: str, holders: Sequence[Holder], amount: int | None, wall_ns: int, *, allow_unpriced: bool = False
    ) -> Reservation | Exceeded | Unpriced:
        """Reserve ``amount`` on every holder, or refuse and reserve nothing.

        ``amount``: the most that the request can cost; None if its price is unknown, which is refused where any holder
            has a budget, unless ``allow_unpriced`` is set; then the request is admitted while anything is left. A
            request that costs nothing is always admitted.
        ``wall_ns``: the intent's time.
        """
        if amount is not None:
            _whole(amount)
        periods = self.periods(wall_ns)
        for holder in holders:
            accounts = self._accounts_of(holder)
            limit = accounts.limit
            if limit is None:
                continue
            account = accounts.account(periods[limit.period])
            used = account.charged + account.reserved
            if amount is None and not allow_unpriced:
                return Unpriced(holder)
            fits = used < limit.amount if amount is None else amount == 0 or used + amount <= limit.amount
            if not fits:
                return Exceeded(holder, limit, account.period, amount, account.charged, account.reserved, self._zone)
        return self._reserve(id, holders, amount or 0, wall_ns, periods.values())

    def exhausted(self, holders: Sequence[Holder], wall_ns: int) -> Exceeded | None:
        """The refusal of any request that costs money; None as long as every holder has something left.

        A budget of zero is never exhausted: its holder may send requests that cost nothing.
        """
        for holder in holders:
            state = self.state(holder, wall_ns)
            if state is not None and state.limit.amount and not state.left:
                return Exceeded(holder, state.limit, state.period, None, state.charged, state.reserved, self._zone)
        return None

    def settle(self, reservation: Reservation, charged: int) -> list[Crossing]:
        """Charge ``charged`` for a request that has ended. A second call changes nothing.

        Returns the alerts: each percentage once a period for each holder.
        """
        ended = reservation._end(_whole(charged))
        if ended:
            self._held.pop(reservation.id, None)
        return [crossing for holder, account in ended for crossing in self._crossed(holder, account)]

    def release(self, reservation: Reservation) -> None:
        """Charge nothing for a request that has ended."""
        self.settle(reservation, 0)

    def hold(self, reservation: Reservation, until_ns: int) -> None:
        """Keep the reservation of a request of unknown outcome until it is resolved, or until ``until_ns``."""
        if reservation.open:
            self._held[reservation.id] = (reservation, until_ns)

    def settle_in_part(self, reservation: Reservation, charged: int, doubtful: int, until_ns: int) -> list[Crossing]:
        """Charge ``charged`` for a request that has ended, and keep ``doubtful`` reserved, which it may have bought
        besides.
        """
        crossings = self.settle(reservation, charged)
        accounts = [(holder, account) for holder, account in reservation._accounts]
        rest = Reservation(reservation.id, reservation.holders, _whole(doubtful), reservation.admitted_ns, accounts)
        self._held[rest.id] = (rest, until_ns)
        return crossings

    def top_up(self, reservation: Reservation, amount: int, wall_ns: int) -> Exceeded | None:
        """Raise the reservation of a running request to ``amount`` in all, or refuse and leave it unchanged."""
        more = _whole(amount) - reservation.amount
        if more <= 0 or not reservation.open:
            return None
        periods = self.periods(wall_ns)
        for holder in reservation.holders:
            limit = self._accounts_of(holder).limit
            if limit is None:
                continue
            account = self._accounts_of(holder).account(periods[limit.period])
            if account.charged + account.reserved + more > limit.amount:
                return Exceeded(holder, limit, account.period, more, account.charged, account.reserved, self._zone)
        for _, account in reservation._accounts:
            account.reserved += more
        reservation.amount = amount
        return None

    def resolve(self, id: str, charged: int) -> list[Crossing] | None:
        """Settle a held request whose outcome is known now, as ``settle`` does; None if it is not held (any more)."""
        held = self._held.get(id)
        return None if held is None else self.settle(held[0], charged)

    def expire(self, wall_ns: int) -> list[Reservation]:
        """Release the reservations held until now. Returns them, so that they can be reported."""
        over = [reservation for reservation, until_ns in self._held.values() if until_ns <= wall_ns]
        for reservation in over:
            self.release(reservation)
        return over

    def used(self, holder: Holder, kind: PeriodKind, wall_ns: int) -> tuple[int, int]:
        """What a holder, with or without a budget, was charged and has reserved in its current period of this kind."""
        period = self.periods(wall_ns)[kind]
        accounts = self._holders.get(holder)
        if accounts is None:
            return 0, 0
        account = accounts.account(period)
        return account.charged, account.reserved

    def state(self, holder: Holder, wall_ns: int) -> BudgetState | None:
        """The state of a holder's budget; None if it has none."""
        accounts = self._holders.get(holder)
        if accounts is None or accounts.limit is None:
            return None
        account = accounts.account(self.periods(wall_ns)[accounts.limit.period])
        return BudgetState(holder, accounts.limit, account.period, account.charged, account.reserved)

    def states(self, wall_ns: int) -> list[BudgetState]:
        """The state of every budget."""
        states = (self.state(holder, wall_ns) for holder in self._holders)
        return [state for state in states if state is not None]

    def _accounts_of(self, holder: Holder) -> _HolderAccounts:
        accounts = self._holders.get(holder)
        if accounts is None:
            accounts = self._holders[holder] = _HolderAccounts()
        return accounts

    def _reserve(
        self, id: str, holders: Sequence[Holder], amount: int, admitted_ns: int, periods: Iterable[BudgetPeriod]
    ) -> Reservation:
        """Reserve without checking the budgets, in the current periods that the request belongs to."""
        accounts = [(holder, self._accounts_of(holder).account(period)) for period in periods for holder in holders]
        return Reservation(id, tuple(holders), amount, admitted_ns, accounts)

    def _crossed(self, holder: Holder, account: _Account) -> list[Crossing]:
        """The alerts for percentages that ``account`` has newly reached of its holder's budget."""
        limit = self._holders[holder].limit
        if limit is None or limit.period != account.period.kind:
            return []
        new = sorted(account.reached(limit) - account.alerted)
        account.alerted.update(new)
        return [Crossing(holder, percent, limit, account.period, account.charged) for percent in new]


def holders_of(key: str, team: str | None) -> tuple[Holder, ...]:
    """The holders whose budgets a request counts against: its key, and the key's team if it has one. Both by name."""
    return (("key", key),) if team is None else (("key", key), ("team", team))


def charged_by_holder(charged: Mapping[tuple[str, str | None], int]) -> dict[Holder, int]:
    """The charges of a period, by key and team, as what each key and each team was charged in it; nano-dollars."""
    sums: dict[Holder, int] = {}
    for (key, team), nano in charged.items():
        for holder in holders_of(key, team):
            sums[holder] = sums.get(holder, 0) + nano
    return sums


def _whole(amount: int) -> int:
    """``amount``, checked to be a whole number of at least 0, as every charge must be."""
    if type(amount) is not int or amount < 0:
        raise ValueError("an amount of money must be a whole number of nano-dollars, not below zero")
    return amount
