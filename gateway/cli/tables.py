"""Rows as tables that line up, for eyes, and as CSV, for scripts."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.billing.balances import COLUMNS, MONEY
from gateway.billing.usage import FIGURES
from gateway.core.pricing.prices import format_usd


def render(rows: Sequence[Mapping[str, object]], columns: Sequence[str], *, right: frozenset[str] = frozenset()) -> str:
    """A table with a header line. ``right``: columns of numbers, aligned to the right. None is shown as ``-``."""
    cells = [[_text(row.get(column)) for column in columns] for row in rows]
    heads = [column.replace("_", " ") for column in columns]
    widths = [max(map(_width, column)) for column in zip(heads, *cells, strict=True)]
    lines = []
    for line in (heads, *cells):
        padded = (_pad(text, width, name in right) for text, width, name in zip(line, widths, columns, strict=True))
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def usage_table(rows: Sequence[dict[str, Any]], by: Sequence[str]) -> str:
    """The rows of ``usage`` for eyes, with a line of totals."""
    shown = [{**row, "cost_usd": format_usd(round(row["cost_usd"] * 1e9))} for row in rows]
    if len(rows) > 1 and by:
        total: dict[str, Any] = {name: sum(row[name] for row in rows) for name in FIGURES[:-1]}
        cost = sum(round(row["cost_usd"] * 1e9) for row in rows)
        shown.append({by[0]: "total", **total, "cost_usd": format_usd(cost)})
    return render(shown, [*by, *FIGURES], right=frozenset(FIGURES))


def usage_csv(rows: Sequence[dict[str, Any]], by: Sequence[str]) -> str:
    """The JSON's columns as CSV, with a header."""
    return as_csv([*by, *FIGURES], ({**row, "cost_usd": format_usd(round(row["cost_usd"] * 1e9))} for row in rows))


def reconciliation_table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of ``usage --reconcile`` for eyes."""
    return render([_balances_as_text(row) for row in rows], COLUMNS, right=frozenset(MONEY))


def reconciliation_csv(rows: Sequence[dict[str, Any]]) -> str:
    """The same columns as CSV, with a header."""
    return as_csv(COLUMNS, map(_balances_as_text, rows))


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV, with a header; what a row does not have is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _balances_as_text(row: dict[str, Any]) -> dict[str, Any]:
    money = {name: None if row[name] is None else format_usd(round(row[name] * 1e9)) for name in MONEY}
    return {**row, **money, "upstream_keys": ", ".join(row["upstream_keys"])}


def _text(value: object) -> str:
    if value is None or value == "":
        return "-"
    text = str(value)
    return "".join(char if char.isprintable() else "?" for char in text)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
