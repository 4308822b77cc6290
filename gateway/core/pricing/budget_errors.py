"""The refusals of budgets, and the errors a client is sent for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from typing import Literal

from gateway.core.errors import ClientError, LimitError, shorten
from gateway.core.pricing.calendar import BudgetPeriod, PeriodKind, iso_time
from gateway.core.pricing.prices import format_usd
from gateway.core.types import Budget

Holder = tuple[Literal["key", "team"], str]
"""The key or team that has a budget: ``("key", name)`` or ``("team", name)``."""

_A_PERIOD: dict[PeriodKind, str] = {"day": "a day", "month": "a month", "total": "in total"}


@dataclass(frozen=True, slots=True)
class Exceeded:
    """The refusal of a request because ``holder`` has too little left of its ``limit`` in ``period``. Money is
    nano-dollars.

    ``asked``: the most that the request can cost; None if that is unknown.
    ``charged``, ``reserved``: what other requests have used and hold.
    ``zone``: the time zone of the times in the message.
    """

    holder: Holder
    limit: Budget
    period: BudgetPeriod
    asked: int | None
    charged: int
    reserved: int
    zone: tzinfo

    def message(self) -> str:
        """A sentence or two for the client: which budget, what is used of it, and when it starts again."""
        kind, name = self.holder
        asks = "" if self.asked is None else f"; this request may cost up to {_usd(self.asked)}"
        end = self.period.end_ns
        anew = "It does not begin anew." if end is None else f"It begins anew at {iso_time(end, self.zone)}."
        return (
            f"The budget of the {kind} '{name}' is {_usd(self.limit.amount)} {_A_PERIOD[self.limit.period]}, of which "
            f"{_usd(self.charged)} are spent and {_usd(self.reserved)} reserved by running requests{asks}. {anew}"
        )

    def error(self) -> LimitError:
        """429 ``insufficient_quota``. A retry helps only after the budget was raised or its period is over."""
        return LimitError(429, "insufficient_quota", "insufficient_quota", self.message())


@dataclass(frozen=True, slots=True)
class Unpriced:
    """The refusal of a request whose price is unknown, because ``holder`` has a budget."""

    holder: Holder

    def error(self, model: str, lines: str = "") -> ClientError:
        """403 ``model_not_allowed``.

        ``model``: as the client named it. ``lines``: of configuration that set its price (price_lines.py).
        """
        kind, name = self.holder
        advice = "Whoever runs this gateway can set its price, or allow_unpriced."
        if lines:
            amounts = "US dollars per 1M tokens or per image"
            blanks = f", with {amounts} for each …" if "…" in lines else f" ({amounts})"
            advice = (
                f"Whoever runs this gateway can add these lines to its configuration and reload it{blanks}:\n{lines}\n"
                "Or, for every model without a price: allow_unpriced: true"
            )
        return ClientError(
            403,
            "permission_error",
            "model_not_allowed",
            f"The price of the model '{shorten(model)}' is unknown, so it cannot be used on the budget of the {kind} "
            f"'{name}'. {advice}",
            param="model",
        )


def _usd(nano: int) -> str:
    return f"${format_usd(nano)}"
