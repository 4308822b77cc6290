"""A store that fails: no request is bought without a row, no settlement is lost, and it heals by itself."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from gateway.core.errors import GatewayFault
from gateway.stores.spill import Spill
from gateway.stores.sqlite import inserts, schema, writer
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.queries import verify

from .books import StoppedClock, child, intent, nothing_pending, released, rows, settlement, until


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.01)
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.01)


async def refused(ledger: SQLiteLedger, identity: str) -> bool:
    try:
        await ledger.reserve(intent(identity))
    except GatewayFault as error:
        return error.code == "ledger_unavailable"
    return False


async def test_a_locked_store_refuses_keeps_settlements_and_recovers(ledger: SQLiteLedger, path: Path, caplog):
    await ledger.reserve(intent("a"))
    with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        assert await refused(ledger, "b")
        assert not ledger.usable()
        assert await refused(ledger, "c")
        ledger.settle(settlement("a"))
        await asyncio.sleep(0.1)
        assert ledger.pending == 1
        stranger.execute("ROLLBACK")
        await until(ledger.usable)
    await ledger.reserve(intent("d"))
    await nothing_pending(ledger)
    assert rows(path, "SELECT id FROM intents ORDER BY id") == ["a", "d"]
    assert rows(path, "SELECT id FROM settlements") == ["a"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"], "one line for each change"


async def test_a_probe_finds_the_store_working_again_without_any_traffic(ledger: SQLiteLedger, path: Path):
    with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        assert await refused(ledger, "a")
    await until(ledger.usable)
    assert rows(path, "SELECT beats FROM probe") == [1]


async def test_cancelled_and_refused_at_once_leaves_books_that_verify(ledger: SQLiteLedger, path: Path):
    with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        waiting = asyncio.get_running_loop().create_task(ledger.reserve(intent("a")))
        await asyncio.sleep(0)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        ledger.settle(released("a"))
        await until(lambda: not ledger.usable())
    await ledger.close()
    books = verify(path)
    assert (books.released, books.problems) == (1, [])


async def test_one_intent_that_fits_no_row_fails_alone(ledger: SQLiteLedger, path: Path):
    results = await asyncio.gather(
        ledger.reserve(intent("good")),
        ledger.reserve(intent("negative", reserved=-1)),
        ledger.reserve(intent("huge", reserved=2**63)),
        ledger.reserve(intent("surrogate", model="\ud800")),
        ledger.reserve(intent("wrong", route=b"chat")),
        ledger.reserve(intent("fine")),
        return_exceptions=True,
    )
    assert [isinstance(result, GatewayFault) for result in results] == [False, True, True, True, True, False]
    assert rows(path, "SELECT id FROM intents ORDER BY id") == ["fine", "good"]
    assert ledger.usable(), "the store is well"


async def test_a_settlement_that_fits_no_row_is_set_aside_and_reported(ledger: SQLiteLedger, path: Path):
    for identity in ("good", "negative", "surrogate", "huge"):
        await ledger.reserve(intent(identity))
    ledger.settle(settlement("good"))
    ledger.settle(settlement("negative", charged=-1))
    ledger.settle(settlement("surrogate", upstream="\ud800"))
    ledger.settle(settlement("huge", upstream_cost=2**63))
    await ledger.close()
    assert ledger.pending == 0
    assert rows(path, "SELECT id FROM settlements") == ["good"]
    assert rows(path, "SELECT id FROM unbookable WHERE settlement LIKE '%charged=-1%'") == ["negative"]
    books = verify(path)
    assert books.open == 3
    assert [problem for problem in books.problems if "set aside" in problem] == [
        f"settlement {identity} fitted no row and was set aside in 'unbookable'"
        for identity in ("negative", "surrogate", "huge")
    ]


async def test_paid_intents_are_synced_to_disk_and_nothing_else_is(
    ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch
):
    seen: list[tuple[str, int]] = []

    def watch(name: str) -> None:
        real = getattr(inserts, name)

        def watched(connection, batch):
            seen.append((name, connection.execute("PRAGMA synchronous").fetchone()[0]))
            real(connection, batch)

        monkeypatch.setattr(inserts, name, watched)

    watch("insert_intents")
    watch("insert_settlements")
    normal, full = 1, 2
    await ledger.reserve(intent("chat"))
    await ledger.reserve(intent("image", paid=True))
    ledger.settle(settlement("image"))
    await nothing_pending(ledger)
    await asyncio.gather(ledger.reserve(intent("chat2")), ledger.reserve(intent("image2", paid=True)))
    assert seen == [
        ("insert_intents", normal),
        ("insert_intents", full),
        ("insert_settlements", normal),
        ("insert_intents", full),
    ]


async def test_more_settlements_than_one_statement_takes(ledger: SQLiteLedger, path: Path):
    count = 2 * inserts.MAX_ROWS + 3
    for number in range(count):
        ledger.settle(settlement(str(number)))
    await ledger.close()
    assert rows(path, "SELECT count(*), sum(charged) FROM settlements") == [(count, 40 * count)]


async def test_closing_over_a_store_that_stays_locked_leaves_the_settlement_to_the_next_start(
    ledger: SQLiteLedger, path: Path, caplog
):
    await ledger.reserve(intent("a"))
    with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        ledger.settle(settlement("a"))
        await ledger.close()
    assert "not booked yet, the next start will" in caplog.text
    assert "id='a'" in caplog.text
    again = await SQLiteLedger.open(path, clock=StoppedClock())
    assert (again.booked_late, again.recovered) == (1, 0)
    await again.close()
    assert rows(path, "SELECT id, state, charged FROM settlements") == [("a", "settled", 40)]


async def test_with_nowhere_to_write_to_closing_leaves_the_settlement_in_the_log(
    ledger: SQLiteLedger, path: Path, caplog, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Spill, "append", lambda spill, settlements: False)
    await ledger.reserve(intent("a"))
    with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        ledger.settle(settlement("a"))
        await ledger.close()
    assert "not booked, and unknown from the next start on" in caplog.text
    assert "id='a'" in caplog.text
    again = await SQLiteLedger.open(path, clock=StoppedClock())
    assert again.recovered == 1
    await again.close()


async def test_closing_waits_for_a_store_that_heals(ledger: SQLiteLedger, path: Path):
    await ledger.reserve(intent("a"))
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        ledger.settle(settlement("a"))
        asyncio.get_running_loop().call_later(0.05, stranger.execute, "ROLLBACK")
        await ledger.close()
    assert rows(path, "SELECT id FROM settlements") == ["a"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_writer_that_dies_of_a_defect_leaves_nobody_waiting(
    ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch, caplog
):
    def out_of_memory(connection, batch):
        raise MemoryError

    await ledger.reserve(intent("before"))
    monkeypatch.setattr(inserts, "insert_intents", out_of_memory)
    ledger.settle(settlement("before"))
    assert await refused(ledger, "a")
    assert not ledger.usable()
    assert await refused(ledger, "b")
    await ledger.close()
    assert "id='before'" in caplog.text


FULL_DISK = """
import asyncio, os, resource, sys
from pathlib import Path
from gateway.core.errors import GatewayFault
from gateway.runtime.ports import SystemClock
from gateway.stores.sqlite.ledger import SQLiteLedger
from tests.stores.sqlite.books import intent, settlement

async def main():
    path = Path(sys.argv[1])
    ledger = await SQLiteLedger.open(path, clock=SystemClock())
    await ledger.reserve(intent("before"))
    room = os.path.getsize(f"{path}-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        await ledger.reserve(intent("during"))
    except GatewayFault as error:
        print(error.code, ledger.usable())
    ledger.settle(settlement("before"))
    await asyncio.sleep(0.6)
    print(ledger.usable(), ledger.pending)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    async with asyncio.timeout(20):
        while ledger.pending or not ledger.usable():
            await asyncio.sleep(0.01)
    await ledger.reserve(intent("after"))
    await ledger.close()
    print("closed")

asyncio.run(main())
"""


def test_a_full_disk_refuses_and_heals(path: Path):
    """The kernel refuses to let any file of a real process grow, as a full disk does."""
    process = child(FULL_DISK, str(path))
    output, _ = process.communicate(timeout=60)
    assert output.splitlines() == ["ledger_unavailable False", "False 1", "closed"]
    assert rows(path, "SELECT id FROM intents ORDER BY id") == ["after", "before"]
    books = verify(path)
    assert (books.settled, books.open, books.problems) == (1, 1, [])
