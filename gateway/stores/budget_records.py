"""What a store does that counts budgets for several gateways."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.core.pricing.budget_errors import Holder
from gateway.core.pricing.calendar import PeriodKind
from gateway.core.pricing.claims import Claim, ClaimRefused

Counts = Callable[[Holder, str, str | None, str], bool]
"""Whether a holder's budget is for what a key, of a team, asks of a model: holder, key, team, model."""


@dataclass(frozen=True, slots=True)
class CountedBudget:
    """What is used of a budget by all gateways together, in nano-dollars. ``held`` is a part of ``reserved``."""

    holder: Holder
    kind: PeriodKind
    start_ns: int
    charged: int
    reserved: int
    held: int


@dataclass(frozen=True, slots=True)
class GivenBack:
    """What was held of budgets for an exchange of unknown outcome, for as long as it is held at most. Nano-dollars."""

    id: str
    holders: tuple[Holder, ...]
    amount: int


class BudgetRecords(Protocol):
    """Budgets that are counted in the store, so that they hold for all gateways. Their limits are not kept here.

    All methods raise errors.ledger_unavailable() if the store cannot be used.
    """

    async def prepare(self, wanted: Sequence[Claim], counts: Counts, now_ns: int) -> None:
        """Return once these budgets are counted, beginning with what the books have for their periods.

        What is counted already is left as it is, but for a key's budgets by model, which begin with the books again: a
        gateway that did not know of such a budget has not counted on it.
        """
        ...

    async def raise_to(self, id: str, amount: int, claims: Sequence[Claim]) -> ClaimRefused | None:
        """Reserve ``amount`` nano-dollars in all for an exchange that runs, on the budgets that it was admitted with,
        or nothing more: then why.
        """
        ...

    async def changed(self) -> Sequence[CountedBudget]:
        """The budgets that have changed since this was last asked; all of them the first time."""
        ...

    async def give_back(self, now_ns: int) -> Sequence[GivenBack]:
        """Give back what is held too long, forget periods that are over; returns what was given back, here."""
        ...

    async def held(self) -> Mapping[str, int]:
        """The exchanges for which something is kept, though they have ended → how much, which may be nothing."""
        ...
