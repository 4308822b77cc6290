"""The refusals of budgets, and the errors a client is sent for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from typing import Literal

from gateway.core.errors import ClientError, LimitError, rate_limit_exceeded, shorten
from gateway.core.pricing.calendar import BudgetPeriod, PeriodKind, iso_time
from gateway.core.pricing.prices import format_usd
from gateway.core.types import Budget

Holder = tuple[Literal["key", "team"], str] | tuple[Literal["key"], str, str]
"""Whose budget it is: ``("key", name)`` or ``("team", name)``, or ``("key", name, pattern)`` of a key's for some
models."""

RefusalReason = Literal["reserved", "used_up", "too_large"]

RETRY_AFTER = 2.0
"""Seconds to wait for running requests to end. When that will be is not known, so this is a guess."""

LESS = " A smaller max_tokens lowers what is reserved."

_A_PERIOD: dict[PeriodKind, str] = {"day": "a day", "week": "a week", "month": "a month", "total": "in total"}


@dataclass(frozen=True, slots=True)
class Exceeded:
    """The refusal of a request because ``holder`` has too little left of its ``limit`` in ``period``. Money is
    nano-dollars.

    ``asked``: the most that the request can cost; None if that is unknown.
    ``charged``, ``reserved``: what other requests have used and hold.
    ``held``: what of ``reserved`` belongs to requests that have ended without their outcome being known; it counts as
        spent, since it may be for a day.
    ``zone``: the time zone of the times in the message.
    ``why``: what ``asked`` is made of (cost_reason.py); empty where that is not known.
    """

    holder: Holder
    limit: Budget
    period: BudgetPeriod
    asked: int | None
    charged: int
    reserved: int
    zone: tzinfo
    held: int = 0
    why: str = ""

    @property
    def reason(self) -> RefusalReason:
        """Why: it would fit if what runs settled at nothing; it would not; it is above the whole budget."""
        least = 1 if self.asked is None else self.asked
        if self.charged + self.held + least <= self.limit.amount:
            return "reserved"
        return "used_up" if least <= self.limit.amount else "too_large"

    @property
    def passing(self) -> bool:
        """Whether the same request may fit as soon as those that run have ended."""
        return self.reason == "reserved"

    def message(self) -> str:
        """A sentence or two for the client: which budget, what is used of it, and what helps."""
        running = self.reserved - self.held
        in_doubt = f", {_usd(self.held)} held for requests of unknown outcome" if self.held else ""
        asks = "" if self.asked is None else f"; this request may cost up to {_usd(self.asked)}"
        if self.why:
            asks += f", which would be reserved for it: {self.why}"
        return (
            f"The budget of {whose(self.holder)} is {_usd(self.limit.amount)} {_A_PERIOD[self.limit.period]}, of which "
            f"{_usd(self.charged)} are spent{in_doubt} and {_usd(running)} reserved by running requests{asks}. "
            f"{self._advice()}{LESS if self.why else ''}"
        )

    def error(self) -> LimitError:
        """429: ``rate_limit_exceeded``, to be sent again, if only running requests are in the way; else
        ``insufficient_quota``. Then a retry helps only after the budget was raised or its period is over.
        """
        if self.passing:
            return rate_limit_exceeded(self.message(), RETRY_AFTER)
        return LimitError(429, "insufficient_quota", "insufficient_quota", self.message())

    def _advice(self) -> str:
        reason, end = self.reason, self.period.end_ns
        if reason == "reserved":
            return "Try again when they have ended: they may cost less than is reserved."
        if reason == "too_large" and self.limit.amount:
            return "That is more than the whole budget; a request with a smaller bound on its output may fit."
        return "It does not begin anew." if end is None else f"It begins anew at {iso_time(end, self.zone)}."


@dataclass(frozen=True, slots=True)
class Unpriced:
    """The refusal of a request whose price is unknown, because ``holder`` has a budget."""

    holder: Holder

    def error(self, model: str, lines: str = "") -> ClientError:
        """403 ``model_not_allowed``.

        ``model``: as the client named it. ``lines``: of configuration that set its price (price_lines.py).
        """
        advice = "Whoever runs this gateway can set its price, or allow_unpriced."
        if lines:
            amounts = "US dollars per 1M tokens or per image"
            blanks = f"with {amounts} for each …" if "…" in lines else f"in {amounts}"
            advice = (  # the lines come last, so that all that follows the colon can be copied
                "Whoever runs this gateway can set allow_unpriced: true, which lets every model without a price pass, "
                f"or add these lines to its configuration and reload it, {blanks}:\n{lines}"
            )
        return ClientError(
            403,
            "permission_error",
            "model_not_allowed",
            f"The price of the model '{shorten(model)}' is unknown, so it cannot be used on the budget of "
            f"{whose(self.holder)}. {advice}",
            param="model",
        )


def graver(one: Exceeded | None, other: Exceeded | None) -> Exceeded | None:
    """Of two refusals that where waiting does not help, else the first."""
    if one is None or (other is not None and one.passing and not other.passing):
        return other
    return one


def whose(holder: Holder) -> str:
    """A budget's holder in words: ``the key 'alice'``, ``the key 'alice' for 'gpt-4o*'``."""
    return f"the {holder[0]} '{holder[1]}'" + (f" for '{shorten(holder[2])}'" if len(holder) == 3 else "")


def _usd(nano: int) -> str:
    return f"${format_usd(nano)}"
