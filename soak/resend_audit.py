"""Orders that clients sent again and again, held against the bill: each is bought once. No I/O: sentences come out.

The rules, for every order by its marker, of which each try has a request id of its own (``soak-0000001-2``):

- It is billed as often as it has pieces, and not once more for each of its tries: only a row that says ``unknown``
  allows for another purchase, as its client was told so and asked again. Nothing else makes a second one right.
- At most one of its rows is charged, but for such ones; a row that names who paid for it (``paid_by``) is charged
  nothing, has no attempts, and the row that it names is one of the same order.
- What was charged where nothing is unknown or in doubt is what the bill has.
- A client that was answered well has an order with a row that was charged, or is unknown; a client that gave up was
  told that the outcome is unknown. No client ends in another way.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from soak.audit import DOUBTFUL, Findings, Line, Row


@dataclass(slots=True)
class Bought:
    """What came of an order, as its client has it. ``pieces``: how many lines of the bill it makes, bought once.

    ``tries``: requests sent. ``told_unknown``: how often it was told that the outcome is unknown. ``ended``: the status
    that it ended with; 0 if it has not.
    """

    marker: str
    kind: str
    pieces: int
    tries: int = 0
    told_unknown: int = 0
    ended: int = 0


def order_of(request_id: str) -> str:
    """The marker of the order that a request was a try of."""
    return request_id.rpartition("-")[0]


def audit_orders(rows: Iterable[Row], lines: Iterable[Line], orders: Iterable[Bought]) -> Findings:
    """Everything at once."""
    found = Findings()
    by_order: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_order[order_of(row.marker)].append(row)
    billed: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        billed[line.marker].append(line)
    known = {order.marker: order for order in orders}
    for marker in sorted({*billed, *by_order} - set(known)):
        found.problems.append(f"{marker} was never ordered, and has a row or a line of the bill")
    for marker, order in known.items():
        found.problems += _wrong(order, by_order.get(marker, []), billed.get(marker, []))
    _count(found.counts, by_order, billed, known)
    return found


def _wrong(order: Bought, rows: Sequence[Row], lines: Sequence[Line]) -> Iterator[str]:
    name = f"{order.marker} ({order.kind}, {order.tries} tries, told unknown {order.told_unknown} times)"
    paying = [row for row in rows if row.paid_by is None]
    unknown = [row for row in paying if row.state in ("unknown", "open")]
    doubts = sum(attempt.reason in DOUBTFUL for row in paying if row.state == "settled" for attempt in row.attempts)
    if len(lines) > order.pieces * (1 + len(unknown)) + doubts:
        yield f"{name}: billed {len(lines)} times for {order.pieces}, and {len(unknown)} of its rows are unknown"
    charged = [row for row in paying if row.owed]
    if len(charged) > 1 + len(unknown):
        yield f"{name}: {len(charged)} of its rows are charged: {', '.join(row.marker for row in charged)}"
    if not unknown and not doubts and all(row.confidence == "measured" for row in charged):
        owed, sold = sum(row.owed for row in charged), sum(line.amount or 0 for line in lines)
        if owed != sold:
            yield f"{name}: charged {owed}, billed {sold}"
    yield from _wrong_rows(name, rows, {row.id for row in paying})
    if order.ended == 200:
        if not charged and not unknown:
            yield f"{name}: it was answered, and no row is charged"
    elif not (order.ended == 504 and order.told_unknown):
        yield f"{name}: it ended with {order.ended}"


def _wrong_rows(name: str, rows: Sequence[Row], paying: Set[str]) -> Iterator[str]:
    for row in rows:
        if row.paid_by is not None and (row.owed or row.attempts or row.paid_by not in paying):
            yield f"{name}: the row {row.marker} was paid by {row.paid_by}, and says {row.owed}, {row.attempts}"
        if row.state == "open":
            yield f"{name}: the row {row.marker} was never closed"


def _count(
    counts: Counter[str],
    rows: Mapping[str, Sequence[Row]],
    billed: Mapping[str, Sequence[Line]],
    orders: Mapping[str, Bought],
) -> None:
    counts["orders"] = len(orders)
    counts["lines of the bill"] = sum(map(len, billed.values()))
    counts["rows"] = sum(map(len, rows.values()))
    for order in orders.values():
        counts["tries"] += order.tries
        counts["orders sent again"] += order.tries > 1
        counts["orders told unknown"] += order.told_unknown > 0
        counts["orders answered"] += order.ended == 200
        counts["orders billed more than once"] += len(billed.get(order.marker, ())) > order.pieces
    for row in (row for same in rows.values() for row in same):
        counts["rows that joined"] += row.paid_by is not None
        counts["rows unknown"] += row.paid_by is None and row.state == "unknown"
        counts["rows corrected"] += row.corrected is not None
