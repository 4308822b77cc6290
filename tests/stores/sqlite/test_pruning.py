"""Old rows leave, nothing else does: not what is open, unknown or young, and not for anybody who just deletes."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC
from pathlib import Path

import pytest

from gateway.core.errors import GatewayFault
from gateway.stores.records import Correction, Pruned
from gateway.stores.sqlite import pruning
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.pruning import prunable
from gateway.stores.sqlite.queries import usage, verify

from .books import StoppedClock, intent, nothing_pending, released, rows, settlement, task

HOUR_NS = 3_600 * 10**9
NOW = StoppedClock().wall_ns()
HORIZON = NOW - NOW % HOUR_NS
LATER = HORIZON + 5 * HOUR_NS
"""The books are pruned some hours after the requests came in: the old ones just before HORIZON."""

TABLES = ("intents", "settlements", "corrections", "tasks")


async def exchange(ledger: SQLiteLedger, identity: str, at_ns: int, ending: str) -> None:
    await ledger.reserve(intent(identity, at_ns=at_ns))
    if ending == "released":
        ledger.settle(released(identity))
    elif ending != "open":
        ledger.settle(settlement(identity, state="settled" if ending == "settled" else "unknown"))
    await ledger.record_task(task(f"task-{identity}", identity))
    if ending == "corrected":
        await ledger.correct(Correction(identity, NOW, "settled", 7, 30, 1, "task completed"))


@pytest.fixture
async def store(ledger: SQLiteLedger, path: Path) -> Path:
    for when, at_ns in (("old", HORIZON - 1), ("young", HORIZON)):
        for ending in ("settled", "released", "unknown", "corrected", "open"):
            await exchange(ledger, f"{when}-{ending}", at_ns, ending)
    await nothing_pending(ledger)
    return path


async def test_what_would_leave_can_be_counted_first(store: Path, ledger: SQLiteLedger):
    assert prunable(store, HORIZON - HOUR_NS) == Pruned(HORIZON - HOUR_NS)
    planned = prunable(store, HORIZON)
    assert planned == Pruned(HORIZON, settled=2, released=1)
    assert rows(store, "SELECT count(*) FROM intents") == [10], "nothing left by looking"
    assert await ledger.prune(HORIZON, LATER) == planned
    assert prunable(store, HORIZON) == Pruned(HORIZON)


async def test_what_is_old_and_over_leaves_with_all_that_belongs_to_it(store: Path, ledger: SQLiteLedger):
    everything = usage(store, since_ns=0, until_ns=LATER, by=["key", "day"], time_zone=UTC)
    before = verify(store)
    assert await ledger.prune(HORIZON + HOUR_NS - 1, LATER) == Pruned(HORIZON, settled=2, released=1)
    young = {f"young-{ending}" for ending in ("settled", "released", "unknown", "corrected", "open")}
    assert set(rows(store, "SELECT id FROM intents")) == {"old-unknown", "old-open", *young}
    assert set(rows(store, "SELECT id FROM settlements")) == {"old-unknown", *young - {"young-open"}}
    assert rows(store, "SELECT id FROM corrections") == ["young-corrected"]
    assert set(rows(store, "SELECT exchange FROM tasks")) == {"old-unknown", "old-open", *young}
    assert usage(store, since_ns=0, until_ns=LATER, by=["key", "day"], time_zone=UTC) == everything
    books = verify(store)
    assert books.problems == before.problems == []
    assert (books.settled, books.released, books.unknown, books.open) == (2, 1, 2, 2)
    assert books.pruned == 3
    assert [each.id for each in await ledger.unknown_exchanges(0)] == ["old-unknown", "young-unknown"]


async def test_what_was_unknown_can_still_be_corrected_and_then_leave(store: Path, ledger: SQLiteLedger):
    await ledger.prune(HORIZON, LATER)
    await ledger.correct(Correction("old-unknown", NOW, "settled", 9, 30, 0, "found on the bill"))
    assert verify(store).problems == []
    total = usage(store, since_ns=0, until_ns=LATER, by=[], time_zone=UTC)
    assert total[0].cost_nano == 2 * (40 + 7) + 9 + 40
    assert await ledger.prune(HORIZON, LATER) == Pruned(HORIZON, settled=1)
    assert usage(store, since_ns=0, until_ns=LATER, by=[], time_zone=UTC) == total
    assert verify(store).problems == []


async def test_pruning_again_finds_nothing_and_settling_late_still_counts(store: Path, ledger: SQLiteLedger):
    await ledger.prune(HORIZON, LATER)
    assert await ledger.prune(HORIZON, LATER) == Pruned(HORIZON)
    ledger.settle(settlement("old-open", charged=1_000))
    await nothing_pending(ledger)
    assert verify(store).problems == []
    old = usage(store, since_ns=0, until_ns=HORIZON, by=["key"], time_zone=UTC)
    assert old[0].cost_nano == 40 + 40 + 7 + 1_000


async def test_a_period_that_begins_among_pruned_rows_begins_with_its_hour(store: Path, ledger: SQLiteLedger):
    def requests(since_ns: int, until_ns: int) -> int:
        return sum(row.requests for row in usage(store, since_ns=since_ns, until_ns=until_ns, by=[], time_zone=UTC))

    assert (requests(0, HORIZON - 1), requests(HORIZON - 1, LATER)) == (0, 6)
    await ledger.prune(HORIZON, LATER)
    assert (requests(0, HORIZON - 1), requests(HORIZON - 1, LATER)) == (0, 6), "adjoining periods still adjoin"
    assert (requests(0, HORIZON), requests(HORIZON, LATER)) == (3, 3)


async def test_the_future_cannot_be_pruned(store: Path, ledger: SQLiteLedger):
    assert await ledger.prune(2**62, HORIZON) == Pruned(HORIZON, settled=2, released=1)
    assert await ledger.prune(-5, LATER) == Pruned(0)


async def test_many_rows_leave_in_small_steps_between_which_requests_are_served(
    ledger: SQLiteLedger, path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pruning, "BATCH", 7)
    for number in range(100):
        await ledger.reserve(intent(f"old{number}", at_ns=HORIZON - 100 + number // 3))  # several of one moment
        ledger.settle(settlement(f"old{number}"))
    await nothing_pending(ledger)
    pruned = asyncio.get_running_loop().create_task(ledger.prune(HORIZON, LATER))
    served_meanwhile = 0
    while not pruned.done():
        await ledger.reserve(intent(f"new{served_meanwhile}"))
        ledger.settle(settlement(f"new{served_meanwhile}"))
        served_meanwhile += 1
    assert await pruned == Pruned(HORIZON, settled=100)
    assert served_meanwhile >= 14
    assert rows(path, "SELECT count(*), max(settled) FROM prunes") == [(15, 7)]
    await nothing_pending(ledger)
    assert verify(path).problems == []
    assert verify(path).settled == served_meanwhile


async def test_pruning_that_is_cut_short_leaves_books_that_verify_and_can_go_on(
    store: Path, ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pruning, "BATCH", 1)
    real, steps = pruning.prune_batch, iter("12")

    def cut_short(*arguments, **named):
        if next(steps, None) is None:
            raise sqlite3.OperationalError("database or disk is full")
        return real(*arguments, **named)

    monkeypatch.setattr(pruning, "prune_batch", cut_short)
    with pytest.raises(GatewayFault):
        await ledger.prune(HORIZON, LATER)
    assert verify(store).problems == []
    assert verify(store).pruned == 2
    monkeypatch.setattr(pruning, "prune_batch", real)
    while not ledger.usable():
        await asyncio.sleep(0.01)
    pruned = await ledger.prune(HORIZON, LATER)
    assert pruned.settled + pruned.released == 1
    assert verify(store).problems == []


@pytest.mark.parametrize("table", TABLES)
async def test_nothing_can_be_deleted_without_pruning_it(store: Path, ledger: SQLiteLedger, table: str):
    await ledger.prune(HORIZON - HOUR_NS, LATER)
    await ledger.close()
    with closing(sqlite3.connect(store)) as owner, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        owner.execute(f"DELETE FROM {table}")


@pytest.mark.parametrize("ending", ["young-settled", "old-unknown", "old-open", "nobody"])
async def test_only_what_is_old_and_over_can_be_put_up_for_pruning(store: Path, ledger: SQLiteLedger, ending: str):
    await ledger.prune(HORIZON, LATER)
    await ledger.close()
    with closing(sqlite3.connect(store)) as owner, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        owner.execute("INSERT INTO pruning VALUES (?)", (ending,))


@pytest.mark.parametrize("statement", ["UPDATE prunes SET settled = 0", "DELETE FROM prunes", "DELETE FROM spent"])
async def test_what_is_left_of_pruned_rows_is_kept_for_good(store: Path, ledger: SQLiteLedger, statement: str):
    await ledger.prune(HORIZON, LATER)
    await ledger.close()
    with closing(sqlite3.connect(store)) as owner, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        owner.execute(statement)
