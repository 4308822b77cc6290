"""Budgets that several gateways share: as far as this one knows of them, and what it asks the store that counts them.

The store decides (claims.py). What is reserved here is this gateway's own, and what was charged is what all were seen
to have been charged at the last look, and this one since: both are at most what the store has, so that what is refused
here would be refused there. What is held for requests of unknown outcome is the store's alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import tzinfo

from gateway.core.pricing.budget_accounts import BudgetState, Crossing, RequestAccounts, Reservation
from gateway.core.pricing.budget_errors import Exceeded, Holder
from gateway.core.pricing.budgets import MOST_FOUND, Budgets
from gateway.core.pricing.calendar import BudgetPeriod, PeriodKind, period_at
from gateway.core.pricing.claims import Claim, ClaimRefused
from gateway.core.pricing.model_budgets import NamesOf
from gateway.core.types import Budget

AHEAD_NS = 3600 * 1_000_000_000
"""Nanoseconds before a period's beginning at which the store is to count it."""

_Seen = tuple[int, int]
"""What is reserved by all gateways, and what of it is held."""


class SharedBudgets(Budgets):
    """``Budgets`` of one gateway of several."""

    def __init__(self, zone: tzinfo, wall_ns: int, names_of: NamesOf = lambda name: (name,)) -> None:
        super().__init__(zone, wall_ns, names_of)
        self._seen: dict[tuple[Holder, PeriodKind, int], _Seen] = {}
        self._claims: dict[RequestAccounts, tuple[Mapping[PeriodKind, BudgetPeriod], tuple[Claim, ...]]] = {}

    def claims(self, holders: Sequence[Holder], wall_ns: int, *, model: str = "", asked: str = "") -> tuple[Claim, ...]:
        """What a request admitted now counts on: the budgets of its key, of its key for its model, and of its team.

        See ``reserve`` for the arguments.
        """
        periods, counting = self.periods(wall_ns), self._counting(holders, model, asked)
        found = self._claims.get(counting)
        if found is not None and found[0] is periods:
            claims = found[1]
        else:
            claims = tuple(_claim(holder, its.limit, periods) for holder, its in counting.members)
            if len(self._claims) >= MOST_FOUND:
                self._claims.clear()  # most are of accounts that were looked up anew since
            self._claims[counting] = periods, claims
        if all(_within(claim, wall_ns) for claim in claims):
            return claims
        return tuple(self._exact(claim, wall_ns) for claim in claims)  # the clock was adjusted at a period's edge

    def periods_due(self, wall_ns: int) -> list[dict[PeriodKind, BudgetPeriod]]:
        """The periods that the store is to count by now: the current ones, and those that begin soon."""
        return [
            {kind: period_at(kind, moment, self._zone) for kind in self._periods}
            for moment in (wall_ns, wall_ns + AHEAD_NS)
        ]

    def due(self, wall_ns: int, key: str | None = None) -> list[Claim]:
        """Every budget, or every one of a key, in the periods that are due."""
        if key is None:
            holders = self.limited_holders()
            current = {(kind, period.start_ns) for kind, period in self.periods(wall_ns).items()}
            self._seen = {place: used for place, used in self._seen.items() if place[1:] in current}
        else:
            holders = [holder for holder in self._holders_of(key) if self._limit(holder) is not None]
        claims = [
            _claim(holder, self._limit(holder), periods) for periods in self.periods_due(wall_ns) for holder in holders
        ]
        return list(dict.fromkeys(claims))

    def is_limited(self, holder: Holder) -> bool:
        """Whether a holder has a budget."""
        return self._limit(holder) is not None

    def counts(self, holder: Holder, key: str, team: str | None, model: str) -> bool:
        """Whether a holder's budget is for what a key, of a team, asks of a model, by any of its names."""
        if holder[0] == "team":
            return holder[1] == team
        if holder[1] != key:
            return False
        return len(holder) == 2 or self._models.matches(holder[2], self._models.names(model))

    def saw(
        self, holder: Holder, kind: PeriodKind, start_ns: int, used: tuple[int, int, int], *, exact: bool = False
    ) -> list[Crossing]:
        """Take over what all gateways together used of a budget: charged, reserved, and what of that is held.

        ``exact``: what this one charged is in it. Returns the percentages that are reached by it.
        """
        accounts, period = self._holders.get(holder), self._periods[kind]
        if accounts is None or period.start_ns != start_ns:
            return []
        charged, reserved, held = used
        self._seen[holder, kind, start_ns] = reserved, held
        account = accounts.account(period)
        account.charged = charged if exact else max(account.charged, charged)
        return accounts.crossed(holder, account)

    def exceeded(self, refused: ClaimRefused) -> Exceeded:
        """The store's refusal, as any budget's."""
        claim = refused.claim
        assert claim.limit is not None
        period = BudgetPeriod(claim.kind, claim.start_ns, claim.end_ns)
        return Exceeded(
            claim.holder,
            Budget(claim.limit, claim.kind),
            period,
            refused.asked,
            refused.charged,
            refused.reserved,
            self._zone,
            held=refused.held,
        )

    def state(self, holder: Holder, wall_ns: int) -> BudgetState | None:
        """The state of a holder's budget, with what the other gateways were seen to have reserved; None without one."""
        own = super().state(holder, wall_ns)
        if own is None:
            return None
        reserved, held = self._seen.get((holder, own.period.kind, own.period.start_ns), (0, 0))
        return replace(own, reserved=max(own.reserved, reserved), held=held)

    def top_up(self, reservation: Reservation, amount: int, wall_ns: int) -> Exceeded | None:
        """``Budgets.top_up``, as far as all gateways were seen to leave room for it.

        For what turns out to be due of a request whose price was not known: others ask the store when they are let in.
        """
        more = amount - reservation.amount
        for holder in reservation.holders if more > 0 and reservation.open else ():
            state = self.state(holder, wall_ns)
            if state is not None and more > state.left:
                used = max(0, state.reserved - reservation.amount)
                reservation.denied = Exceeded(
                    holder, state.limit, state.period, amount, state.charged, used, self._zone, held=state.held
                )
                return reservation.denied
        return super().top_up(reservation, amount, wall_ns)

    def hold(self, reservation: Reservation, until_ns: int) -> None:
        """The store holds it."""
        self.release(reservation)

    def settle_in_part(self, reservation: Reservation, charged: int, doubtful: int, until_ns: int) -> list[Crossing]:
        """``settle``: the store holds the rest."""
        return self.settle(reservation, charged)

    def restore(
        self, id: str, holders: Sequence[Holder], amount: int, admitted_ns: int, until_ns: int, model: str = ""
    ) -> None:
        """The store holds it."""

    def _holders_of(self, key: str) -> list[Holder]:
        return [("key", key), *self._models.of_key(key)]

    def _limit(self, holder: Holder) -> Budget | None:
        accounts = self._holders.get(holder)
        return None if accounts is None else accounts.limit

    def _exact(self, claim: Claim, wall_ns: int) -> Claim:
        if claim.limit is None:
            return claim
        period = period_at(claim.kind, wall_ns, self._zone)
        return replace(claim, start_ns=period.start_ns, end_ns=period.end_ns)


def _claim(holder: Holder, limit: Budget | None, periods: Mapping[PeriodKind, BudgetPeriod]) -> Claim:
    if limit is None:
        return Claim(holder)
    period = periods[limit.period]
    return Claim(holder, limit.amount, limit.period, period.start_ns, period.end_ns)


def _within(claim: Claim, wall_ns: int) -> bool:
    return claim.limit is None or (claim.start_ns <= wall_ns and (claim.end_ns is None or wall_ns < claim.end_ns))
