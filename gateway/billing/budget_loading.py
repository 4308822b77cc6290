"""What budgets start from: the charges of the current periods, and what is held, by the books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from gateway.core.pricing.budgets import UNKNOWN_HELD_NS, Budgets, holders_of
from gateway.core.pricing.calendar import PeriodKind
from gateway.core.pricing.charged_sums import Charges, charged_by_holder, charged_by_model
from gateway.stores.records import Held


class ChargedBooks(Protocol):
    """The part of the books that budgets start from; a ledger in use has it, and so have the reports beside one."""

    async def charged_since(self, start_ns: int, end_ns: int | None = None) -> Charges: ...
    async def held(self, now_ns: int) -> Sequence[Held]: ...


async def load_budgets(budgets: Budgets, books: ChargedBooks, now_ns: int) -> Mapping[PeriodKind, Charges]:
    """Fill configured budgets with what was charged in the current periods, and with what is held.

    Returns the charges of each period. Raises the error of ``books`` if they cannot be read.
    """
    periods = budgets.periods(now_ns).values()
    charges = {period.kind: await books.charged_since(period.start_ns, period.end_ns) for period in periods}
    for kind, charged in charges.items():
        for holder, nano in charged_by_holder(charged).items():
            budgets.load(holder, {kind: nano})
        for (key, model), nano in charged_by_model(charged).items():
            budgets.load_model(key, model, {kind: nano})
    for held in await books.held(now_ns):
        hold_again(budgets, held)
    return charges


def hold_again(budgets: Budgets, held: Held) -> None:
    """Hold what an earlier process reserved for a request of unknown outcome."""
    until_ns = held.at_ns + UNKNOWN_HELD_NS
    budgets.restore(held.id, holders_of(held.key, held.team), held.reserved, held.at_ns, until_ns, held.model)
