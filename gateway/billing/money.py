"""The budgets' life: loaded from the ledger at the start, kept while the gateway runs, shown to whoever watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from gateway.billing.budgets import BudgetKeeper, holders_of
from gateway.core.errors import GatewayError
from gateway.core.pricing.budget_errors import Holder
from gateway.core.pricing.budgets import UNKNOWN_HELD_NS
from gateway.core.types import Budget, VirtualKey
from gateway.runtime.ports import Clock
from gateway.stores.base import Ledger
from gateway.telemetry.metrics import BudgetFigure, MoneySources

LOOK_EVERY = 5.0
"""Seconds between two looks at the ledger's month, and at what is held too long."""


class Money:
    """``keys``: the virtual keys in force. ``teams``: the teams' budgets. ``auth_failures``: counted at the door."""

    def __init__(
        self,
        keeper: BudgetKeeper,
        ledger: Ledger,
        clock: Clock,
        *,
        keys: Callable[[], Sequence[VirtualKey]],
        teams: Callable[[], Mapping[str, Budget]],
        auth_failures: Callable[[], int],
    ) -> None:
        self.keeper = keeper
        self._ledger = ledger
        self._clock = clock
        self._keys = keys
        self._teams = teams
        self._auth_failures = auth_failures
        self._charged: Mapping[tuple[str, str | None], int] = {}

    async def load(self) -> None:
        """Start from the ledger: what was charged in the current periods, and what is held. Before any request.

        Raises the ledger's error if it cannot be read.
        """
        now_ns = self._clock.wall_ns()
        budgets = self.keeper.budgets
        budgets.configure(self.limits(), now_ns)
        used: dict[Holder, dict[str, int]] = {}
        periods = budgets.periods(now_ns)
        for kind, period in periods.items():
            charged = await self._ledger.charged_since(period.start_ns)
            if kind == "month":
                self._charged = charged
            for (key, team), nano in charged.items():
                for holder in holders_of(VirtualKey(key, team=team)):
                    sums = used.setdefault(holder, {})
                    sums[kind] = sums.get(kind, 0) + nano
        for holder, sums in used.items():
            budgets.load(holder, {kind: sums.get(kind, 0) for kind in periods})
        for held in await self._ledger.held(now_ns):
            holders = holders_of(VirtualKey(held.key, team=held.team))
            budgets.restore(held.id, holders, held.reserved, held.at_ns, held.at_ns + UNKNOWN_HELD_NS)

    def limits(self) -> dict[Holder, Budget]:
        """Every budget of the keys and teams in force."""
        limits: dict[Holder, Budget] = {("key", key.name): key.budget for key in self._keys() if key.budget is not None}
        limits.update({("team", team): budget for team, budget in self._teams().items()})
        return limits

    def changed(self) -> None:
        """Keys, teams or budgets are other ones now."""
        self.keeper.tell(self.keeper.budgets.configure(self.limits(), self._clock.wall_ns()))

    async def watch(self) -> None:
        """Look at the ledger's month and at what was held too long, now and then, for ever."""
        while True:
            now_ns = self._clock.wall_ns()
            self.keeper.expire(now_ns)
            try:
                self._charged = await self._ledger.charged_since(self.keeper.budgets.periods(now_ns)["month"].start_ns)
            except GatewayError:
                pass  # the ledger has said so in the log; the last figures stand
            await asyncio.sleep(LOOK_EVERY)

    def figures(self) -> MoneySources:
        """What the metrics show: every budget, and the month by the ledger for every key, from zero."""
        keys = {key.name: key for key in self._keys()}
        charged = {(key.name, key.team): 0 for key in keys.values()}
        charged.update((owner, nano) for owner, nano in self._charged.items() if nano or owner in charged)
        return MoneySources(
            budgets=list(self._budgets(keys)),
            charged=[(key, team, nano) for (key, team), nano in charged.items()],
            auth_failures=self._auth_failures(),
        )

    def _budgets(self, keys: Mapping[str, VirtualKey]) -> Iterable[BudgetFigure]:
        for state in self.keeper.states(self._clock.wall_ns()):
            kind, name = state.holder
            key = keys.get(name) if kind == "key" else None
            if kind == "key" and key is None:
                continue
            team = key.team if key is not None else name
            yield BudgetFigure(name if key is not None else "", team, state.limit.amount, state.charged)
