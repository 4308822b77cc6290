"""The budgets of one gateway of several: requests ask the store, and what all used is looked at now and then."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NoReturn

from gateway.core.errors import GatewayError, ledger_unavailable
from gateway.core.exchange_record import ExchangeRecord
from gateway.core.pricing.budget_accounts import Crossing, Reservation
from gateway.core.pricing.budget_errors import Exceeded, Holder
from gateway.core.pricing.calendar import PeriodKind
from gateway.core.pricing.charged_sums import holders_of
from gateway.core.pricing.claims import Claim, ClaimRefused, Claims
from gateway.core.pricing.prices import format_usd
from gateway.core.pricing.shared_budgets import SharedBudgets
from gateway.core.types import VirtualKey
from gateway.runtime.ports import Clock
from gateway.stores.base import Ledger
from gateway.stores.budget_records import BudgetRecords
from gateway.telemetry.log import Log

LOOK_EVERY = 2.0
"""Seconds between two looks at what all gateways used."""

GIVE_BACK_EVERY = 10
"""Looks between two that give back what is held too long."""

TRIES = 3
"""How often a budget that the store has forgotten meanwhile is prepared for one request."""

SETTLING = (0.04, 0.06)
"""Seconds after which a request is asked for again that what runs stands in the way of: some of that may have ended and
not be settled yet, as gateways gather what they settle for a moment. So who has got an answer finds the rest of what it
had reserved free, at any gateway.
"""

MOST_SETTLING = 16
"""Requests of one budget that are asked for again at a time; more of them tell of a crowd, not of a moment."""

_Place = tuple[Holder, PeriodKind, int]


class SharedCounting:
    """Asks the store for what requests claim.

    ``tell``: is told of percentages that all gateways together reached. ``deny``: raises the error of a refusal.
    """

    def __init__(
        self,
        budgets: SharedBudgets,
        ledger: Ledger,
        clock: Clock,
        log: Log,
        tell: Callable[[Iterable[Crossing]], None],
        deny: Callable[[Exceeded, VirtualKey, str], NoReturn],
    ) -> None:
        assert ledger.budgets is not None
        self._budgets = budgets
        self._records: BudgetRecords = ledger.budgets
        self._ledger = ledger
        self._deny = deny
        self._clock = clock
        self._log = log
        self._tell = tell
        self._prepared: dict[tuple[str, str], set[_Place]] = {}  # by key or team
        self._preparing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._due: object = None  # the periods that were prepared last
        self._keys: set[str] = set()  # those that were changed since
        self._ended = 0
        self._settling: Counter[Holder] = Counter()

    # Configured, watched

    async def load(self) -> None:
        """Have the store count every budget, and see what is used of them. Raises errors.ledger_unavailable()."""
        await self._prepare_due()
        await self._look()

    def configured(self, key: str | None = None) -> None:
        """The budgets of a key, or any, may have changed. A budget by model that is gone, and comes back, is prepared
        again: nothing has counted on it meanwhile.
        """
        for owner in [*self._prepared] if key is None else [("key", key)]:
            places = self._prepared.get(owner, ())
            gone = [place for place in places if len(place[0]) == 3 and not self._budgets.is_limited(place[0])]
            self._prepared.setdefault(owner, set()).difference_update(gone)
        if key is None:
            self._due = None
        else:
            self._keys.add(key)
        self._changed.set()

    def ended(self) -> None:
        """A request was settled: what is looked at just now may not have it yet."""
        self._ended += 1

    async def watch(self) -> None:
        """Prepare what is due, look, and give back, for ever."""
        looks = 0
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            looks += 1
            try:
                await self._prepare_due()
                await self._look()
                if looks % GIVE_BACK_EVERY == 1:
                    await self._give_back()
            except GatewayError:
                self._due = None  # the ledger has said so in the log; the next look tries again

    async def _prepare_due(self) -> None:
        now_ns = self._clock.wall_ns()
        periods = self._budgets.periods_due(now_ns)
        if periods != self._due:
            current = {(kind, period.start_ns) for one in periods for kind, period in one.items()}
            for owner, places in [*self._prepared.items()]:
                self._prepared[owner] = {place for place in places if place[1:] in current}
                if not self._prepared[owner]:
                    del self._prepared[owner]
            self._keys.clear()
            await self._prepare(self._budgets.due(now_ns))
            self._due = periods
        while self._keys:
            await self._prepare(self._budgets.due(now_ns, self._keys.pop()))

    async def _look(self) -> None:
        """Take over what all gateways used. Raises errors.ledger_unavailable()."""
        ended, settled = self._ended, self._ledger.pending == 0
        counted = await self._records.changed()
        exact = settled and ended == self._ended  # then all that this gateway charged is in it
        self._budgets.periods(self._clock.wall_ns())
        for one in counted:
            used = one.charged, one.reserved, one.held
            self._tell(self._budgets.saw(one.holder, one.kind, one.start_ns, used, exact=exact))

    async def _give_back(self) -> None:
        for back in await self._records.give_back(self._clock.wall_ns()):
            self._log.warning(
                "hold_released",
                exchange=back.id,
                holders=["/".join(holder) for holder in back.holders],
                reserved_usd=format_usd(back.amount),
                advice="compare with PiAPI's bill: piapi-gateway usage --reconcile",
            )

    # Asked by requests

    async def admit(
        self,
        intent: ExchangeRecord,
        key: VirtualKey,
        asked: str,
        amount: int | None,
        why: Callable[[], str] = lambda: "",
    ) -> None:
        """Return once the store has room for a request in every budget, and its intent is committed.

        ``asked``: the model as the client named it. ``amount``: nano-dollars it can cost at most, None if that is not
        known; ``why``: says what it is made of. Raises LimitError as ``BudgetService.reserve`` does,
        errors.ledger_unavailable().
        """
        holders = holders_of(key.name, key.team)
        claims = Claims(self._budgets.claims(holders, intent.at_ns, model=intent.model, asked=asked), amount)
        refused = await self._ask(intent, claims)
        if refused is not None:
            self._deny(replace(self._budgets.exceeded(refused), why=why()), key, intent.model)

    async def top_up(self, intent: ExchangeRecord, reservation: Reservation, amount: int) -> bool:
        """Let a request that runs cost up to ``amount``; False if it may not: then its ``reservation`` says why, unless
        the store cannot be asked.
        """
        if amount <= reservation.amount:
            return True
        claims = () if intent.claims is None else intent.claims.claims
        try:
            refused = await self._records.raise_to(intent.id, amount, claims)
            if refused is not None and not refused.missing and self._budgets.exceeded(refused).passing:
                await asyncio.sleep(sum(SETTLING))
                refused = await self._records.raise_to(intent.id, amount, claims)
        except GatewayError:
            return False
        if refused is not None:
            reservation.denied = self._budgets.exceeded(refused)
            return False
        if reservation.open and amount > reservation.amount:
            reservation.raise_to(amount)
        return True

    async def _ask(self, intent: ExchangeRecord, claims: Claims) -> ClaimRefused | None:
        for seconds in SETTLING:
            refused = await self._ask_once(intent, claims)
            if refused is None or not self._budgets.exceeded(refused).passing:
                return refused
            holder = refused.claim.holder
            if self._settling[holder] >= MOST_SETTLING:
                return refused
            self._settling[holder] += 1
            try:
                await asyncio.sleep(seconds)
            finally:
                self._settling[holder] -= 1
                if not self._settling[holder]:
                    del self._settling[holder]
        return await self._ask_once(intent, claims)

    async def _ask_once(self, intent: ExchangeRecord, claims: Claims) -> ClaimRefused | None:
        intent.claims = claims
        for _ in range(TRIES):
            await self._prepare(claims.claims)
            try:
                await self._ledger.reserve(intent)
            except ClaimRefused as refused:
                if not refused.missing:
                    self._note(refused)
                    return refused.with_traceback(None)
                self._forget(refused.claim)
            else:
                return None
        raise ledger_unavailable()

    def _note(self, refused: ClaimRefused) -> None:
        """What was charged is known now: others that have no room for that need not ask."""
        claim, used = refused.claim, (refused.charged, refused.reserved, refused.held)
        self._tell(self._budgets.saw(claim.holder, claim.kind, claim.start_ns, used))

    def _forget(self, claim: Claim) -> None:
        self._prepared.get(claim.holder[:2], set()).discard((claim.holder, claim.kind, claim.start_ns))

    def _is_prepared(self, claim: Claim) -> bool:
        if claim.limit is None:
            return True
        return (claim.holder, claim.kind, claim.start_ns) in self._prepared.get(claim.holder[:2], ())

    async def _prepare(self, claims: Sequence[Claim]) -> None:
        """Return once the store counts these budgets. Raises errors.ledger_unavailable()."""
        if all(map(self._is_prepared, claims)):
            return
        async with self._preparing:
            missing = [claim for claim in claims if not self._is_prepared(claim)]
            if not missing:
                return
            await self._records.prepare(missing, self._budgets.counts, self._clock.wall_ns())
            for claim in missing:
                place = (claim.holder, claim.kind, claim.start_ns)
                self._prepared.setdefault(claim.holder[:2], set()).add(place)
