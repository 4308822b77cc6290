"""Who pays for what once an exchange is over: the attempts that were made → one booking.

Two amounts are kept apart: what the virtual key is charged, and what each attempt costs upstream. Amounts are whole
nano-dollars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.core.billing_terms import USUAL_TERMS, Terms
from gateway.core.outcomes.table import booking
from gateway.core.pricing.prices import Bill, bill
from gateway.core.pricing.usage_sums import believable, together
from gateway.core.types import (
    Confidence,
    CostClass,
    CostReason,
    OperationName,
    Outcome,
    Phase,
    Price,
    State,
    Usage,
)

_NOTHING = Usage()


@dataclass(slots=True)
class AttemptFacts:
    """The facts of one attempt that decide its price.

    ``slug``: ``ok``, a fault's slug, or one that begins with ``client_`` when the client cut it short.
    ``usage``: what the upstream stated; None if it stated nothing.
    ``estimated``: what was counted instead: the tokens sent and received so far, and in ``images`` the images asked
        for.
    ``images``: the images that arrived.
    ``quality``, ``size``: of the images asked for, for prices that are tables; None if not given.
    ``stated``: nano-dollars the upstream itself named for finished work, which override any price; None if it named
        none.
    ``subrequest``: which of the exchange's subrequests made the attempt.
    ``terms``: on which terms the answer was sold.
    ``own_price``: whether ``price`` is that of the model that answered.
    ``bound``: nano-dollars that budgets hold for its subrequest, above which the key is not charged; None where no
        budget holds any.
    """

    price: Price | None
    cost_class: CostClass
    operation: OperationName
    slug: str
    phase: Phase
    usage: Usage | None
    estimated: Usage
    images: int = 0
    quality: str | None = None
    size: str | None = None
    stated: int | None = None
    subrequest: int = 0
    terms: Terms = USUAL_TERMS
    own_price: bool = True
    bound: int | None = None


@dataclass(slots=True)
class AttemptCost:
    """The cost of one attempt upstream, in nano-dollars, and why it is booked."""

    amount: int
    reason: CostReason


_FREE = AttemptCost(0, "billed")


@dataclass(slots=True)
class Booking:
    """A finished exchange as the ledger records it.

    ``charged``: nano-dollars the key pays, for ``usage``.
    ``costs``: one for each attempt, in order.
    ``confidence``: of ``charged``; ``unknown`` if the price is not known, or whether anything was bought.
    ``in_doubt``: nano-dollars of subrequests of unknown outcome, beside others that are settled: the key is not charged
        for them, but they stay reserved.
    ``price``, ``terms``: the price that ``charged`` was worked out by, and what the answer said of itself; of the first
        subrequest that served, if there are several.
    ``above_bound``: whether what the upstream says it did comes to more than was held for it, so that ``charged`` is no
        more than that, and the rest is the gateway's to bear.
    """

    charged: int
    usage: Usage
    costs: tuple[AttemptCost, ...]
    confidence: Confidence
    state: State
    in_doubt: int = 0
    price: Price | None = None
    terms: Terms = USUAL_TERMS
    above_bound: bool = False

    @property
    def upstream_cost(self) -> int:
        """Nano-dollars of all attempts, for any reason."""
        return sum([cost.amount for cost in self.costs])

    @property
    def unpriced(self) -> bool:
        """Whether work was done that has no known price, wholly or in part."""
        return self.state == "settled" and self.confidence == "unknown"

    @property
    def doubtful(self) -> int:
        """Nano-dollars that the key may still turn out to owe: for an exchange of unknown outcome all that its attempts
        had at stake, else what is in doubt beside the settled part.
        """
        return self.upstream_cost if self.state == "unknown" else self.in_doubt


def settle_charges(attempts: Sequence[AttemptFacts]) -> Booking:
    """Decide who pays what once an exchange is over.

    ``attempts``: in order; of every subrequest only the last can have served.

    The subrequests are booked one by one and added up: the key is charged for results that arrived and for no others.

    - An answer that came whole is charged by its usage, or by the estimate where the upstream stated none. A stated
      usage of zero is zero.
    - A client that leaves pays for what ran: the tokens so far, or the price of the image it had ordered.
    - If an upstream breaks off, the key pays only for what was passed on: nothing before content, the tokens after it,
      an image only if it reached the client. The upstream's side is booked at the estimate, reason ``unknown``.
    - A request that was proven rejected costs nothing on either side; an image refused in the middle of an answer is an
      answer without an image.
    - No key is charged more than its budgets hold for the request, also where an upstream states more. What we
      owe upstream is booked as stated.
    - A paid item of unknown outcome that was then sent elsewhere is a ``suspected_duplicate``, which the gateway bears.
    """
    last = attempts[-1].subrequest if attempts else 0
    if len(attempts) < 2 or all(facts.subrequest == last for facts in attempts):
        return _settle_subrequest(attempts)
    subrequests: dict[int, list[AttemptFacts]] = {}
    for facts in attempts:
        subrequests.setdefault(facts.subrequest, []).append(facts)
    bookings = {subrequest: _settle_subrequest(own) for subrequest, own in subrequests.items()}
    costs = {subrequest: iter(booking.costs) for subrequest, booking in bookings.items()}
    return _together(list(bookings.values()), tuple(next(costs[facts.subrequest]) for facts in attempts))


def _together(bookings: Sequence[Booking], costs: tuple[AttemptCost, ...]) -> Booking:
    """One booking of several subrequests. Its confidence is that of the least certain one."""
    states = {one.state for one in bookings}
    state: State = "settled" if "settled" in states else "unknown" if "unknown" in states else "released"
    counted = [one for one in bookings if one.state == state]
    doubtful = [one for one in bookings if one.state == "unknown"]
    in_doubt = sum(one.upstream_cost for one in doubtful) if state == "settled" else 0
    confidences = {one.confidence for one in counted} | ({"estimated"} if in_doubt else set())
    confidence: Confidence = next(
        (worst for worst in ("unknown", "estimated") if worst in confidences),
        "measured",
    )
    usage = together([one.usage for one in counted])
    usage = replace(usage, confidence="measured" if confidence == "measured" else "estimated")
    served = next((one for one in counted if one.price is not None), counted[0])
    charged = sum(one.charged for one in bookings)
    above_bound = any(one.above_bound for one in bookings)
    return Booking(charged, usage, costs, confidence, state, in_doubt, served.price, served.terms, above_bound)


def _settle_subrequest(attempts: Sequence[AttemptFacts]) -> Booking:
    served = _served(attempts[-1]) if attempts else None
    costs = _costs(attempts, served)
    if served is not None:
        usage, due = served
        last = attempts[-1]
        amount, confidence = due.amount or 0, _confidence(usage, due)
        above_bound = last.bound is not None and amount > last.bound
        if last.bound is not None and above_bound:
            amount, confidence = last.bound, "estimated"
        return Booking(
            amount, usage, costs, confidence, "settled", price=last.price, terms=last.terms, above_bound=above_bound
        )
    in_doubt = (facts for facts, cost in zip(attempts, costs, strict=True) if cost.reason != "billed")
    if any(facts.cost_class is CostClass.PAID for facts in in_doubt):
        return Booking(0, _NOTHING, costs, "unknown", "unknown")
    state: State = "settled" if any(cost.amount for cost in costs) else "released"
    return Booking(0, _NOTHING, costs, "measured", state)


def _confidence(usage: Usage, due: Bill) -> Confidence:
    """Measured is only what was stated and has its own price in every part."""
    if due.amount is None:
        return "unknown"
    return usage.confidence if due.certain else "estimated"


def _sent(facts: AttemptFacts) -> bool:
    """Whether the upstream may have done something."""
    return facts.slug == "ok" or facts.phase >= Phase.UNKNOWN


def _used(facts: AttemptFacts) -> Usage:
    """The usage the upstream stated, if plausible, else the estimate."""
    if facts.usage is not None and believable(facts.usage):
        return facts.usage
    estimated = facts.estimated if believable(facts.estimated) else _NOTHING
    return replace(estimated, confidence="estimated")


def _due(facts: AttemptFacts, usage: Usage, images: int) -> Bill:
    whole = _came_whole(facts)
    if whole and facts.stated is not None:
        return Bill(facts.stated)
    due = bill(
        facts.price,
        usage,
        operation=facts.operation,
        images=images,
        quality=facts.quality,
        size=facts.size,
        succeeded=whole,
        terms=facts.terms,
    )
    return due if facts.own_price else replace(due, certain=False)


def _at_stake(facts: AttemptFacts) -> int:
    """What an attempt costs if the upstream finished it: the tokens so far, or all the images asked for."""
    if facts.cost_class is CostClass.PAID:
        return _due(facts, _used(facts), max(facts.images, facts.estimated.images, 1)).amount or 0
    return _due(facts, _used(facts), facts.images).amount or 0


def _came_whole(facts: AttemptFacts) -> bool:
    """Whether the upstream finished its answer and bills it, which it also does when it refuses the image inside it."""
    if facts.slug in ("ok", "asset_unavailable"):
        return True
    return facts.slug in ("content_policy", "no_image") and facts.cost_class is CostClass.PAID and _sent(facts)


def _served(last: AttemptFacts) -> tuple[Usage, Bill] | None:
    """What the key pays for, and how much; None if the client was served nothing."""
    usage = _used(last)
    if usage.images != last.images:
        usage = replace(usage, images=last.images)
    if _came_whole(last):
        sold_by_answer = last.cost_class is CostClass.PAID and last.operation == "chat"
        if sold_by_answer or last.stated is not None:
            usage = replace(usage, confidence="measured")  # nothing about the charge is a guess
        return usage, _due(last, usage, last.images)
    if not _sent(last):
        return None
    by_client = last.slug.startswith("client_")
    if last.cost_class is CostClass.TOKENS:
        if by_client or last.phase is Phase.FORWARDED:
            return usage, _due(last, usage, last.images)
    elif last.images and (by_client or last.phase is Phase.FORWARDED):
        return usage, _due(last, usage, last.images)
    elif by_client:
        estimated = replace(usage, confidence="estimated")
        return estimated, Bill(None if last.price is None else _at_stake(last))
    return None


def _costs(attempts: Sequence[AttemptFacts], served: tuple[Usage, Bill] | None) -> tuple[AttemptCost, ...]:
    """What each attempt costs upstream. An answer that came whole costs what the key pays for it."""
    costs: list[AttemptCost] = []
    ran_later = False
    for facts in reversed(attempts):
        if served is not None and not costs and _came_whole(facts):
            costs.append(AttemptCost(served[1].amount or 0, "billed"))
        else:
            costs.append(_cost(facts, ran_later))
        ran_later = ran_later or _sent(facts)
    return tuple(reversed(costs))


def _cost(facts: AttemptFacts, ran_later: bool) -> AttemptCost:
    """What an attempt that did not come whole costs upstream.

    ``ran_later``: whether a later attempt may have done its work.

    The reason is the outcome table's, with one exception: an answer that broke off after content did cost something.
    """
    if not _sent(facts):
        return _FREE
    if facts.slug == "empty_response" and facts.stated is not None:
        return AttemptCost(facts.stated, "billed")  # done, without anything to show for it; its price is known
    reason = booking(Outcome(facts.slug, facts.phase), facts.cost_class, bought_again=ran_later)
    if reason == "none":
        if facts.phase is not Phase.FORWARDED:
            return _FREE
        reason = "unknown"
    return AttemptCost(_at_stake(facts), reason)
