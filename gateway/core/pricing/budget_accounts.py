"""What budgets count in: accounts of charges and reservations, and the reservations that join them.

Money is whole nano-dollars, times are Unix nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.core.pricing.budget_errors import Exceeded, Holder
from gateway.core.pricing.calendar import BudgetPeriod, PeriodKind
from gateway.core.types import Budget

PERCENTS = (80, 100)
"""Percentages of a budget that raise an alert when they are reached, unless its holder has others."""


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
    """A budget and its use: ``charged`` by requests that ended, ``reserved`` by those that run or are in doubt; the
    latter is ``held``.
    """

    holder: Holder
    limit: Budget
    period: BudgetPeriod
    charged: int
    reserved: int
    held: int = 0

    @property
    def left(self) -> int:
        """What may still be reserved."""
        return max(0, self.limit.amount - self.charged - self.reserved)


class Account:
    """The charges and reservations of one holder in one period.

    ``held``: what of ``reserved`` belongs to requests that have ended without their outcome being known.
    ``open``: how many reservations will still be settled here; one may be of nothing.
    ``alerted``: the percentages that have raised an alert.
    """

    __slots__ = ("alerted", "charged", "held", "open", "period", "reserved")

    def __init__(self, period: BudgetPeriod) -> None:
        self.period = period
        self.charged = 0
        self.reserved = 0
        self.held = 0
        self.open = 0
        self.alerted: set[int] = set()

    def reached(self, limit: Budget, percents: Iterable[int]) -> set[int]:
        """The percentages of ``limit`` that the charges have reached. Without any charge no percentage is reached."""
        charged = self.charged
        return {percent for percent in percents if charged and charged * 100 >= limit.amount * percent}

    def has_room(self, limit: Budget, amount: int | None, own: int) -> bool:
        """Whether ``amount``, or anything if that is None, fits into ``limit``. ``own``: what of it is reserved."""
        used = self.charged + self.reserved - own
        return used < limit.amount if amount is None else amount == 0 or used + amount <= limit.amount


KEPT_PERIODS = 3
"""Periods of a kind, beside the current one, whose accounts are kept in case the clock is set back to them."""


def _counts_on(account: Account, period: BudgetPeriod) -> bool:
    """Whether the account of another period is needed still: until what is open is settled, and, where a clock that was
    set back left it ahead of ``period``, until its day comes.
    """
    return account.open > 0 or (account.charged > 0 and account.period.start_ns > period.start_ns)


class HolderAccounts:
    """One holder's accounts of the current periods, its budget, and the percentages of it that are told."""

    __slots__ = ("_accounts", "_left", "limit", "percents")

    def __init__(self) -> None:
        self._accounts: dict[PeriodKind, Account] = {}
        self._left: list[Account] = []
        self.limit: Budget | None = None
        self.percents: tuple[int, ...] = PERCENTS

    def account(self, period: BudgetPeriod) -> Account:
        """The account of a current period. One of a period that was left is kept while a reservation on it is open, if
        it is still to come, and for KEPT_PERIODS.
        """
        account = self._accounts.get(period.kind)
        if account is None or account.period.start_ns != period.start_ns:
            account = self._accounts[period.kind] = self._turn_to(period, account)
        return account

    def load(self, period: BudgetPeriod, charged: int) -> None:
        """Start a current period from what was charged; percentages reached by it count as alerted."""
        account = self.account(period)
        account.charged = charged
        if self.limit is not None and self.limit.period == period.kind:
            account.alerted = account.reached(self.limit, self.percents)

    def at_least(self, period: BudgetPeriod, charged: int) -> None:
        """``load``, if less is charged."""
        if self.account(period).charged < charged:
            self.load(period, charged)

    def crossed(self, holder: Holder, account: Account) -> list[Crossing]:
        """The alerts for percentages that ``account`` has newly reached of the budget."""
        limit = self.limit
        if limit is None or limit.period != account.period.kind or not account.charged:
            return []
        new: list[int] = []
        for percent in self.percents:
            if account.charged * 100 >= limit.amount * percent and percent not in account.alerted:
                new.append(percent)  # noqa: PERF401  # asked at every request: seldom is there any
        if not new:
            return []
        new.sort()
        account.alerted.update(new)
        return [Crossing(holder, percent, limit, account.period, account.charged) for percent in new]

    def accounts(self, periods: Mapping[PeriodKind, BudgetPeriod]) -> Sequence[Account]:
        """``account`` of each of these periods."""
        return [self.account(period) for period in periods.values()]

    def _turn_to(self, period: BudgetPeriod, left: Account | None) -> Account:
        account = next((one for one in self._left if one.period == period), None) or Account(period)
        others = [one for one in self._left if one is not account]
        if left is not None:
            others.append(left)
        kept = [one for one in others if one.period.kind == period.kind][-KEPT_PERIODS:]
        self._left = [one for one in others if one.period.kind != period.kind or one in kept or _counts_on(one, period)]
        return account


