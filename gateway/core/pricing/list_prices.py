"""Vendors' list prices of models that the catalogue does not name: a guess, and marked as one.

The rows come from a file that ``make prices`` makes (gateway/list_prices.json, read by config/list_prices.py). What is
found here is never ``measured``: the price may have changed since, and an upstream may bill otherwise than the vendor.
It is a bound where an upstream is cheaper, as PiAPI is, which takes the list price at most.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from gateway.core.types import FACTOR_UNIT, NANO_PER_USD, LongContext, Price

TOKEN_PRICES = (
    "input",
    "cached_input",
    "cache_write",
    "output",
    "image_input",
    "image_output",
    "audio_input",
    "audio_output",
)
"""The amounts of a row in US dollars per 1M tokens, as ``Price`` and the configuration name them."""

AMOUNTS = (*TOKEN_PRICES, "call")

MOST_WRITTEN = 131_072
"""Tokens. No model of these vendors is known to write more in one choice, and the data do not say how many each can."""

_FINE_TUNED = "ft:"
_DATED = re.compile(r"[-@](?:\d{4}-\d{2}-\d{2}|\d{8}|latest)\Z")


@dataclass(frozen=True, slots=True)
class ListPrices:
    """The price data.

    ``source``: who made them, in which version; ``as_of``: the day of that version, ``2026-11-10``.
    ``models``: vendor → model → its row, amounts in US dollars as int or Decimal.
    ``names``: vendor → another name → the model.
    ``prefixes``: what may stand before a model's name and a slash → the vendor.
    """

    source: str
    as_of: str
    models: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(repr=False)
    names: Mapping[str, Mapping[str, str]] = field(repr=False)
    prefixes: Mapping[str, str] = field(repr=False)

    def price(self, model: str) -> Price | None:
        """The list price of a model, marked ``estimated``; None if the data do not know it.

        A name is looked for as it is, without a vendor's prefix (``openai/gpt-5.2``; only that vendor's models count
        then), and without a dated suffix (``gpt-5.2-2025-12-11``). A fine-tuned model (``ft:gpt-4o-2024-08-06:us::1``)
        has the price of its kind, if there is one.
        """
        row = self._row(model)
        return None if row is None else price_of_row(row)

    def max_output(self, model: str) -> int | None:
        """Tokens that the model writes at most in one choice, generously: no more than its context, nor than any model
        does; None if the data do not know it.
        """
        row = self._row(model)
        return None if row is None else min(MOST_WRITTEN, int(row.get("context", MOST_WRITTEN)))

    def _row(self, model: str) -> Mapping[str, Any] | None:
        vendor, slash, rest = model.lower().partition("/")
        if not slash:
            return self._of_vendors(model.lower(), tuple(self.models))
        known = self.prefixes.get(vendor)
        return None if known is None else self._of_vendors(rest, (known,))

    def _of_vendors(self, name: str, vendors: tuple[str, ...]) -> Mapping[str, Any] | None:
        if name.startswith(_FINE_TUNED):
            name = ":".join(name.split(":", 2)[:2])
        for known_as in dict.fromkeys((name, _DATED.sub("", name))):
            for vendor in vendors:
                models = self.models.get(vendor, {})
                row = models.get(self.names.get(vendor, {}).get(known_as, known_as))
                if row is not None:
                    return row
        return None


def price_of_row(row: Mapping[str, Any]) -> Price:
    """A row of the data as a price. Fractions of a nano-dollar and of a thousandth are rounded up."""
    amounts: dict[str, Any] = {name: _up(row[name] * NANO_PER_USD) for name in AMOUNTS if name in row}
    long = row.get("long")
    return Price(
        **amounts,
        long=LongContext(long["above"], _thousandths(long["input"]), _thousandths(long["output"])) if long else None,
        tiers={tier: _thousandths(times) for tier, times in row.get("tiers", {}).items()},
        estimated=True,
    )


def _thousandths(times: int | Decimal) -> int:
    return _up(times * FACTOR_UNIT)


def _up(amount: int | Decimal) -> int:
    whole = int(amount)
    return whole if whole == amount else whole + 1
