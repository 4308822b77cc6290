"""The shipped price data, gateway/list_prices.json: read when a model is first looked for that the catalogue lacks."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache
from importlib.resources import files

from gateway.core.pricing.list_prices import ListPrices
from gateway.core.types import Price, Upstream

FILE = "list_prices.json"


@cache
def list_prices() -> ListPrices:
    """The data of this version of the gateway."""
    text = files("gateway").joinpath(FILE).read_text(encoding="utf-8")
    found = json.loads(text, parse_float=Decimal)  # money never passes through a binary float
    source = f"{found['source']} {found['version']}"
    return ListPrices(source, found["as_of"], found["models"], found["names"], found["prefixes"])


def list_price(model: str) -> Price | None:
    """The vendor's list price of a model, marked ``estimated``; None if the data do not know it."""
    return list_prices().price(model)


def unlisted_price(upstream: Upstream, model: str) -> Price | None:
    """The price of a model that no catalogue names, at an upstream; None if the data do not know it.

    It is the list price wherever the model is bought: what the backup bills as long as it is the vendor itself, and a
    bound of what PiAPI bills, which takes the list price at most. Others may ask more, so that it stays a guess.
    """
    return list_price(model)


def unlisted_output(model: str) -> int | None:
    """Tokens that such a model writes at most in one choice, generously; None if the data do not know it."""
    return list_prices().max_output(model)
