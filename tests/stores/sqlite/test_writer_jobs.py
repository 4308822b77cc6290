"""Work for the writer's thread: whole or not at all, on the disk when it is done, and never the ledger's undoing."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest

from gateway.core.errors import GatewayFault, OperatorError
from gateway.stores.sqlite import schema, writer
from gateway.stores.sqlite.ledger import SQLiteLedger

from .books import StoppedClock, intent, rows, settlement, until


def beat(store: sqlite3.Connection) -> None:
    store.execute("UPDATE probe SET beats = beats + 1")


def beats(path: Path) -> int:
    [number] = rows(path, "SELECT beats FROM probe")
    return number


async def test_it_runs_in_the_writers_thread_synced_in_a_transaction_after_what_came_before(
    ledger: SQLiteLedger, path: Path
):
    full = 2

    def look(store: sqlite3.Connection) -> tuple[str, int, bool, int]:
        (settled,) = store.execute("SELECT count(*) FROM settlements").fetchone()
        (sync,) = store.execute("PRAGMA synchronous").fetchone()
        return threading.current_thread().name, sync, store.in_transaction, settled

    await ledger.reserve(intent("a"))
    ledger.settle(settlement("a"))
    assert await ledger.write(look) == ("ledger-writer", full, True, 1)


@pytest.mark.parametrize(
    "error", [OperatorError("no"), ValueError("no"), TypeError("no"), sqlite3.IntegrityError("no")]
)
async def test_what_it_refuses_changes_nothing_and_is_told(ledger: SQLiteLedger, path: Path, error: Exception):
    def refuse(store: sqlite3.Connection) -> None:
        beat(store)
        raise error

    with pytest.raises(type(error), match="no"):
        await ledger.write(refuse)
    assert beats(path) == 0
    assert ledger.usable()
    await ledger.write(beat)
    assert beats(path) == 1


async def test_a_store_that_fails_refuses_it_and_heals(
    ledger: SQLiteLedger, path: Path, monkeypatch: pytest.MonkeyPatch
):
    await ledger.close()
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.01)
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.01)
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            with pytest.raises(GatewayFault) as refused:
                await ledger.write(beat)
            assert refused.value.code == "ledger_unavailable"
        assert not ledger.usable()
    await until(ledger.usable)
    before = beats(path)
    await ledger.write(beat)
    assert beats(path) == before + 1
    await ledger.close()


async def test_a_store_that_fails_half_way_keeps_nothing_of_it(ledger: SQLiteLedger, path: Path):
    def fail(store: sqlite3.Connection) -> None:
        beat(store)
        store.execute("COMMIT")
        store.execute("BEGIN")
        beat(store)
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(GatewayFault):
        await ledger.write(fail)
    await until(ledger.usable)
    await ledger.reserve(intent("a"))
    assert beats(path) == 2, "the one it committed by itself, and the writer's own probe"


async def test_whoever_stops_waiting_before_it_began_has_not_asked(ledger: SQLiteLedger, path: Path):
    held_up = threading.Event()
    first = asyncio.get_running_loop().create_task(ledger.write(lambda store: held_up.wait(20)))
    await asyncio.sleep(0.02)
    second = asyncio.get_running_loop().create_task(ledger.write(beat))
    await asyncio.sleep(0.02)
    second.cancel()
    with suppress(asyncio.CancelledError):
        await second
    held_up.set()
    assert await first
    await ledger.write(beat)
    assert beats(path) == 1


async def test_closing_does_what_waits_and_refuses_what_comes_later(ledger: SQLiteLedger, path: Path):
    waiting = asyncio.get_running_loop().create_task(ledger.write(beat))
    await asyncio.sleep(0)
    await ledger.close()
    await waiting
    assert beats(path) == 1
    with pytest.raises(GatewayFault):
        await ledger.write(beat)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_writer_that_dies_of_a_defect_leaves_nobody_waiting(ledger: SQLiteLedger, path: Path):
    def out_of_memory(store: sqlite3.Connection) -> None:
        beat(store)
        raise MemoryError

    results = await asyncio.gather(
        ledger.write(out_of_memory), ledger.write(beat), ledger.reserve(intent("a")), return_exceptions=True
    )
    assert [isinstance(result, GatewayFault) for result in results] == [True, True, False]
    await until(lambda: not ledger.usable())
    with pytest.raises(GatewayFault):
        await ledger.write(beat)
    assert beats(path) == 0
