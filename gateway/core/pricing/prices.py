"""What a request costs: usage × price. Who pays it is decided in gateway/core/pricing/charges.py.

Amounts are whole nano-dollars; token prices are nano-dollars per 1,000,000 tokens, and a sum is rounded half up once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from gateway.core.pricing.picture_tokens import most_picture_tokens
from gateway.core.types import (
    NANO_PER_USD,
    OperationName,
    Price,
    Usage,
)

T = TypeVar("T")

PER_MILLION = 1_000_000

MOST_TOKENS = 1_000_000_000
"""The most tokens or images of one answer that are believed; an upstream's figure above it is ignored."""

_NOTHING = Usage()


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
    """Nano-dollars for what a request used; None when the price does not say.

    ``images``: the images that came (default ``usage.images``). A price by the image is a price by the *answer* where
        images travel in a chat (gpt-4o-image: one price for any number of images, ``no_image`` for an answer without).
    ``succeeded``: whether the answer came whole, so that the price's minimum applies.

    Measured tokens come before the table of images: an upstream that states them bills by them.
    Raises ValueError for counts that are no plausible natural numbers.
    """
    counted = usage.images if images is None else images
    if not believable(usage) or not _plausible(counted):
        raise ValueError("usage must be whole numbers between 0 and a billion")
    return _amount(price, usage, operation, counted, quality, size, succeeded)


def _amount(
    price: Price | None,
    usage: Usage,
    operation: OperationName,
    images: int,
    quality: str | None,
    size: str | None,
    succeeded: bool,
) -> int | None:
    if price is None:
        return None
    due: int | None
    if price.image is not None and operation == "chat":
        due = price.image if images else (price.no_image or 0)
    elif price.table and not (_by_tokens(price) and _measured(usage)):
        due = images * _dearest(price, quality, size)
    elif _by_tokens(price):
        due = _for_tokens(price, usage)
    elif price.image is not None:
        due = images * price.image
    else:
        due = None
    return due if due is None or not succeeded else max(due, price.minimum)


def _by_tokens(price: Price) -> bool:
    return price.input is not None or price.output is not None


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
) -> int:
    """The most, in nano-dollars, that a request within these bounds can come to; 0 when the price is unknown."""
    if price is None:
        return 0
    if price.image is not None and operation == "chat":
        return max(price.image, price.no_image or 0, price.minimum)
    inputs = (price.input or 0, price.cached_input or 0, price.image_input or 0)
    micro = input_tokens * max(inputs) + max_output_tokens * (price.output or 0)
    by_tokens = -(-micro // PER_MILLION)
    by_image = images * max(price.image or 0, _dearest(price, quality, size))
    return max(by_tokens, by_image, price.minimum)


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


def believable(usage: Usage) -> bool:
    """Whether every count is a plausible natural number; an upstream's figures are checked like any input."""
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
    """Tokens × prices; None if a price that is needed is not known.

    Cached tokens are taken from the text first: gpt-image-1 has one cached price for text and images.
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
    """The table's price of an image. Where ``auto`` left the choice to the upstream: the highest price it can have."""
    rows = _named_or_all(price.table, quality)
    return max((each for row in rows for each in _named_or_all(row, size)), default=0)


def _named_or_all(table: Mapping[str, T], name: str | None) -> Sequence[T]:
    return [table[name]] if name is not None and name in table else list(table.values())
