"""The audit finds every way in which the books can be wrong, and nothing where they are right."""

from __future__ import annotations

from typing import Any

import pytest

from soak.audit import Answer, Attempt, Findings, Line, Row, audit, held, spent

API, PROXY = "http://api", "http://proxy"
PRICE = 20_000_000

SERVED = Attempt(API, "ok", PRICE, "billed")
LOST = Attempt(API, "cf_524", PRICE, "suspected_duplicate")
SERVED_BY_PROXY = Attempt(PROXY, "ok", PRICE, "billed")
BILLED, BILLED_BY_PROXY = Line("soak-1", API, PRICE), Line("soak-1", PROXY, PRICE)


def row(*attempts: Attempt, **fields: Any) -> Row:
    """A settled row of ``soak-1`` that charges what its billed attempts cost."""
    usual = {
        "id": "row-1",
        "marker": "soak-1",
        "key": "ann",
        "state": "settled",
        "confidence": "measured",
        "charged": sum(attempt.cost for attempt in attempts if attempt.reason == "billed"),
        "reserved": PRICE,
        "attempts": attempts,
    }
    return Row(**{**usual, **fields})


def looked(
    rows: list[Row], lines: list[Line] | None = None, answer: Answer | None = None, reached: str = ""
) -> Findings:
    return audit(rows, lines or [], [answer] if answer else [], {reached} if reached else set())


RELEASED = row(Attempt(API, "rejected", 0, "billed"), state="released")
KILLED = row(state="unknown", confidence="unknown")
IN_DOUBT = row(LOST, state="unknown", confidence="unknown")
GUESSED = row(SERVED, confidence="estimated")
CORRECTED = row(state="unknown", confidence="unknown", corrected=("settled", PRICE))
CORRECTED_TWICE = row(state="unknown", confidence="unknown", corrected=("settled", 2 * PRICE))
GIVEN_BACK = row(state="unknown", confidence="unknown", corrected=("released", 0))


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        ([row(SERVED)], [BILLED]),
        ([row(Attempt(API, "ok", 0, "billed"))], []),
        ([row(LOST, SERVED_BY_PROXY)], [BILLED, BILLED_BY_PROXY]),
        ([row(LOST, SERVED_BY_PROXY)], [BILLED_BY_PROXY]),
        ([row(Attempt(API, "sse_cut_early", 5, "unknown"), SERVED)], [BILLED, Line("soak-1", API, 7)]),
        ([row(SERVED, SERVED)], [BILLED, BILLED]),
        ([GUESSED], []),
        ([GUESSED], [Line("soak-1", API, PRICE + 1)]),
        ([RELEASED], []),
        ([KILLED], []),
        ([KILLED], [BILLED, BILLED_BY_PROXY]),
        ([IN_DOUBT], [BILLED]),
        ([CORRECTED], [BILLED]),
        ([CORRECTED_TWICE], [BILLED, BILLED]),
        ([GIVEN_BACK], []),
    ],
)
def test_books_that_are_right(rows: list[Row], lines: list[Line]) -> None:
    assert looked(rows, lines, reached="soak-1").problems == []


