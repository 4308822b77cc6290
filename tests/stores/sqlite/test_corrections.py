"""What was unknown and is known now: corrections count instead of what they correct, once, and free what was held."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import GatewayFault
from gateway.core.pricing.budgets import UNKNOWN_HELD_NS
from gateway.stores.base import Ledger
from gateway.stores.records import AttemptRecord, Correction, Held, NotUnknown, TaskRecord, UnknownExchange, UsageRow
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.queries import usage, verify

from .books import StoppedClock, intent, nothing_pending, released, rows, settlement, tamper, task

NOW = StoppedClock().wall_ns()
EVER = 2**63 - 1


def correction(identity: str, **changes: Any) -> Correction:
    fields: dict[str, Any] = {
        "at_ns": NOW + 5,
        "state": "settled",
        "charged": 15,
        "upstream_cost": 14,
        "images": 2,
        "reason": "task completed",
    }
    return Correction(identity, **(fields | changes))


def unknown(identity: str, **changes: Any) -> Any:
    plain = {"state": "unknown", "charged": 0, "confidence": "unknown", "status": 504}
    return settlement(identity, **(plain | changes))


def used(path: Path, *by: str) -> list[UsageRow]:
    return usage(path, since_ns=0, until_ns=EVER, by=by, time_zone=UTC)


@pytest.fixture
async def books(ledger: SQLiteLedger) -> SQLiteLedger:
    """One settled, one released, one open, and two of which nobody knows what became of them."""
    for identity in ("settled", "released", "open", "lost", "found"):
        await ledger.reserve(intent(identity))
    ledger.settle(settlement("settled"))
    ledger.settle(released("released"))
    ledger.settle(unknown("lost"))
    ledger.settle(unknown("found", upstream=None, attempts=(), upstream_cost=0))
    await nothing_pending(ledger)
    return ledger


async def test_a_correction_takes_the_place_of_what_was_settled(books: SQLiteLedger, path: Path):
    ledger: Ledger = books
    assert await ledger.correct(correction("found", upstream="piapi", credential="first"))
    counted = verify(path)
    assert (counted.settled, counted.released, counted.unknown, counted.open) == (2, 1, 1, 1)
    assert (counted.corrected, counted.problems) == (1, [])
    assert used(path, "upstream") == [UsageRow({"upstream": "piapi"}, 3, 30, 12, 15, 2, 55, unknown_requests=1)]
    assert rows(path, "SELECT state, charged FROM settlements WHERE id = 'found'") == [("unknown", 0)], "as written"


async def test_what_turns_out_never_to_have_run_is_not_counted_any_more(books: SQLiteLedger, path: Path):
    assert await books.correct(correction("lost", state="released", charged=0, upstream_cost=0, images=0))
    counted = verify(path)
    assert (counted.settled, counted.released, counted.unknown, counted.problems) == (1, 2, 1, [])
    assert [row.requests for row in used(path)] == [2]


async def test_the_first_correction_counts(books: SQLiteLedger, path: Path):
    assert await books.correct(correction("lost"))
    assert not await books.correct(correction("lost", charged=99))
    assert rows(path, "SELECT id, charged FROM corrections") == [("lost", 15)]
    assert used(path)[0].cost_nano == 40 + 15
    assert verify(path).problems == []


@pytest.mark.parametrize(
    ("identity", "why"),
    [
        ("settled", "is settled; only"),
        ("released", "is released; only"),
        ("open", "not settled yet"),
        ("?", "never seen"),
    ],
)
async def test_nothing_else_can_be_corrected(books: SQLiteLedger, path: Path, identity: str, why: str):
    with pytest.raises(NotUnknown, match=why):
        await books.correct(correction(identity))
    await books.close()
    with closing(sqlite3.connect(path)) as owner, pytest.raises(sqlite3.IntegrityError, match="unknown outcome"):
        owner.execute(
            "INSERT INTO corrections VALUES (?, 1, 'settled', 1, 1, 0, NULL, NULL, 'by hand', NULL, NULL)",
            (identity,),
        )
    assert rows(path, "SELECT * FROM corrections") == []


async def test_a_settlement_handed_over_before_is_known_to_the_correction(books: SQLiteLedger):
    books.settle(unknown("open"))
    assert await books.correct(correction("open"))


@pytest.mark.parametrize(
    "changes", [{"charged": -1}, {"charged": 2**63}, {"state": "released"}, {"state": "unknown"}, {"reason": "\ud800"}]
)
async def test_a_correction_that_makes_no_sense_is_refused(books: SQLiteLedger, path: Path, changes: dict[str, Any]):
    with pytest.raises(ValueError, match="the correction of lost fits no row"):
        await books.correct(correction("lost", **changes))
    assert books.usable()
    assert rows(path, "SELECT * FROM corrections") == []
    assert await books.correct(correction("lost")), "and leaves the way free for a good one"


async def test_a_store_that_cannot_be_written_says_so(books: SQLiteLedger):
    await books.close()
    with pytest.raises(GatewayFault) as refused:
        await books.correct(correction("lost"))
    assert refused.value.code == "ledger_unavailable"


@pytest.mark.parametrize("statement", ["UPDATE corrections SET charged = 0", "DELETE FROM corrections"])
async def test_corrections_are_append_only(books: SQLiteLedger, path: Path, statement: str):
    await books.correct(correction("lost"))
    await books.close()
    with closing(sqlite3.connect(path)) as owner, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        owner.execute(statement)


@pytest.mark.parametrize(
    ("planted", "problem"),
    [
        ("UPDATE settlements SET state = 'settled' WHERE id = 'lost'", "correction lost is of an exchange that is not"),
        ("UPDATE corrections SET charged = -5", "correction lost has an amount or a count"),
        ("UPDATE corrections SET state = 'released'", "correction lost has an amount or a count"),
        ("UPDATE corrections SET charged = 16", "the sum of key alice and model gpt-4o for the hour"),
        ("UPDATE spent SET charged = 54 WHERE span = 86400", "the sum of key alice and model gpt-4o for the day"),
    ],
)
async def test_what_was_planted_is_found(books: SQLiteLedger, path: Path, planted: str, problem: str):
    await books.correct(correction("lost", upstream="piapi"))
    await books.close()
    assert verify(path).problems == []
    tamper(path, planted)
    found = [each for each in verify(path).problems if not each.startswith("SQLite")]
    assert found
    assert found[0].startswith(problem)


async def test_what_is_unknown_can_be_asked_for_with_its_tasks(books: SQLiteLedger):
    await books.record_task(task("task-1", "lost", at_ns=NOW + 1))
    await books.record_task(task("task-2", "lost", at_ns=NOW + 2))
    await books.reserve(intent("told", at_ns=NOW + 1, team=None, key="bob"))
    told = AttemptRecord("piapi", "https://a", "second", "task_unknown", 2, 30, "unknown", task_id="task-3")
    books.settle(unknown("told", attempts=(told, told)))
    await nothing_pending(books)
    assert await books.unknown_exchanges(0) == [
        UnknownExchange("found", NOW, "alice", "growth", "gpt-4o", 100, (), untold=1),
        UnknownExchange(
            "lost", NOW, "alice", "growth", "gpt-4o", 100,
            (task("task-1", "lost", at_ns=NOW + 1), task("task-2", "lost", at_ns=NOW + 2)), other_cost=30,
        ),
        UnknownExchange(
            "told", NOW + 1, "bob", None, "gpt-4o", 100,
            (TaskRecord("task-3", "piapi", "second", "told", "bob", "gpt-4o", NOW + 1),),
        ),
    ]  # fmt: skip
    await books.correct(correction("lost"))
    assert [each.id for each in await books.unknown_exchanges(NOW)] == ["found", "told"]
    assert [each.id for each in await books.unknown_exchanges(NOW + 1)] == ["told"]


async def test_what_is_open_or_unknown_holds_its_reservation_for_a_day(books: SQLiteLedger):
    await books.reserve(intent("later", at_ns=NOW + 1, key="bob", team=None, reserved=7))
    alice = [
        Held(identity, NOW, "alice", "growth", 100, "gpt-4o", identity == "open", "chat", f"req-{identity}", cut)
        for identity, cut in (("found", True), ("lost", False), ("open", False))
    ]
    bob = Held("later", NOW + 1, "bob", None, 7, "gpt-4o", True, "chat", "req-later")
    assert await books.held(NOW) == [*alice, bob]
    assert await books.held(NOW + UNKNOWN_HELD_NS - 1) == [*alice, bob]
    assert await books.held(NOW + UNKNOWN_HELD_NS) == [bob]
    await books.correct(correction("lost"))
    books.settle(settlement("open"))
    await nothing_pending(books)
    assert [each.id for each in await books.held(NOW)] == ["found", "later"]


async def test_charges_since_a_moment_by_key_and_team(books: SQLiteLedger):
    hour = 3_600 * 10**9
    await books.correct(correction("lost"))
    for number, (key, team) in enumerate([("bob", None), ("alice", "other"), ("bob", None)], start=1):
        await books.reserve(intent(f"later{number}", at_ns=NOW + number * hour, key=key, team=team))
        books.settle(settlement(f"later{number}", charged=number))
    await nothing_pending(books)
    assert await books.charged_since(NOW) == {
        ("alice", "growth", "gpt-4o"): 55,
        ("alice", "other", "gpt-4o"): 2,
        ("bob", None, "gpt-4o"): 4,
    }
    later = {("alice", "other", "gpt-4o"): 2, ("bob", None, "gpt-4o"): 4}
    assert await books.charged_since(NOW + 1) == later
    assert await books.charged_since(NOW + 3 * hour) == {("bob", None, "gpt-4o"): 3}
    assert await books.charged_since(NOW + 4 * hour) == {}


async def test_a_store_that_cannot_be_read_says_so(books: SQLiteLedger, path: Path, caplog):
    await books.close()
    path.rename(path.with_name("elsewhere.db"))  # noqa: ASYNC240 - nothing else runs on the loop
    for asking in (books.unknown_exchanges, books.held, books.charged_since):
        with pytest.raises(GatewayFault) as refused:
            await asking(0)
        assert refused.value.code == "ledger_unavailable"
    assert caplog.text.count("cannot be looked up") == 3
