"""Rows of usage, from the sums of a file by price."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence

from gateway.stores.records import UsageRow
from gateway.stores.sqlite.booked_prices import booked_prices
from gateway.stores.sqlite.rollup import add_up
from gateway.stores.usage_sums import FIGURES, Group, rows_of_usage


def _summed(figure: str) -> str:
    certainty, _, column = figure.rpartition(" ")
    return f"{column} * (certainty = '{certainty}')" if certainty else column


_SUMMED = [_summed(figure) for figure in FIGURES]


def usage_rows(
    store: sqlite3.Connection,
    start_ns: int,
    end_ns: int,
    columns: Sequence[str],
    group: Callable[[Group], Mapping[str, str | None]],
    *,
    pruned_ns: int,
) -> list[UsageRow]:
    """One row for each set of values of ``columns``; see ``add_up``. ``group``: those values → the row's own group."""
    by_price = add_up(store, start_ns, end_ns, [*columns, "price"], pruned_ns=pruned_ns, figures=_SUMMED)
    return rows_of_usage(by_price, group, booked_prices(store, {price for *_, price in by_price}))
