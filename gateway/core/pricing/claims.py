"""What an exchange asks of the budgets that several gateways share, and the refusal of the store that counts them.

A store that counts budgets (``Ledger.budgets``) decides with an exchange's intent whether they have room for it. What a
gateway's own memory says of them (shared_budgets.py) is only the first look. Money is whole nano-dollars, times are
Unix nanoseconds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from gateway.core.errors import LimitError
from gateway.core.pricing.budget_errors import Holder
from gateway.core.pricing.calendar import PeriodKind


@dataclass(frozen=True, slots=True)
class Claim:
    """One budget that an exchange counts on.

    ``limit``: the budget's amount; None for a holder without one: it is only counted, wherever the store counts it.
    ``kind``, ``start_ns``, ``end_ns``: the budget's period; without a budget they say nothing.
    """

    holder: Holder
    limit: int | None = None
    kind: PeriodKind = "total"
    start_ns: int = 0
    end_ns: int | None = None

    @property
    def text(self) -> str:
        """The holder as the store names it."""
        return holder_text(self.holder)


class ClaimRefused(LimitError):
    """A budget has no room for an exchange: nothing was reserved, and its intent was not written down.

    ``claim``: on which budget. ``asked``: what was to be reserved; None for a price that is not known.
    ``charged``, ``reserved``, ``held``: what other exchanges, at all gateways, have used and hold; ``held`` is the part
    of ``reserved`` that belongs to exchanges of unknown outcome.
    ``missing``: the store does not count this budget yet: it is to be prepared first.
    """

    def __init__(
        self,
        claim: Claim,
        asked: int | None,
        *,
        charged: int = 0,
        reserved: int = 0,
        held: int = 0,
        missing: bool = False,
    ) -> None:
        super().__init__(429, "insufficient_quota", "insufficient_quota", "The budget has no room for this request.")
        self.claim = claim
        self.asked = asked
        self.charged = charged
        self.reserved = reserved
        self.held = held
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Claims:
    """All that one exchange asks of the budgets as it is let in.

    ``amount``: what is to be reserved; None for a price that is not known: then nothing is, and anything must be left.
    """

    claims: Sequence[Claim]
    amount: int | None


@lru_cache(maxsize=65_536)
def holder_text(holder: Holder) -> str:
    """A holder as the store names it: ``["key","alice"]``."""
    return json.dumps(holder, separators=(",", ":"), ensure_ascii=False)


def holder_of(text: str) -> Holder:
    """The holder that ``holder_text`` wrote."""
    holder: Holder = tuple(json.loads(text))
    return holder
