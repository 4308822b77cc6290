"""What a request costs: usage × price, and who pays for what when an exchange did not end well.

Everything is integers of nano-dollars; token prices are nano-dollars per 1,000,000 tokens, and a sum is rounded
half up once. Two amounts are kept apart: what the virtual key is charged, and what each attempt costs us upstream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from gateway.core.outcomes import booking
from gateway.core.types import (
    NANO_PER_USD,
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

T = TypeVar("T")

PER_MILLION = 1_000_000

MOST_TOKENS = 1_000_000_000
"""An upstream that names more tokens or pictures than this in one answer is not believed."""

_NOTHING = Usage()


@dataclass(slots=True)
class AttemptFacts:
    """What the books need to know of one attempt.

    ``slug``: ``ok``, a fault's slug, or one that begins with ``client_`` when the client cut it short.
    ``usage``: what the upstream said, or None. ``estimated``: what was counted instead: the tokens sent and received
    so far, and in ``images`` the pictures asked for. ``images``: the pictures that came.
    ``quality``, ``size``: of the pictures asked for, for prices that are tables.
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


@dataclass(slots=True)
class AttemptCost:
    """What one attempt costs us upstream, in nano-dollars, and how sure that is."""

    amount: int
    reason: CostReason


_FREE = AttemptCost(0, "billed")


@dataclass(slots=True)
class Booking:
    """A finished exchange in the books.

    ``charged``: nano-dollars the key pays, for ``usage``. ``costs``: one for each attempt, in order.
    ``confidence``: of ``charged``; ``unknown`` if the price is not known, or whether anything was bought.
    """

    charged: int
    usage: Usage
    costs: tuple[AttemptCost, ...]
    confidence: Confidence
    state: State

    @property
    def upstream_cost(self) -> int:
        """Nano-dollars over all attempts, for whatever reason."""
        return sum(cost.amount for cost in self.costs)


def amount_due(
    price: Price | None,
    usage: Usage,
    *,
    operation: OperationName = "chat",
    images: int | None = None,
    quality: str | None = None,
    size: str | None = None,
    succeeded: bool = True,
) -> int | None:
    """Nano-dollars for what a request used, or None when the price does not say.

    ``images``: the pictures that came (default ``usage.images``). A price by the picture is a price by the *answer*
    where pictures travel in a chat (gpt-4o-image: one price however many, ``no_image`` for an answer without).
    Measured tokens come before the table of pictures: they are what the upstream bills by where it names them.
    ``succeeded``: whether the answer came whole, so that the price's minimum holds.
    Raises ValueError for counts that are no plausible natural numbers.
    """
    pictures = usage.images if images is None else images
    if not believable(usage) or not _plausible(pictures):
        raise ValueError("usage must be whole numbers between 0 and a billion")
    return _amount(price, usage, operation, pictures, quality, size, succeeded)


def _amount(
    price: Price | None,
    usage: Usage,
    operation: OperationName,
    pictures: int,
    quality: str | None,
    size: str | None,
    succeeded: bool,
) -> int | None:
    if price is None:
        return None
    due: int | None
    if price.image is not None and operation == "chat":
        due = price.image if pictures else (price.no_image or 0)
    elif price.table and not (usage.confidence == "measured" and (usage.input_tokens or usage.output_tokens)):
        due = pictures * _dearest(price, quality, size)
    elif price.input is not None or price.output is not None:
        due = _for_tokens(price, usage)
    elif price.image is not None:
        due = pictures * price.image
    else:
        due = None
    return due if due is None or not succeeded else max(due, price.minimum)


def charge(
    price: Price | None,
    usage: Usage,
    *,
    operation: OperationName = "chat",
    images: int | None = None,
    quality: str | None = None,
    size: str | None = None,
) -> int:
    """``amount_due``, or 0 when the price is unknown."""
    return amount_due(price, usage, operation=operation, images=images, quality=quality, size=size) or 0


