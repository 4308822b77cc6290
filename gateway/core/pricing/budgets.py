"""The budgets of keys and teams: reserve the most a request may cost, then settle what it did cost.

A request reserves on its key, on its key's budgets for its model, and on its key's team together or not at all, before
anything is bought, in one call that cannot be interrupted (one thread only). No request is charged more than it
reserved (charges.py), so that charges never exceed a budget. A request belongs to the periods in which it was admitted,
however long it runs. Money is whole nano-dollars, times are Unix nanoseconds.

Every holder is counted by the day, the week, the month and in total, whichever of these its budget is for, and also
without a budget: one that is set or changed later starts with what was really used, and so does one for some models
(model_budgets.py). The current periods are those of the clock. One that is set back by less than SET_BACK_NS does not
leave a period that has begun; one that is set back further does, and finds the periods as they were left: no day begins
a second time, and none that has not come yet stays. What was charged while the clock was ahead belongs to the days that
it showed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import tzinfo
from types import MappingProxyType

from gateway.core.pricing.budget_accounts import PERCENTS as PERCENTS
from gateway.core.pricing.budget_accounts import Account, HolderAccounts, RequestAccounts
from gateway.core.pricing.budget_accounts import BudgetState as BudgetState
from gateway.core.pricing.budget_accounts import Crossing as Crossing
from gateway.core.pricing.budget_accounts import Reservation as Reservation
from gateway.core.pricing.budget_errors import Exceeded, Holder, Unpriced, graver
from gateway.core.pricing.calendar import BudgetPeriod, PeriodKind, period_at
from gateway.core.pricing.charged_sums import Charges, charged_by_holder, charged_by_model, whole_amount
from gateway.core.pricing.charged_sums import holders_of as holders_of
from gateway.core.pricing.model_budgets import ModelBudgets, NamesOf
from gateway.core.types import Budget

UNKNOWN_HELD_NS = 24 * 3600 * 1_000_000_000
"""Nanoseconds after its intent for which a request of unknown outcome keeps its reservation."""

SET_BACK_NS = 60 * 1_000_000_000
"""Nanoseconds before a period's beginning at which a clock was set back, and not only adjusted."""

MOST_FOUND = 4_096
"""Keys by the model they ask for whose accounts are kept at hand until budgets change; beyond, all are looked up again.
"""

_KINDS: tuple[PeriodKind, ...] = ("day", "week", "month", "total")

_Wanted = tuple[Mapping[Holder, Budget], Mapping[Holder, tuple[int, ...]]]
_NO_ALERTS: Mapping[Holder, tuple[int, ...]] = MappingProxyType({})


