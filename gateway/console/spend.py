"""What was spent, added up for pages. Pure; money is nano-dollars until it is shown."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.core.pricing.prices import format_usd
from gateway.stores.records import UsageRow

MOST = 10
"""Rows of each table of the first page; the rest is one row more."""

COLUMNS = (
    *("requests", "input_tokens", "cached_input_tokens", "output_tokens", "images", "cost_usd"),
    *("estimated_requests", "unpriced_requests", "unknown_requests"),
)
"""Of the file for spreadsheets, behind the fields that it is grouped by; the last three are the doubtful ones."""


@dataclass(slots=True)
class Spent:
    """``name``: of the key, team, model or upstream; None where there is none. ``nano``: nano-dollars charged.

    ``doubtful``: requests whose cost is not known, or not yet.
    """

    name: str | None = None
    nano: int = 0
    requests: int = 0
    images: int = 0
    tokens: int = 0
    doubtful: int = 0

    def add(self, row: UsageRow) -> None:
        """Count a row of the books."""
        self.nano += row.cost_nano
        self.requests += row.requests
        self.images += row.images
        self.tokens += row.input_tokens + row.output_tokens
        self.doubtful += row.unpriced_requests + row.unknown_requests


def total(rows: Iterable[UsageRow], name: str | None = None) -> Spent:
    """All of it, under a name."""
    found = Spent(name)
    for row in rows:
        found.add(row)
    return found


def by(field: str, rows: Sequence[UsageRow], most: int = MOST) -> list[Spent]:
    """What each key, team, model or upstream cost, the dearest first. Beyond ``most`` they are one, "N others".

    ``rows``: grouped by this field alone.
    """
    ranked = sorted(rows, key=lambda row: (-row.cost_nano, -row.requests, row.group[field] or ""))
    if len(ranked) == most + 1:  # one row more takes no more room than "1 others"
        most += 1
    shown = [total((row,), row.group[field]) for row in ranked[:most]]
    rest = ranked[most:]
    return [*shown, total(rest, f"{len(rest)} others")] if rest else shown


def dearest(rows: Iterable[UsageRow]) -> list[UsageRow]:
    """The rows, the dearest first."""
    return sorted(rows, key=lambda row: -row.cost_nano)


def as_csv(fields: Sequence[str], rows: Iterable[UsageRow]) -> bytes:
    """A table for spreadsheets, RFC 4180: the fields, then COLUMNS. Money is exact, in US dollars."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*fields, *COLUMNS])
    for row in rows:
        figures = (row.requests, row.input_tokens, row.cached_input_tokens, row.output_tokens, row.images)
        doubts = (row.estimated_requests, row.unpriced_requests, row.unknown_requests)
        names = [_cell(row.group[field] or "") for field in fields]
        writer.writerow([*names, *figures, format_usd(row.cost_nano), *doubts])
    return text.getvalue().encode()


def _cell(text: str) -> str:
    """A client's name of a model must not be a formula in a spreadsheet."""
    return f"'{text}" if text[:1] in "=+-@\t\r" and text else text