@pytest.mark.parametrize(
    ("rows", "lines", "told"),
    [
        ([], [BILLED], "soak-1 reached an upstream and was billed 20000000 at http://api without a row"),
        ([row(SERVED), row(SERVED, id="row-2")], [BILLED], "soak-1 has 2 rows: row-1, row-2"),
        ([row(SERVED)], [], "its attempt at http://api cost 20000000, billed was nothing"),
        ([row(SERVED)], [Line("soak-1", API, PRICE + 1)], "billed was 20000001 at http://api"),
        ([row(SERVED)], [BILLED_BY_PROXY], "billed was 20000000 at http://proxy"),
        ([row(SERVED)], [Line("soak-1", API, None)], "billed was None at http://api"),
        ([row(SERVED)], [BILLED, BILLED], "billed 20000000 at http://api, which no attempt tells of"),
        ([row(LOST, SERVED_BY_PROXY)], [BILLED, BILLED, BILLED_BY_PROXY], "which no attempt tells of"),
        ([row(SERVED, SERVED)], [BILLED], "billed was nothing"),
        ([row(SERVED, charged=1)], [BILLED], "charged 1, but its billed attempts cost 20000000"),
        ([row(Attempt(API, "upstream_5xx", 0, "billed"), SERVED_BY_PROXY)], [BILLED, BILLED_BY_PROXY], "no attempt"),
        ([GUESSED], [BILLED, BILLED], "which no attempt tells of"),
        ([RELEASED], [BILLED], "(row row-1, released): it was billed 20000000 at http://api"),
        ([IN_DOUBT], [BILLED_BY_PROXY], "which no attempt tells of"),
        ([row(state="open")], [], "it was never closed"),
        ([CORRECTED], [], "corrected to 20000000, but billed nothing"),
        ([CORRECTED], [BILLED, BILLED], "corrected to 20000000, but billed 20000000 at http://api, 20000000"),
        ([GIVEN_BACK], [BILLED], "corrected to 0, but billed 20000000"),
    ],
)
def test_books_that_are_wrong(rows: list[Row], lines: list[Line], told: str) -> None:
    [problem] = looked(rows, lines, reached="soak-1" if rows else "").problems
    assert problem.startswith("soak-1")
    assert told in problem


def test_a_request_that_was_sent_without_an_intent() -> None:
    assert looked([], reached="soak-1").problems == ["soak-1 reached an upstream without a row"]


def test_what_a_killed_process_had_bought_twice_is_nobodys_fault() -> None:
    lines = [BILLED, BILLED_BY_PROXY]
    assert audit([CORRECTED], lines, [], [], lost={"soak-1"}).problems == []
    assert audit([CORRECTED], [Line("soak-1", API, 1)], [], [], lost={"soak-1"}).problems != []


ANSWERED = Answer("soak-1", 200)


@pytest.mark.parametrize(
    ("answer", "rows", "lines"),
    [
        (ANSWERED, [row(SERVED)], [BILLED]),
        (Answer("soak-1", 200, PRICE), [row(SERVED)], [BILLED]),
        (Answer("soak-1", 200, PRICE), [KILLED], [BILLED]),
        (Answer("soak-1", 200, task=True), [RELEASED], []),
        (Answer("soak-1", 429), [], []),
        (Answer("soak-1", 502), [RELEASED], []),
    ],
)
def test_clients_that_were_told_what_the_books_say(answer: Answer, rows: list[Row], lines: list[Line]) -> None:
    assert looked(rows, lines, answer).problems == []


@pytest.mark.parametrize(
    ("answer", "rows", "lines", "told"),
    [
        (ANSWERED, [], [], "soak-1: its answer was complete, and there is no row"),
        (ANSWERED, [RELEASED], [], "soak-1 (row row-1, released): its answer was complete"),
        (
            Answer("soak-1", 200, 1),
            [row(SERVED)],
            [BILLED],
            "soak-1 (row row-1): its client was told 1, the row says 20000000",
        ),
    ],
)
def test_clients_that_were_told_otherwise(answer: Answer, rows: list[Row], lines: list[Line], told: str) -> None:
    assert looked(rows, lines, answer).problems == [told]


def test_what_is_counted() -> None:
    rows = [
        row(LOST, SERVED_BY_PROXY, id="a", marker="1"),
        row(SERVED, id="b", marker="2", confidence="estimated"),
        row(id="c", marker="3", state="unknown", confidence="unknown", reserved=7),
        row(id="d", marker="4", state="unknown", confidence="unknown", corrected=("settled", 5)),
        row(id="e", marker="5", state="released"),
    ]
    lines = [Line("1", PROXY, PRICE), Line("3", API, 1), Line("4", API, 5)]
    counts = looked(rows, lines).counts
    assert counts["settled, measured"] == 2
    assert counts["suspected duplicates"] == counts["settled, estimated"] == counts["released"] == 1
    assert counts["unknown"] == counts["unknown, and billed"] == counts["corrected"] == 1
    assert spent(rows) == {"ann": 2 * PRICE + 5}
    assert held(rows) == {"ann": 7}
