"""Budgets as others want them: by holder, from the keys that bring them; and as figures, for a scrape."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from gateway.core.pricing.budget_errors import Holder
from gateway.core.pricing.budgets import Budgets
from gateway.core.pricing.charged_sums import Charges
from gateway.core.types import Budget, VirtualKey
from gateway.telemetry.metrics import BudgetFigure, BudgetFigures, MoneySources
from gateway.telemetry.series import MAX_SERIES

AT_ONCE = 2_000
"""Charges that are added up at once, which takes a millisecond."""


class KeysInForce(Protocol):
    """The virtual keys in force (keys/keyring.py)."""

    @property
    def keys(self) -> Sequence[VirtualKey]: ...
    def named(self, name: str) -> VirtualKey | None: ...


class _Lazily:
    """Budgets' figures, made while they are gone through: thousands of them at once would hold others up."""

    def __init__(self, holders: Sequence[Holder], figure: Callable[[Holder], BudgetFigure | None]) -> None:
        self._holders = holders
        self._figure = figure

    def __iter__(self) -> Iterator[BudgetFigure]:
        return (figure for holder in self._holders if (figure := self._figure(holder)) is not None)


def money_figures(
    budgets: Budgets, in_force: KeysInForce, month: Mapping[tuple[str, str | None], int], now_ns: int
) -> MoneySources:
    """What a scrape shows: every budget, and for every key, from zero, what it was charged this month by the ledger; as
    many of each kind as there may be series.
    """
    keys = in_force.keys
    charged = {(key.name, key.team): 0 for key in keys[:MAX_SERIES]}
    for owner, nano in month.items():
        if owner in charged or (nano and len(charged) < MAX_SERIES):
            charged[owner] = nano
    names = {key.name for key in keys}
    holders: dict[tuple[str, int], list[Holder]] = {}
    for holder in budgets.limited_holders():
        of_kind = holders.setdefault((holder[0], len(holder)), [])
        if len(of_kind) < MAX_SERIES and (holder[0] == "team" or holder[1] in names):
            of_kind.append(holder)

    def figure(holder: Holder) -> BudgetFigure | None:
        state = budgets.state(holder, now_ns)
        if state is None:
            return None
        if holder[0] == "team":
            return BudgetFigure("", holder[1], state.limit.amount, state.charged)
        key = in_force.named(holder[1])
        team = None if key is None else key.team
        return BudgetFigure(holder[1], team, state.limit.amount, state.charged, "".join(holder[2:]))

    own, models, teams = (_Lazily(holders.get(kind, ()), figure) for kind in (("key", 2), ("key", 3), ("team", 2)))
    return MoneySources(
        budgets=BudgetFigures(own, models, teams),
        charged=[(key, team, nano) for (key, team), nano in charged.items()],
    )


def budgets_of_keys(keys: Iterable[VirtualKey]) -> dict[Holder, Budget]:
    """Every budget of these keys: for all they use, and for some models."""
    limits: dict[Holder, Budget] = {}
    for key in keys:
        if key.budget is not None:
            limits["key", key.name] = key.budget
        for pattern, budget in key.model_budgets:
            limits["key", key.name, pattern] = budget
    return limits


def percents_of_keys(keys: Iterable[VirtualKey]) -> dict[Holder, tuple[int, ...]]:
    """The percentages that are told of these keys' budgets, where they are not the usual ones."""
    return {("key", key.name): key.alert for key in keys if key.alert}


async def charged_by_owner(charges: Charges) -> dict[tuple[str, str | None], int]:
    """The charges by key and team; added up in pieces, between which everything else has its turn."""
    sums: dict[tuple[str, str | None], int] = {}
    for number, ((key, team, _), nano) in enumerate(charges.items(), 1):
        sums[key, team] = sums.get((key, team), 0) + nano
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
    return sums
