"""Adding up what was used: from the roll-up for whole hours and days, from the rows for what is left at the edges.

Blocks; the connection is one of ``schema.reading``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from operator import add
from typing import Any

from gateway.stores.spans import NS, Piece, split

FIGURES = ("requests", "input_tokens", "cached_input_tokens", "output_tokens", "images", "charged", "upstream_cost")
"""What is added up, in the order of every tuple of sums."""

Group = tuple[Any, ...]
Sums = tuple[int, ...]


def add_up(
    store: sqlite3.Connection,
    start_ns: int,
    end_ns: int,
    columns: Sequence[str],
    *,
    pruned_ns: int,
    figures: Sequence[str] = FIGURES,
) -> dict[Group, Sums]:
    """The sums of what came in ``start_ns <= at < end_ns``, by the values of ``columns``.

    ``columns``, ``figures``: SQL of our own; the first figure is ``requests``.
    ``pruned_ns``: see ``spans.split``. Groups without a single request are left out.
    """
    totals: dict[Group, Sums] = {}
    for piece in split(start_ns, end_ns, pruned_ns):
        for group, sums in _sums(store, piece, columns, figures):
            known = totals.get(group)
            totals[group] = sums if known is None else tuple(map(add, known, sums))
    return {group: sums for group, sums in totals.items() if sums[0]}


def pruned_before(store: sqlite3.Connection) -> int:
    """Unix nanoseconds before which rows may be gone, and only sums are left; 0 if nothing was ever pruned."""
    moment: int = store.execute("SELECT coalesce(max(before_ns), 0) FROM prunes").fetchone()[0]
    return moment


def _sums(
    store: sqlite3.Connection, piece: Piece, columns: Sequence[str], figures: Sequence[str]
) -> Iterator[tuple[Group, Sums]]:
    source, bounds = "booked WHERE at_ns >= ? AND at_ns < ?", [piece.start, piece.end]
    if piece.span:
        source = f"spent WHERE span = {piece.span} AND start >= ? AND start < ?"
        bounds = [piece.start // NS, piece.end // NS]
    summed = ", ".join(f"sum({figure})" for figure in figures)
    grouping = f"GROUP BY {', '.join(columns)}" if columns else ""
    for row in store.execute(
        f"SELECT {', '.join((*columns, summed))} FROM {source} {grouping} HAVING count(*) > 0",  # noqa: S608
        bounds,
    ):
        yield row[: len(columns)], row[len(columns) :]
