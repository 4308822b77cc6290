"""Who pays for what once an exchange is over: the attempts that were made → one booking.

Two amounts are kept apart: what the virtual key is charged, and what each attempt costs upstream. Amounts are whole
nano-dollars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from gateway.core.billing_terms import USUAL_TERMS
from gateway.core.exchange_record import NO_USAGE, AttemptRecord, Booking
from gateway.core.outcomes.table import booking as booking_of
from gateway.core.pricing.prices import Bill, believed_bill, check_counts
from gateway.core.pricing.usage_sums import believable, together
from gateway.core.types import Confidence, CostClass, CostReason, Outcome, Phase, State, Usage


class _Served(NamedTuple):
    """What the client got: what it used, what that comes to, and whether the answer came whole."""

    usage: Usage
    due: Bill
    whole: bool


def settle_charges(attempts: Sequence[AttemptRecord], booking: Booking | None = None) -> Booking:
    """Decide who pays what once an exchange is over.

    ``attempts``: in order; of every subrequest only the last can have served. Their ``cost`` and ``reason`` are set.
    ``booking``: what is filled in and returned; a new one by default.

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
    booking = Booking() if booking is None else booking
    last = attempts[-1].subrequest if attempts else 0
    if len(attempts) < 2 or all(one.subrequest == last for one in attempts):
        return _settle_subrequest(attempts, booking)
    subrequests: dict[int, list[AttemptRecord]] = {}
    for one in attempts:
        subrequests.setdefault(one.subrequest, []).append(one)
    return _together([_settle_subrequest(own, Booking()) for own in subrequests.values()], booking)


def _together(bookings: Sequence[Booking], booking: Booking) -> Booking:
    """One booking of several subrequests. Its confidence is that of the least certain one."""
    states = {one.state for one in bookings}
    state: State = "settled" if "settled" in states else "unknown" if "unknown" in states else "released"
    counted = [one for one in bookings if one.state == state]
    doubtful = [one for one in bookings if one.state == "unknown"]
    booking.state = state
    booking.in_doubt = sum(one.upstream_cost for one in doubtful) if state == "settled" else 0
    confidences = {one.confidence for one in counted} | ({"estimated"} if booking.in_doubt else set())
    confidence: Confidence = next(
        (worst for worst in ("unknown", "estimated") if worst in confidences),
        "measured",
    )
    booking.confidence = confidence
    usage = together([one.usage for one in counted])
    booking.usage = replace(usage, confidence="measured" if confidence == "measured" else "estimated")
    served = next((one for one in counted if one.price is not None), counted[0])
    booking.price, booking.terms = served.price, served.terms
    booking.charged = sum(one.charged for one in bookings)
    booking.upstream_cost = sum(one.upstream_cost for one in bookings)
    booking.above_bound = any(one.above_bound for one in bookings)
    return booking


def _settle_subrequest(attempts: Sequence[AttemptRecord], booking: Booking) -> Booking:
    last = attempts[-1] if attempts else None
    served = None if last is None else _served(last)
    booking.upstream_cost = _book_costs(attempts, served)
    booking.in_doubt, booking.above_bound = 0, False
    if last is not None and served is not None:
        booking.usage, booking.state = served.usage, "settled"
        booking.price, booking.terms = last.price, last.terms
        amount, certain = served.due
        booking.charged, booking.confidence = amount or 0, "unknown" if amount is None else "estimated"
        if amount is not None and certain:  # measured is only what was stated and has its own price in every part
            booking.confidence = served.usage.confidence
        if last.bound is not None and booking.charged > last.bound:
            booking.charged, booking.confidence, booking.above_bound = last.bound, "estimated", True
        return booking
    booking.charged, booking.usage, booking.price, booking.terms = 0, NO_USAGE, None, USUAL_TERMS
    if any(one.reason != "billed" and one.cost_class is CostClass.PAID for one in attempts):
        booking.confidence = booking.state = "unknown"
    else:
        booking.confidence = "measured"
        booking.state = "settled" if booking.upstream_cost else "released"
    return booking


def _sent(attempt: AttemptRecord) -> bool:
    """Whether the upstream may have done something."""
    return attempt.outcome == "ok" or attempt.phase >= Phase.UNKNOWN


