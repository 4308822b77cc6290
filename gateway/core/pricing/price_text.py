"""A price in US dollars, under the names of the configuration: for people, and for the books."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson

from gateway.core.types import FACTOR_UNIT, NANO_PER_USD, Price

AMOUNTS = (
    "input",
    "cached_input",
    "cache_write",
    "output",
    "image_input",
    "image_output",
    "audio_input",
    "audio_output",
    "image",
    "no_image",
    "call",
    "characters",
    "seconds",
)
"""The fields of a price that are amounts, in the order in which people read them."""

MOST_REMEMBERED = 512
"""Prices whose text is kept. A configuration has fewer; prices made for one order come on top, hence a bound."""

_texts: dict[int, tuple[Price, str]] = {}


def describe_price(price: Price | None) -> dict[str, Any] | None:
    """A price in US dollars, as decimal text."""
    if price is None:
        return None
    described: dict[str, Any] = {name: usd(amount) for name in AMOUNTS if (amount := getattr(price, name)) is not None}
    if price.table:
        described["table"] = {
            quality: {size: usd(amount) for size, amount in sizes.items()} for quality, sizes in price.table.items()
        }
    if price.picture_tokens:
        described["picture_tokens"] = dict(price.picture_tokens)
    if price.long is not None:
        long = price.long
        described["long"] = {"above": long.above, "input": _times(long.input), "output": _times(long.output)}
    if price.tiers:
        described["tiers"] = {tier: _times(factor) for tier, factor in price.tiers.items()}
    if price.minimum:
        described["minimum"] = usd(price.minimum)
    if price.estimated:
        described["estimated"] = True
    return described


def price_text(price: Price | None) -> str:
    """A price as compact JSON with exact decimal numbers, as the books keep it; empty if it is unknown.

    Equal prices have equal texts. Asked for every request, so that the texts of prices in force are remembered.
    """
    if price is None:
        return ""
    remembered = _texts.get(id(price))
    if remembered is not None and remembered[0] is price:
        return remembered[1]
    if len(_texts) >= MOST_REMEMBERED:
        _texts.clear()
    text = _json(describe_price(price))
    _texts[id(price)] = (price, text)  # the price is kept with it, so that its id is no other's
    return text


def usd(nano: int) -> str:
    """Nano-dollars → dollars, exactly, without an exponent and without trailing zeros."""
    exact = f"{Decimal(nano) / NANO_PER_USD:.9f}".rstrip("0").rstrip(".")
    return exact or "0"


def _times(factor: int) -> str:
    """Thousandths → how many times, without trailing zeros."""
    return f"{Decimal(factor) / FACTOR_UNIT:f}"


def _json(value: Any) -> str:
    """Decimal text becomes a number as it stands: a float might not be the same one."""
    if isinstance(value, Mapping):
        pairs = (f"{orjson.dumps(name).decode()}:{_json(each)}" for name, each in value.items())
        return f"{{{','.join(pairs)}}}"
    return value if isinstance(value, str) else orjson.dumps(value).decode()