class Budgets:
    """Every holder's accounts and the reservations on them.

    ``zone``: the time zone whose calendar days, weeks and months are the periods.
    ``wall_ns``: the time now.
    ``names_of``: what else a model is called, so that a budget by model is not got around by another spelling.
    """

    def __init__(self, zone: tzinfo, wall_ns: int, names_of: NamesOf = lambda name: (name,)) -> None:
        self._zone = zone
        self._periods: dict[PeriodKind, BudgetPeriod] = {kind: period_at(kind, wall_ns, zone) for kind in _KINDS}
        self._latest = {kind: period.start_ns for kind, period in self._periods.items()}
        self._holders: dict[Holder, HolderAccounts] = {}
        self._models = ModelBudgets(names_of)
        self._found: dict[tuple[tuple[Holder, ...], str, str], RequestAccounts] = {}
        self._open: set[Reservation] = set()
        self._held: dict[str, tuple[Reservation, int]] = {}
        self.set_back = False
        """Whether a period began again since this was last made False: the clock was set back, ``recount`` is due."""

    def periods(self, wall_ns: int) -> Mapping[PeriodKind, BudgetPeriod]:
        """The current periods, to which every request admitted now belongs."""
        for kind, period in self._periods.items():
            if period.end_ns is not None and not period.start_ns - SET_BACK_NS <= wall_ns < period.end_ns:
                begun = period_at(kind, wall_ns, self._zone)
                self._periods = {**self._periods, kind: begun}
                self.set_back |= begun.start_ns <= self._latest[kind]
                self._latest[kind] = max(self._latest[kind], begun.start_ns)
        return self._periods

    def configure(
        self,
        limits: Mapping[Holder, Budget],
        wall_ns: int,
        alerts: Mapping[Holder, tuple[int, ...]] = _NO_ALERTS,
    ) -> list[Crossing]:
        """Apply these budgets, and no others, from now on; the use so far stays counted.

        ``alerts``: the percentages that are told of a key's or a team's budgets, where they are not the usual ones.
        Returns the alerts of percentages that a lowered or new budget has already reached. A raised budget may raise an
        alert again.
        """
        for holder, accounts in self._holders.items():
            if holder not in limits:
                accounts.limit = None
        return self._apply(*self._models.configure(limits), (limits, alerts), wall_ns)

    def configure_key(
        self, key: str, limits: Mapping[Holder, Budget], wall_ns: int, alerts: Mapping[Holder, tuple[int, ...]]
    ) -> list[Crossing]:
        """``configure`` for the budgets of one key, in a time that does not grow with the number of the others."""
        if (own := self._holders.get(("key", key))) is not None and ("key", key) not in limits:
            own.limit = None
        return self._apply(*self._models.configure_key(key, limits), (limits, alerts), wall_ns)

    def _apply(self, new: list[Holder], gone: list[Holder], wanted: _Wanted, wall_ns: int) -> list[Crossing]:
        """Set these budgets. ``new``: those by model that begin now; ``gone``: those that are over."""
        (limits, alerts), periods = wanted, self.periods(wall_ns)
        self._found = {}
        for holder in gone:
            del self._holders[holder]  # what is not reserved on any more would be out of date if it came back
        for holder in new:
            self._start(holder)
        crossings: list[Crossing] = []
        for holder, limit in limits.items():
            accounts = self._accounts_of(holder)
            accounts.percents = alerts.get((holder[0], holder[1]), PERCENTS)
            account = accounts.account(periods[limit.period])
            if accounts.limit != limit:
                account.alerted &= account.reached(limit, accounts.percents)
                accounts.limit = limit
            crossings += accounts.crossed(holder, account)
        return crossings

    def load(self, holder: Holder, charged: Mapping[PeriodKind, int]) -> None:
        """Start from the charges the ledger has for requests of the current periods (see ``periods``).

        Call it after ``configure`` and before any request. Percentages reached by these charges count as alerted
        already.
        """
        for kind, amount in charged.items():
            self._accounts_of(holder).load(self._periods[kind], whole_amount(amount))

    def load_model(self, key: str, model: str, charged: Mapping[PeriodKind, int]) -> None:
        """``load`` for one model of a key, as the books name it; once for each."""
        names = self._models.names(model)
        counted = self._models.counted(key, names)
        holders = [self._accounts_of(holder) for holder in self._models.holders(key, names)]
        for kind, amount in charged.items():
            for accounts in holders if counted is None else (counted, *holders):
                period = self._periods[kind]
                accounts.load(period, accounts.account(period).charged + whole_amount(amount))

    def untold(self, told: Mapping[tuple[Holder, int], Collection[int]]) -> list[Crossing]:
        """The alerts of percentages that are reached and were not told, though their charges were loaded.

        ``told``: of a holder in the period that began then, the percentages that were. Call it after ``load``.
        """
        crossings: list[Crossing] = []
        for holder, accounts in self._holders.items():
            if accounts.limit is not None:
                account = accounts.account(self._periods[accounts.limit.period])
                account.alerted = account.reached(accounts.limit, accounts.percents).intersection(
                    told.get((holder, account.period.start_ns), ())
                )
                crossings += accounts.crossed(holder, account)
        return crossings

    def recount(self, charges: Mapping[BudgetPeriod, Charges]) -> None:
        """Charge at least what the ledger has for these periods, in those of them that are current.

        After the clock was set back: the accounts of a period that was left long ago are not kept. What is counted here
        and not settled in the ledger yet stays. Percentages reached so count as alerted already.
        """
        for period, charged in charges.items():
            if self._periods[period.kind] != period:
                continue
            sums: dict[int, int] = {}
            for holder, nano in charged_by_holder(charged).items():
                self._accounts_of(holder).at_least(period, nano)
            for (key, model), nano in charged_by_model(charged).items():
                names = self._models.names(model)
                counted = self._models.counted(key, names)
                for accounts in (counted, *map(self._accounts_of, self._models.holders(key, names))):
                    if accounts is not None:
                        sums[id(accounts)] = sums.get(id(accounts), 0) + nano
                        accounts.at_least(period, sums[id(accounts)])

    def is_open(self, id: str) -> bool:
        """Whether a request of that id runs, or is held."""
        return any(reservation.id == id for reservation in self._open)

    def restore(
        self, id: str, holders: Sequence[Holder], amount: int, admitted_ns: int, until_ns: int, model: str = ""
    ) -> None:
        """Hold the reservation of a request from before a restart whose outcome is unknown.

        ``admitted_ns``: its intent's time; periods that are over by now are not charged.
        ``model``: as the books name it.
        """
        periods = {kind: period for kind, period in self._periods.items() if admitted_ns >= period.start_ns}
        counting = self._counting(holders, model)
        counted = RequestAccounts(counting.names, counting.members, counting.model).counted(periods)
        reservation = Reservation(id, counting.holders, whole_amount(amount), admitted_ns, counted, counting.names)
        self._open.add(reservation)
        self.hold(reservation, until_ns)

    def reserve(
        self,
        id: str,
        holders: Sequence[Holder],
        amount: int | None,
        wall_ns: int,
        *,
        allow_unpriced: bool = False,
        model: str = "",
        asked: str = "",
    ) -> Reservation | Exceeded | Unpriced:
        """Reserve ``amount`` on every holder, or refuse and reserve nothing.

        ``holders``: the key first; its budgets for the model are added to them here.
        ``amount``: the most that the request can cost; None if its price is unknown, which is refused where any holder
            has a budget, unless ``allow_unpriced`` is set; then the request is admitted while anything is left. A
            request that costs nothing is always admitted.
        ``wall_ns``: the intent's time.
        ``model``: any of its names. ``asked``: the one the client asked by, if it may be unknown here.

        Of several budgets that have no room, one where waiting does not help is the refusal.
        """
        if amount is not None:
            whole_amount(amount)
        periods = self.periods(wall_ns)
        counting = self._counting(holders, model, asked)
        refusal: Exceeded | None = None
        for holder, limit, account in counting.budgets(periods):
            if amount is None and not allow_unpriced:
                return Unpriced(holder)
            if not account.has_room(limit, amount, 0):
                refusal = graver(refusal, self._exceeded(holder, limit, account, amount))
        if refusal is not None:
            return refusal
        reservation = Reservation(id, counting.holders, amount or 0, wall_ns, counting.counted(periods), counting.names)
        self._open.add(reservation)
        return reservation

    def exhausted(
        self, holders: Sequence[Holder], wall_ns: int, *, model: str = "", asked: str = ""
    ) -> Exceeded | None:
        """The refusal of any request that costs money; None as long as every holder has something left, or would have
        once the running requests settle at nothing.

        A budget of zero is never exhausted: its holder may send requests that cost nothing.
        """
        for holder, limit, account in self._counting(holders, model, asked).budgets(self.periods(wall_ns)):
            if limit.amount and not account.has_room(limit, None, 0):
                exceeded = self._exceeded(holder, limit, account, None)
                if not exceeded.passing:
                    return exceeded
        return None

    def limited(self, holders: Sequence[Holder], *, model: str = "", asked: str = "") -> bool:
        """Whether any budget is for such a request."""
        return bool(self._counting(holders, model, asked).budgets(self._periods))

    def left(self, holders: Sequence[Holder], wall_ns: int, *, model: str = "") -> int | None:
        """What every budget for such a request has left at least; None if there is none."""
        states = (self.state(holder, wall_ns) for holder in self._counting(holders, model).holders)
        return min((state.left for state in states if state is not None), default=None)

    def settle(self, reservation: Reservation, charged: int) -> list[Crossing]:
        """Charge ``charged`` for a request that has ended. A second call changes nothing.

        Returns the alerts: each percentage once a period for each holder.
        """
        ended = reservation.end(whole_amount(charged))
        if not ended:
            return []
        if reservation.held:
            self._held.pop(reservation.id, None)
        self._open.discard(reservation)
        crossings: list[Crossing] = []
        for holder, accounts in ended:
            own = None if holder is None else self._holders.get(holder)
            if holder is not None and own is not None and own.limit is not None:
                for account in accounts:
                    if account.period.kind == own.limit.period:
                        crossings += own.crossed(holder, account)
        return crossings

    def release(self, reservation: Reservation) -> None:
        """Charge nothing for a request that has ended."""
        self.settle(reservation, 0)

    def hold(self, reservation: Reservation, until_ns: int) -> None:
        """Keep the reservation of a request of unknown outcome until it is resolved, or until ``until_ns``."""
        if reservation.open:
            reservation.hold()
            self._held[reservation.id] = (reservation, until_ns)

    def settle_in_part(self, reservation: Reservation, charged: int, doubtful: int, until_ns: int) -> list[Crossing]:
        """Charge ``charged`` for a request that has ended, and keep ``doubtful`` reserved, which it may have bought
        besides.
        """
        crossings = self.settle(reservation, charged)
        rest = reservation.rest(whole_amount(doubtful))
        self._open.add(rest)
        self._held[rest.id] = (rest, until_ns)
        return crossings

    def top_up(self, reservation: Reservation, amount: int, wall_ns: int) -> Exceeded | None:
        """Raise the reservation of a running request to ``amount`` in all, or refuse and leave it unchanged."""
        more = whole_amount(amount) - reservation.amount
        if more <= 0 or not reservation.open:
            return None
        self.periods(wall_ns)
        refusal: Exceeded | None = None
        for holder in reservation.holders:
            accounts = self._accounts_of(holder)
            if (limit := accounts.limit) is not None:
                account = accounts.account(self._periods[limit.period])
                if not account.has_room(limit, amount, reservation.amount):
                    refusal = graver(refusal, self._exceeded(holder, limit, account, amount, own=reservation.amount))
        reservation.denied = refusal
        if refusal is None:
            reservation.raise_to(amount)
        return refusal

    def amount_held(self, id: str) -> int | None:
        """What is held for a request of unknown outcome; None if nothing is (any more)."""
        held = self._held.get(id)
        return None if held is None else held[0].amount

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
        return (account := accounts.account(period)).charged, account.reserved

    def state(self, holder: Holder, wall_ns: int) -> BudgetState | None:
        """The state of a holder's budget; None if it has none."""
        accounts = self._holders.get(holder)
        if accounts is None or accounts.limit is None:
            return None
        account = accounts.account(self.periods(wall_ns)[accounts.limit.period])
        return BudgetState(holder, accounts.limit, account.period, account.charged, account.reserved, account.held)

    def limited_holders(self) -> list[Holder]:
        """Who has a budget."""
        return [holder for holder, accounts in self._holders.items() if accounts.limit is not None]

    def states(self, wall_ns: int) -> list[BudgetState]:
        """The state of every budget."""
        states = (self.state(holder, wall_ns) for holder in self.limited_holders())
        return [state for state in states if state is not None]

    def _accounts_of(self, holder: Holder) -> HolderAccounts:
        accounts = self._holders.get(holder)
        if accounts is None:
            accounts = self._holders[holder] = HolderAccounts()
        return accounts

    def _counting(self, holders: Sequence[Holder], model: str, asked: str = "") -> RequestAccounts:
        """What a request for a model, of any name, counts on. ``holders``: the key first."""
        holders = tuple(holders)
        found = self._found.get((holders, model, asked))
        if found is None:
            if len(self._found) >= MOST_FOUND:
                self._found.clear()
            names = self._models.names(model, asked)
            members = [(one, self._accounts_of(one)) for one in self._models.with_budgets(holders, names)]
            found = RequestAccounts(names, members, self._models.counted(holders[0][1], names))
            self._found[holders, model, asked] = found
        return found

    def _exceeded(
        self, holder: Holder, limit: Budget, account: Account, amount: int | None, *, own: int = 0
    ) -> Exceeded:
        """The refusal of ``amount`` on a budget that has no room for it. ``own``: what the request has reserved."""
        reserved = max(0, account.reserved - own)  # an earlier period's reservation is in none of this one's
        return Exceeded(holder, limit, account.period, amount, account.charged, reserved, self._zone, held=account.held)

    def _start(self, holder: Holder) -> None:
        """Begin a budget for some models with what they were charged, and have reserved, in the current periods."""
        assert len(holder) == 3
        key, pattern = holder[1:]
        accounts = self._accounts_of(holder)
        for used in self._models.used(key, pattern):
            for period in self._periods.values():
                accounts.account(period).charged += used.account(period).charged
        for reservation in self._open:
            if reservation.holders[0][:2] == ("key", key) and self._models.matches(pattern, reservation.names):
                reservation.join(holder, accounts, self._periods)