Counted = tuple[Holder | None, Sequence[Account]]
"""A holder's accounts of the periods that a request belongs to; None for those of a model, which have no budget."""


BudgetAccount = tuple[Holder, Budget, Account]
"""Whose budget it is, the budget, and what is used of it in the current period."""


class RequestAccounts:
    """What the requests of one key for one model count on: looked up once, asked by every one of them.

    ``names``: of the model, as budgets by model know it. ``holders``: the key, its budgets for the model, its team;
    ``members``: the same with their accounts. ``model``: what the key used of the model; None if that is not counted.
    Good until a budget is set or changed.
    """

    __slots__ = ("_budgets", "_counted", "_periods", "holders", "members", "model", "names")

    def __init__(
        self, names: tuple[str, ...], members: Sequence[tuple[Holder, HolderAccounts]], model: HolderAccounts | None
    ) -> None:
        self.names = names
        self.members = members
        self.holders = tuple([holder for holder, _ in members])
        self.model = model
        self._periods: Mapping[PeriodKind, BudgetPeriod] | None = None
        self._counted: Sequence[Counted] = ()
        self._budgets: Sequence[BudgetAccount] = ()

    def budgets(self, periods: Mapping[PeriodKind, BudgetPeriod]) -> Sequence[BudgetAccount]:
        """The budgets of the holders that have one, with what is used of each in these periods."""
        if self._periods is not periods:
            self._turn_to(periods)
        return self._budgets

    def counted(self, periods: Mapping[PeriodKind, BudgetPeriod]) -> Sequence[Counted]:
        """The accounts in these periods, a mapping that is never changed: it is asked for again and again."""
        if self._periods is not periods:
            self._turn_to(periods)
        return self._counted

    def _turn_to(self, periods: Mapping[PeriodKind, BudgetPeriod]) -> None:
        counted: list[Counted] = [(holder, accounts.accounts(periods)) for holder, accounts in self.members]
        if self.model is not None:
            counted.append((None, self.model.accounts(periods)))
        self._counted = counted
        self._budgets = [
            (holder, its.limit, account)
            for holder, its in self.members
            for account in its.accounts(periods)
            if its.limit is not None and its.limit.period == account.period.kind
        ]
        self._periods = periods


class Reservation:
    """The amount one request holds of its budgets.

    ``id``: the exchange's.
    ``names``: of its model, as budgets by model know it.
    ``held``: whether its request has ended, with an outcome that is not known.
    ``open``: True until it is settled or released.
    ``denied``: why it could not be raised the last time this was tried; None if it could.
    """

    __slots__ = ("_counted", "admitted_ns", "amount", "denied", "held", "holders", "id", "names", "open")

    def __init__(
        self,
        id: str,
        holders: tuple[Holder, ...],
        amount: int,
        admitted_ns: int,
        counted: Sequence[Counted],
        names: tuple[str, ...] = (),
        *,
        held: bool = False,
    ) -> None:
        self.id = id
        self.holders = holders
        self.amount = amount
        self.admitted_ns = admitted_ns
        self.names = names
        self.held = held
        self.open = True
        self.denied: Exceeded | None = None
        self._counted = counted
        for _, accounts in counted:
            for account in accounts:
                account.open += 1
                account.reserved += amount
                if held:
                    account.held += amount

    def join(self, holder: Holder, accounts: HolderAccounts, periods: Mapping[PeriodKind, BudgetPeriod]) -> None:
        """Count on a holder's accounts as well, in those of the current periods that the request belongs to."""
        own = {account.period for _, counted in self._counted for account in counted}
        joined = [accounts.account(period) for period in periods.values() if period in own]
        for account in joined:
            account.open += 1
            account.reserved += self.amount
            account.held += self.amount if self.held else 0
        self._counted = [*self._counted, (holder, joined)]
        self.holders = (*self.holders, holder)

    def hold(self) -> None:
        """The request has ended, and its outcome is not known."""
        if not self.held:
            self.held = True
            for _, accounts in self._counted:
                for account in accounts:
                    account.held += self.amount

    def raise_to(self, amount: int) -> None:
        """Reserve ``amount`` in all."""
        more, self.amount = amount - self.amount, amount
        for _, accounts in self._counted:
            for account in accounts:
                account.reserved += more
                if self.held:
                    account.held += more

    def end(self, charged: int) -> Sequence[Counted]:
        """Turn what is reserved into what is charged. Returns the accounts, none of them if this was done before."""
        if not self.open:
            return ()
        self.open = False
        amount, held = self.amount, self.held
        for _, accounts in self._counted:
            for account in accounts:
                account.open -= 1
                account.reserved -= amount
                account.charged += charged
                if held:
                    account.held -= amount
        return self._counted

    def rest(self, amount: int) -> Reservation:
        """A reservation of ``amount`` on the same accounts, for what is in doubt of a request that has ended."""
        return Reservation(self.id, self.holders, amount, self.admitted_ns, self._counted, self.names, held=True)
