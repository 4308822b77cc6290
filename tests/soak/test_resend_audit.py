"""The audit of re-sent orders finds every second purchase, and nothing where each was bought once."""

from __future__ import annotations

from typing import Any

import pytest

from soak.audit import Attempt, Line, Row
from soak.resend_audit import Bought, audit_orders, order_of

API = "http://api"
PRICE = 20_000_000

BILLED = Line("soak-0000001", API, PRICE)
SERVED = Attempt(API, "ok", PRICE, "billed")
DOUBT = Attempt(API, "cf_524", PRICE, "unknown")


def row(number: int, *attempts: Attempt, **fields: Any) -> Row:
    """The row of a try of the one order: settled, at what its attempts cost."""
    usual = {
        "id": f"row-{number}",
        "marker": f"soak-0000001-{number}",
        "key": "ann",
        "state": "settled",
        "confidence": "measured",
        "charged": sum(attempt.cost for attempt in attempts if attempt.reason == "billed"),
        "reserved": PRICE,
        "attempts": attempts,
    }
    return Row(**{**usual, **fields})


def order(**fields: Any) -> Bought:
    return Bought(**{"marker": "soak-0000001", "kind": "Flux", "pieces": 1, "tries": 2, "ended": 200, **fields})


PAID = row(0, SERVED)
JOINED = row(1, paid_by="row-0")
UNKNOWN = row(0, state="unknown", confidence="unknown")
CORRECTED = row(0, state="unknown", confidence="unknown", corrected=("settled", PRICE))
RELEASED = row(0, state="released")
TOLD = order(told_unknown=1)


@pytest.mark.parametrize(
    ("rows", "lines", "bought"),
    [
        ([PAID], [BILLED], order(tries=1)),
        ([PAID, JOINED], [BILLED], order()),
        ([RELEASED, row(1, SERVED)], [BILLED], order()),
        ([CORRECTED, JOINED], [BILLED], order()),
        ([UNKNOWN, row(1, SERVED)], [BILLED, BILLED], TOLD),
        ([UNKNOWN, row(1, SERVED)], [BILLED], TOLD),
        ([UNKNOWN], [BILLED], order(told_unknown=1, ended=504)),
        ([UNKNOWN], [], order(told_unknown=1, ended=504)),
        ([row(0, SERVED, SERVED)], [BILLED, BILLED], order(pieces=2)),
        ([row(0, DOUBT, SERVED)], [BILLED, BILLED], order()),
    ],
)
def test_bought_once_or_unknown_first(rows: list[Row], lines: list[Line], bought: Bought) -> None:
    assert audit_orders(rows, lines, [bought]).problems == []


@pytest.mark.parametrize(
    ("rows", "lines", "bought", "problem"),
    [
        ([PAID, row(1, SERVED)], [BILLED, BILLED], order(), "billed 2 times for 1, and 0 of its rows are unknown"),
        ([PAID, row(1, SERVED)], [BILLED, BILLED], order(), "2 of its rows are charged"),
        ([PAID, JOINED], [BILLED, BILLED], order(), "billed 2 times for 1"),
        ([UNKNOWN, row(1, SERVED)], [BILLED] * 3, TOLD, "billed 3 times for 1, and 1 of its rows are unknown"),
        ([PAID, row(1, SERVED, paid_by="row-0")], [BILLED], order(), "was paid by row-0, and says 20000000"),
        ([PAID, row(1, paid_by="row-9")], [BILLED], order(), "was paid by row-9"),
        ([PAID], [], order(), "charged 20000000, billed 0"),
        ([RELEASED], [BILLED], order(), "charged 0, billed 20000000"),
        ([RELEASED], [], order(), "it was answered, and no row is charged"),
        ([], [], order(), "it was answered, and no row is charged"),
        ([PAID], [BILLED], order(ended=502), "it ended with 502"),
        ([UNKNOWN], [BILLED], order(ended=504), "it ended with 504"),
        ([PAID], [BILLED], order(ended=0), "it ended with 0"),
        ([row(0, state="open")], [BILLED], TOLD, "was never closed"),
    ],
)
def test_anything_else_is_found(rows: list[Row], lines: list[Line], bought: Bought, problem: str) -> None:
    assert [found for found in audit_orders(rows, lines, [bought]).problems if problem in found]


def test_what_was_never_ordered_is_found() -> None:
    assert "never ordered" in audit_orders([], [BILLED], []).problems[0]
    assert "never ordered" in audit_orders([PAID], [], []).problems[0]


def test_a_try_names_its_order() -> None:
    assert order_of("soak-0000001-12") == "soak-0000001"


def test_what_happened_is_counted() -> None:
    counts = audit_orders([UNKNOWN, row(1, SERVED), row(2, paid_by="row-1")], [BILLED, BILLED], [TOLD]).counts
    assert counts["orders billed more than once"] == counts["orders told unknown"] == counts["rows that joined"] == 1
    assert counts["rows unknown"] == counts["orders answered"] == 1
