"""Rows of usage, from sums by price: what has no price, what is estimated, and what was booked at which price."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import add
from typing import Any

from gateway.stores.records import BookedPrice, PriceUse, UsageRow
from gateway.stores.sqlite.booked_prices import booked_prices
from gateway.stores.sqlite.rollup import Sums, add_up

_USED = ("requests", "input_tokens", "cached_input_tokens", "output_tokens", "images", "charged")

_BY_CERTAINTY = (
    "requests * (certainty = 'unpriced')",
    "input_tokens * (certainty = 'unpriced')",
    "output_tokens * (certainty = 'unpriced')",
    "images * (certainty = 'unpriced')",
    "requests * (certainty = 'estimated')",
    "charged * (certainty = 'estimated')",
    "requests * (certainty = 'unknown')",
)

_FIGURES = (*_USED, *_BY_CERTAINTY)
"""The sums of a ``UsageRow``, in the order of its fields."""

_REQUESTS, _UNPRICED = 0, len(_USED)

Prices = Mapping[int, tuple[BookedPrice, int]]
Found = tuple[str | None, ...]


def usage_rows(
    store: sqlite3.Connection,
    start_ns: int,
    end_ns: int,
    columns: Sequence[str],
    group: Callable[[Found], Mapping[str, str | None]],
    *,
    pruned_ns: int,
) -> list[UsageRow]:
    """One row for each set of values of ``columns``; see ``add_up``. ``group``: those values → the row's own group."""
    by_price = add_up(store, start_ns, end_ns, [*columns, "price"], pruned_ns=pruned_ns, figures=_FIGURES)
    prices = booked_prices(store, {price for *_, price in by_price})
    groups: dict[Found, dict[int, Sums]] = {}
    for (*values, price), sums in by_price.items():
        groups.setdefault(tuple(values), {})[price] = sums
    return [_row(group(found), parts, prices) for found, parts in groups.items()]


def _row(group: Mapping[str, str | None], parts: Mapping[int, Sums], prices: Prices) -> UsageRow:
    """``parts``: sums by the number of a price, 0 for what was booked at none."""
    sums: tuple[Any, ...] = (0,) * len(_FIGURES)
    for part in parts.values():
        sums = tuple(map(add, sums, part))
    uses = [
        PriceUse(*prices[number], part[_REQUESTS], part[_UNPRICED])
        for number, part in parts.items()
        if number in prices
    ]
    uses.sort(key=lambda use: (-use.requests, -use.since_ns, use.booked.upstream, use.booked.model))
    return replace(UsageRow(group, *sums), prices=tuple(uses))