def upper_bound(
    price: Price | None,
    input_tokens: int,
    max_output_tokens: int,
    images: int = 1,
    *,
    operation: OperationName = "chat",
    quality: str | None = None,
    size: str | None = None,
) -> int:
    """The most, in nano-dollars, that a request within these bounds can come to; 0 when the price is unknown."""
    if price is None:
        return 0
    if price.image is not None and operation == "chat":
        return max(price.image, price.no_image or 0, price.minimum)
    inputs = (price.input or 0, price.cached_input or 0, price.image_input or 0)
    micro = input_tokens * max(inputs) + max_output_tokens * (price.output or 0)
    by_tokens = -(-micro // PER_MILLION)
    by_picture = images * max(price.image or 0, _dearest(price, quality, size))
    return max(by_tokens, by_picture, price.minimum)


def book(attempts: Sequence[AttemptFacts]) -> Booking:
    """Decide who pays what once an exchange is over. Attempts in order; only the last can have served the client.

    - An answer that came whole is charged by its usage, or by the estimate where the upstream named none. A usage
      of zero that the upstream did name is zero.
    - A client that leaves pays for what ran: the tokens so far, or the price of the picture it had ordered.
    - An upstream that breaks off is paid by the key only for what was passed on: nothing before content, the tokens
      after it, a picture only if it came. On our side it is booked at the estimate, reason ``unknown``.
    - What was proven rejected costs nobody anything; a picture refused in the middle of an answer is an answer that
      holds none.
    - A paid item whose outcome is unknown and that was then sent elsewhere is a ``suspected_duplicate``, ours to bear.
    """
    served = _settle(attempts[-1]) if attempts else None
    costs = _costs(attempts, served)
    if served is not None:
        usage, due = served
        confidence: Confidence = "unknown" if due is None else usage.confidence
        return Booking(due or 0, usage, costs, confidence, "settled")
    in_doubt = (facts for facts, cost in zip(attempts, costs, strict=True) if cost.reason != "billed")
    if any(facts.cost_class is CostClass.PAID for facts in in_doubt):
        return Booking(0, _NOTHING, costs, "unknown", "unknown")
    state: State = "settled" if any(cost.amount for cost in costs) else "released"
    return Booking(0, _NOTHING, costs, "measured", state)


def believable(usage: Usage) -> bool:
    """Whether every count is a plausible natural number: what an upstream says is data, not truth."""
    return (
        _plausible(usage.input_tokens)
        and _plausible(usage.cached_input_tokens)
        and _plausible(usage.output_tokens)
        and _plausible(usage.images)
        and _plausible(usage.image_input_tokens)
    )


def format_usd(nano: int) -> str:
    """US dollars as an exact decimal with at least two places: ``0.00``, ``1.50``, ``0.00066``, ``-3.10``."""
    dollars, rest = divmod(abs(nano), NANO_PER_USD)
    digits = f"{rest:09d}"
    return f"{'-' if nano < 0 else ''}{dollars}.{digits[:2]}{digits[2:].rstrip('0')}"


def usd_number(nano: int) -> float:
    """US dollars as the float nearest to the exact amount, for JSON and gauges. Sum nano-dollars, never these."""
    return nano / NANO_PER_USD


def _plausible(count: object) -> bool:
    return type(count) is int and 0 <= count <= MOST_TOKENS


def _for_tokens(price: Price, usage: Usage) -> int | None:
    """Tokens × prices, None if a price that is needed is not known.

    Cached tokens are taken from the text first: gpt-image-1 has one cached price for text and pictures.
    """
    cached = min(usage.cached_input_tokens, usage.input_tokens)
    images = min(usage.image_input_tokens, usage.input_tokens)
    text = usage.input_tokens - images
    cached_text = min(cached, text)
    image_price = price.input if price.image_input is None else price.image_input
    parts = (
        (text - cached_text, price.input),
        (cached_text, price.input if price.cached_input is None else price.cached_input),
        (images - (cached - cached_text), image_price),
        (cached - cached_text, image_price if price.cached_input is None else price.cached_input),
        (usage.output_tokens, price.output),
    )
    micro = 0
    for tokens, each in parts:
        if tokens:
            if each is None:
                return None
            micro += tokens * each
    return (micro + PER_MILLION // 2) // PER_MILLION


def _dearest(price: Price, quality: str | None, size: str | None) -> int:
    """The table's price of a picture. Where ``auto`` left the choice to the upstream: the dearest it may have made."""
    rows = _named_or_all(price.table, quality)
    return max((each for row in rows for each in _named_or_all(row, size)), default=0)


def _named_or_all(table: Mapping[str, T], name: str | None) -> Sequence[T]:
    return [table[name]] if name is not None and name in table else list(table.values())


def _sent(facts: AttemptFacts) -> bool:
    """Whether the upstream may have done something."""
    return facts.slug == "ok" or facts.phase >= Phase.UNKNOWN


def _used(facts: AttemptFacts) -> Usage:
    """What the upstream said, where that can be believed, else the estimate."""
    if facts.usage is not None and believable(facts.usage):
        return facts.usage
    estimated = facts.estimated if believable(facts.estimated) else _NOTHING
    return replace(estimated, confidence="estimated")


def _due(facts: AttemptFacts, usage: Usage, images: int) -> int | None:
    whole = _came_whole(facts)
    return _amount(facts.price, usage, facts.operation, images, facts.quality, facts.size, whole)


def _at_stake(facts: AttemptFacts) -> int:
    """What an attempt comes to if the upstream finished it: the tokens so far, or all the pictures asked for."""
    if facts.cost_class is CostClass.PAID:
        return _due(facts, _used(facts), max(facts.images, facts.estimated.images, 1)) or 0
    return _due(facts, _used(facts), facts.images) or 0


def _came_whole(facts: AttemptFacts) -> bool:
    """Whether the upstream finished its answer and bills it: also when it refuses the picture inside of it."""
    if facts.slug == "ok":
        return True
    return facts.slug == "content_policy" and facts.cost_class is CostClass.PAID and _sent(facts)


def _settle(last: AttemptFacts) -> tuple[Usage, int | None] | None:
    """What the key pays for, and how much (None: no price); None if the client was served nothing."""
    usage = _used(last)
    if usage.images != last.images:
        usage = replace(usage, images=last.images)
    if _came_whole(last):
        if last.cost_class is CostClass.PAID and last.operation == "chat":
            usage = replace(usage, confidence="measured")  # sold by the answer: nothing about the charge is a guess
        return usage, _due(last, usage, last.images)
    if not _sent(last):
        return None
    by_client = last.slug.startswith("client_")
    if last.cost_class is CostClass.TOKENS:
        if by_client or last.phase is Phase.FORWARDED:
            return usage, _due(last, usage, last.images)
    elif last.images:
        return usage, _due(last, usage, last.images)
    elif by_client:
        estimated = replace(usage, confidence="estimated")
        return estimated, None if last.price is None else _at_stake(last)
    return None


def _costs(attempts: Sequence[AttemptFacts], served: tuple[Usage, int | None] | None) -> tuple[AttemptCost, ...]:
    """What each attempt costs us. An answer that came whole costs us what the key pays for it."""
    costs: list[AttemptCost] = []
    ran_later = False
    for facts in reversed(attempts):
        if served is not None and not costs and _came_whole(facts):
            costs.append(AttemptCost(served[1] or 0, "billed"))
        else:
            costs.append(_cost(facts, ran_later))
        ran_later = ran_later or _sent(facts)
    return tuple(reversed(costs))


def _cost(facts: AttemptFacts, ran_later: bool) -> AttemptCost:
    """What an attempt that did not come whole costs us. ``ran_later``: whether one after it may have done its work.

    The reason is the failure table's, but for one thing: what broke off after content did cost something.
    """
    if not _sent(facts):
        return _FREE
    reason = booking(Outcome(facts.slug, facts.phase), facts.cost_class, bought_again=ran_later)
    if reason == "none":
        if facts.phase is not Phase.FORWARDED:
            return _FREE
        reason = "unknown"
    return AttemptCost(_at_stake(facts), reason)
