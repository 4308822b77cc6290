"""Rows of usage, from sums by price: what has no price, what is estimated, and what was booked at which price.

Pure, and the same for every engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import add
from typing import Any

from gateway.stores.records import BookedPrice, PriceUse, UsageRow

FIELDS = ("key", "team", "model", "upstream", "day")
"""What usage can be grouped by."""

FIGURES = (
    "requests",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "images",
    "charged",
    "unpriced requests",
    "unpriced input_tokens",
    "unpriced output_tokens",
    "unpriced images",
    "estimated requests",
    "estimated charged",
    "unknown requests",
)
"""The sums of a ``UsageRow``, in the order of its fields: the figure, and of which certainty if not of every."""

_REQUESTS, _UNPRICED = FIGURES.index("requests"), FIGURES.index("unpriced requests")

Group = tuple[Any, ...]
Sums = tuple[int, ...]
Prices = Mapping[int, tuple[BookedPrice, int]]
"""By number: the price, and when it was first booked, Unix nanoseconds."""


def checked_fields(by: Sequence[str]) -> tuple[str, ...]:
    """The fields of ``by``, each once. Raises ValueError, naming all there are, for one that is not known."""
    fields = tuple(dict.fromkeys(by))
    if unknown := [field for field in fields if field not in FIELDS]:
        raise ValueError(f"usage cannot be grouped by {', '.join(unknown)}; it can by {', '.join(FIELDS)}")
    return fields


def rows_of_usage(
    by_price: Mapping[Group, Sums], group: Callable[[Group], Mapping[str, str | None]], prices: Prices
) -> list[UsageRow]:
    """One row for each group.

    ``by_price``: the group's values, then the number of a price (0 for what was booked at none) → its FIGURES.
    ``group``: the values → the row's own group.
    """
    groups: dict[Group, dict[int, Sums]] = {}
    for (*values, price), sums in by_price.items():
        groups.setdefault(tuple(values), {})[price] = sums
    return [_row(group(found), parts, prices) for found, parts in groups.items()]


def in_order(rows: Sequence[UsageRow]) -> list[UsageRow]:
    """Sorted by group, what has no value first."""
    return sorted(rows, key=lambda row: [(value is not None, value or "") for value in row.group.values()])


def _row(group: Mapping[str, str | None], parts: Mapping[int, Sums], prices: Prices) -> UsageRow:
    """``parts``: sums by the number of a price, 0 for what was booked at none."""
    sums: tuple[Any, ...] = (0,) * len(FIGURES)
    for part in parts.values():
        sums = tuple(map(add, sums, part))
    uses = [
        PriceUse(*prices[number], part[_REQUESTS], part[_UNPRICED])
        for number, part in parts.items()
        if number in prices
    ]
    uses.sort(key=lambda use: (-use.requests, -use.since_ns, use.booked.upstream, use.booked.model))
    return replace(UsageRow(group, *sums), prices=tuple(uses))
