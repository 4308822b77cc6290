"""Rows as tables that line up, for eyes, and as CSV, for scripts."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.billing.balances import COLUMNS, MONEY
from gateway.billing.usage import DOUBTS, FIGURES
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
    """The rows of ``usage`` for eyes, with a line of totals; what has no known price only where there is such."""
    shown = [{**row, "cost_usd": _dollars(row["cost_usd"]), "unpriced": _unpriced(row)} for row in rows]
    if len(rows) > 1 and by:
        total: dict[str, Any] = {name: sum(row[name] for row in rows) for name in FIGURES[:-1]}
        cost = sum(round(row["cost_usd"] * 1e9) for row in rows)
        unpriced = sum(map(_unpriced, rows))
        shown.append({by[0]: "total", **total, "cost_usd": format_usd(cost), "unpriced": unpriced})
    figures = [*FIGURES, *(["unpriced"] if any(map(_unpriced, rows)) else [])]
    return render(shown, [*by, *figures], right=frozenset(figures))


def usage_csv(rows: Sequence[dict[str, Any]], by: Sequence[str]) -> str:
    """The JSON's columns as CSV, with a header; prices, which are lists, are left out."""
    columns = [*by, *FIGURES, *DOUBTS]
    money = [name for name in columns if name.endswith("_usd")]
    lines = ({**row, **{name: _dollars(row[name]) for name in money if name in row}} for row in rows)
    return as_csv(columns, ({name: line.get(name) for name in columns} for line in lines))


def _unpriced(row: Mapping[str, Any]) -> int:
    """Requests; none in what a gateway of an earlier version tells."""
    number: int = row.get("unpriced_requests", 0)
    return number


def _dollars(number: float) -> str:
    return format_usd(round(number * 1e9))


def reconciliation_table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of ``usage --reconcile`` for eyes."""
    return render([_balances_as_text(row) for row in rows], COLUMNS, right=frozenset(MONEY))


def reconciliation_csv(rows: Sequence[dict[str, Any]]) -> str:
    """The same columns as CSV, with a header."""
    return as_csv(COLUMNS, map(_balances_as_text, rows))


_RUN_FIRST = "=+\\-@\uff1d\uff0b\uff0d\uff20\u2212\ufe62\ufe63\ufe66\ufe6b"
"""What begins a formula in a spreadsheet, in the full-width and small forms as well."""

_RUN = re.compile(rf"(^|[;,|\t])([\s\"'`]*)(?=[{_RUN_FIRST}])")
"""Where a formula could begin: in the cell, or behind what separates cells in another country's spreadsheet."""

_NUMBER = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")


def harmless(cell: object) -> object:
    """A cell that no spreadsheet runs: a text that could be a formula, also after blanks or quotes, gets an apostrophe
    before it, and what cannot be printed becomes a question mark. Numbers stay numbers.
    """
    if not isinstance(cell, str) or _NUMBER.fullmatch(cell):
        return cell
    text = cell if cell.isprintable() else "".join(char if char.isprintable() else "?" for char in cell)
    return _RUN.sub(r"\1'\2", text)


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV, with a header; what a row does not have is empty. No cell is a formula, however things are named."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: harmless(cell) for name, cell in row.items()} for row in rows)
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
