"""The gauges about money at a scrape: budgets, what is used of them, and the ledger's month."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from gateway.core.pricing.prices import usd_number
from gateway.core.types import NO_TEAM
from gateway.telemetry.series import MAX_SERIES

Gauge = tuple[str, str, tuple[str, ...], Iterable[tuple[tuple[str, ...], float]]]
"""Name, meaning, labels, and the samples: the labels' values and a number."""


@dataclass(frozen=True, slots=True)
class BudgetFigure:
    """A budget at a scrape. Money is nano-dollars.

    ``key``: empty for a team's own budget.
    ``team``: None for none.
    ``used``: what was charged.
    ``model``: the pattern of the models it is for; empty for all.
    """

    key: str
    team: str | None
    amount: int
    used: int
    model: str = ""


@dataclass(frozen=True, slots=True)
class BudgetFigures:
    """Budgets of keys, of keys for some models, and of teams. Each can be gone through several times."""

    keys: Iterable[BudgetFigure] = ()
    models: Iterable[BudgetFigure] = ()
    teams: Iterable[BudgetFigure] = ()


@dataclass(frozen=True, slots=True)
class MoneySources:
    """The figures about money at a scrape.

    ``budgets``: every budget, by what it is for; asked for once for each metric, and looked at while that is written.
    ``charged``: key, team, nano-dollars of the current month, by the ledger.
    """

    budgets: BudgetFigures = BudgetFigures()
    charged: Sequence[tuple[str, str | None, int]] = ()


def money_gauges(money: MoneySources) -> Iterator[Gauge]:
    """All of them."""
    yield from _of_budgets("key", "A key's budget", ("key", "team"), money.budgets.keys)
    yield from _of_budgets(
        "key_model", "A key's budget for some models", ("key", "team", "model"), money.budgets.models
    )
    yield from _of_budgets("team", "A team's budget", ("team",), money.budgets.teams)
    yield (
        "gateway_ledger_charged_usd",
        "What the ledger says a key was charged in the current calendar month, in US dollars.",
        ("key", "team"),
        (((key, team or NO_TEAM), usd_number(nano)) for key, team, nano in money.charged[:MAX_SERIES]),
    )


def _of_budgets(name: str, whose: str, labels: tuple[str, ...], budgets: Iterable[BudgetFigure]) -> Iterator[Gauge]:
    def values(one: BudgetFigure) -> tuple[str, ...]:
        return tuple(getattr(one, label) or NO_TEAM for label in labels)

    yield (
        f"gateway_{name}_budget_usd",
        f"{whose} for its period, in US dollars.",
        labels,
        ((values(one), usd_number(one.amount)) for one in islice(budgets, MAX_SERIES)),
    )
    yield (
        f"gateway_{name}_budget_used_usd",
        f"What of {whose[0].lower()}{whose[1:]} is charged in the current period, in US dollars.",
        labels,
        ((values(one), usd_number(one.used)) for one in islice(budgets, MAX_SERIES)),
    )