def _used(attempt: AttemptRecord) -> Usage:
    """The usage the upstream stated, if plausible, else the estimate."""
    if attempt.usage is not None and believable(attempt.usage):
        return attempt.usage
    estimated = attempt.estimated if believable(attempt.estimated) else NO_USAGE
    return replace(estimated, confidence="estimated")


def _due(attempt: AttemptRecord, usage: Usage, images: int, whole: bool) -> Bill:
    """What ``usage``, which is believable but for its images, comes to. ``whole``: see ``_came_whole``."""
    if whole and attempt.stated is not None:
        return Bill(attempt.stated)
    if images:
        check_counts(images)
    due = believed_bill(
        attempt.price,
        usage,
        images,
        operation=attempt.operation,
        quality=attempt.quality,
        size=attempt.size,
        succeeded=whole,
        terms=attempt.terms,
    )
    return due if attempt.own_price else Bill(due.amount, False)


def _at_stake(attempt: AttemptRecord) -> int:
    """What an attempt costs if the upstream finished it: the tokens so far, or all the images asked for."""
    images = attempt.images
    if attempt.cost_class is CostClass.PAID:
        images = max(images, attempt.estimated.images, 1)
    return _due(attempt, _used(attempt), images, _came_whole(attempt)).amount or 0


def _came_whole(attempt: AttemptRecord) -> bool:
    """Whether the upstream finished its answer and bills it, which it also does when it refuses the image inside it."""
    if attempt.outcome in ("ok", "asset_unavailable"):
        return True
    refused = attempt.outcome in ("content_policy", "no_image")
    return refused and attempt.cost_class is CostClass.PAID and _sent(attempt)


def _served(last: AttemptRecord) -> _Served | None:
    """What the key pays for, and how much; None if the client was served nothing."""
    usage, whole = _used(last), _came_whole(last)
    if usage.images != last.images:
        usage = replace(usage, images=last.images)
    if whole:
        sold_by_answer = last.cost_class is CostClass.PAID and last.operation == "chat"
        if (sold_by_answer or last.stated is not None) and usage.confidence != "measured":
            usage = replace(usage, confidence="measured")  # nothing about the charge is a guess
        return _Served(usage, _due(last, usage, last.images, whole), whole)
    if not _sent(last):
        return None
    by_client = last.outcome.startswith("client_")
    if last.cost_class is CostClass.TOKENS:
        if by_client or last.phase is Phase.FORWARDED:
            return _Served(usage, _due(last, usage, last.images, whole), whole)
    elif last.images and (by_client or last.phase is Phase.FORWARDED):
        return _Served(usage, _due(last, usage, last.images, whole), whole)
    elif by_client:
        estimated = replace(usage, confidence="estimated")
        return _Served(estimated, Bill(None if last.price is None else _at_stake(last)), whole)
    return None


def _book_costs(attempts: Sequence[AttemptRecord], served: _Served | None) -> int:
    """Say of each attempt what it costs upstream, and return the sum. An answer that came whole costs what the key pays
    for it.
    """
    owed, ran_later, later = 0, False, None
    for attempt in reversed(attempts):
        ran_later = ran_later or (later is not None and _sent(later))
        if served is not None and served.whole and attempt is attempts[-1]:
            attempt.cost, attempt.reason = served.due.amount or 0, "billed"
        else:
            attempt.cost, attempt.reason = _cost(attempt, ran_later)
        owed += attempt.cost
        later = attempt
    return owed


def _cost(attempt: AttemptRecord, ran_later: bool) -> tuple[int, CostReason]:
    """What an attempt that did not come whole costs upstream.

    ``ran_later``: whether a later attempt may have done its work.

    The reason is the outcome table's, with one exception: an answer that broke off after content did cost something.
    """
    if not _sent(attempt):
        return 0, "billed"
    if attempt.outcome == "empty_response" and attempt.stated is not None:
        return attempt.stated, "billed"  # done, without anything to show for it; its price is known
    outcome = Outcome(attempt.outcome, Phase(attempt.phase))
    reason = booking_of(outcome, attempt.cost_class, bought_again=ran_later)
    if reason == "none":
        if attempt.phase is not Phase.FORWARDED:
            return 0, "billed"
        reason = "unknown"
    return _at_stake(attempt), reason
