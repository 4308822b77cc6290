"""What a request costs: usage × price. Who pays it is decided in gateway/core/pricing/charges.py.

Amounts are whole nano-dollars; token prices are nano-dollars per 1,000,000 tokens, and a sum is rounded half up once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from gateway.core.billing_terms import NOTHING_ASKED, USUAL_TERMS, Asked, Terms
from gateway.core.pricing.picture_tokens import most_picture_tokens
from gateway.core.pricing.service_tiers import most_tier_factor, tier_factor
from gateway.core.pricing.token_amounts import (
    FACTOR_OF_12H,
    FACTOR_OF_HOUR,
    all_priced,
    most_token_amount,
    token_amount,
)
from gateway.core.pricing.unit_amounts import by_units, metered_amount, most_unit_amount
from gateway.core.pricing.usage_sums import believable, is_plausible
from gateway.core.types import (
    FACTOR_UNIT,
    NANO_PER_USD,
    OperationName,
    Price,
    Usage,
)

T = TypeVar("T")

_FACTORS_OF_WRITES = {"usual": FACTOR_UNIT, "hour": FACTOR_OF_HOUR, "12h": FACTOR_OF_12H}


class Bill(NamedTuple):
    """What a request used, priced.

    ``amount``: nano-dollars; None when the price does not say.
    ``certain``: whether every part of it has a known price of its own, so that the amount is no guess.
    """

    amount: int | None
    certain: bool = True


def bill(
    price: Price | None,
    usage: Usage,
    *,
    operation: OperationName = "chat",
    images: int | None = None,
    quality: str | None = None,
    size: str | None = None,
    succeeded: bool = True,
    terms: Terms = USUAL_TERMS,
) -> Bill:
    """What a request used, priced.

    ``images``: the images that came (default ``usage.images``). A price by the image is a price by the *answer* where
        images travel in a chat (gpt-4o-image: one price for any number of images, ``no_image`` for an answer without).
    ``succeeded``: whether the answer came whole, so that the price's minimum applies.

    Measured tokens come before the table of images: an upstream that states them bills by them.
    Raises ValueError for counts that are no plausible natural numbers.
    """
    counted = usage.images if images is None else images
    check_counts(counted, usage)
    return believed_bill(
        price, usage, counted, operation=operation, quality=quality, size=size, succeeded=succeeded, terms=terms
    )


def check_counts(images: int, usage: Usage | None = None) -> None:
    """Raise ValueError for counts that are no plausible natural numbers."""
    if not is_plausible(images) or not (usage is None or believable(usage)):
        raise ValueError("usage must be whole numbers between 0 and a billion")


def believed_bill(
    price: Price | None,
    usage: Usage,
    images: int,
    *,
    operation: OperationName,
    quality: str | None,
    size: str | None,
    succeeded: bool,
    terms: Terms,
) -> Bill:
    """``bill`` for counts that are known to be plausible."""
    if price is None:
        return Bill(None)
    due: int | None
    certain = not (price.estimated or terms.unpriced)
    by_tokens = price.input is not None or price.output is not None
    if price.image is not None and operation == "chat":
        due = price.image if images else (price.no_image or 0)
    elif price.table and not (by_tokens and _measured(usage)):
        due = images * _dearest(price, quality, size)
    elif by_tokens or by_units(price):
        tier, listed = tier_factor(price, terms)
        only_tokens = not (usage.characters or usage.audio_milliseconds)
        due = token_amount(price, usage, tier) if only_tokens else metered_amount(price, usage, tier)
        certain = certain and listed and all_priced(price, usage, operation)
    elif price.image is not None:
        due = images * price.image
    else:
        due = None
    return Bill(due if due is None or not succeeded or due > price.minimum else price.minimum, certain)


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
    """The amount of ``bill``, on the usual terms."""
    priced = bill(price, usage, operation=operation, images=images, quality=quality, size=size, succeeded=succeeded)
    return priced.amount


def _measured(usage: Usage) -> bool:
    return usage.confidence == "measured" and bool(usage.input_tokens or usage.output_tokens)


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
    asked: Asked = NOTHING_ASKED,
) -> int:
    """The most, in nano-dollars, that a request within these bounds can come to; 0 when the price is unknown.

    Tokens count as the dearest kind they may turn out to be, in the dearest tier that was asked for or may be given.
    """
    if price is None:
        return 0
    if price.image is not None and operation == "chat":
        return max(price.image, price.no_image or 0, price.minimum)
    by_use = most_token_amount(
        price,
        input_tokens,
        max_output_tokens,
        asked.calls,
        writes=_FACTORS_OF_WRITES[asked.lifetime],
        tier=most_tier_factor(price, asked) if price.tiers else FACTOR_UNIT,
    )
    if asked.characters or asked.milliseconds:
        by_use += most_unit_amount(price, asked.characters, asked.milliseconds)
    if price.image is None and not price.table:
        return by_use if by_use > price.minimum else price.minimum
    by_image = images * max(price.image or 0, _dearest(price, quality, size) if price.table else 0)
    return max(by_use, by_image, price.minimum)


def image_stake(
    price: Price | None, images: int, *, operation: OperationName, quality: str | None, size: str | None
) -> int | None:
    """Nano-dollars that an order for ``images`` images costs at most; None if the price does not say."""
    if price is None:
        return None
    if price.image is None and not price.table:
        if not price.picture_tokens or price.output is None:
            return None
        return upper_bound(price, 0, images * most_picture_tokens(price.picture_tokens, size), 0, operation=operation)
    return upper_bound(price, 0, 0, images, operation=operation, quality=quality, size=size)


def format_usd(nano: int) -> str:
    """US dollars as an exact decimal with at least two places: ``0.00``, ``1.50``, ``0.00066``, ``-3.10``."""
    if nano < 0:
        return f"-{format_usd(-nano)}"
    digits = f"{nano % NANO_PER_USD:09d}"
    return f"{nano // NANO_PER_USD}.{digits[:2]}{digits[2:].rstrip('0')}"


def usd_number(nano: int) -> float:
    """US dollars as the float nearest to the exact amount, for JSON and gauges. Sum nano-dollars, never these."""
    return nano / NANO_PER_USD


def _dearest(price: Price, quality: str | None, size: str | None) -> int:
    """The table's price of an image. Where ``auto`` left the choice to the upstream: the highest price it can have."""
    rows = _named_or_all(price.table, quality)
    return max((each for row in rows for each in _named_or_all(row, size)), default=0)


def _named_or_all(table: Mapping[str, T], name: str | None) -> Sequence[T]:
    return [table[name]] if name is not None and name in table else list(table.values())
