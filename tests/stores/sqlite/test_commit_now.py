"""An intent that is alone is committed by its caller: at once, where that waits for nothing, and else by the thread."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gateway.core.errors import GatewayFault
from gateway.stores.sqlite import inserts, schema, writer, written_log
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.queries import verify
from gateway.stores.sqlite.written_log import WrittenLog

from .books import StoppedClock, child, intent, nothing_pending, rows, settlement, until

LOOP = "MainThread"
THREAD = "ledger-writer"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is."""
    monkeypatch.setattr(writer, "QUICK_SECONDS", 30.0)


@pytest.fixture
def committers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who committed each batch of intents."""
    seen: list[str] = []
    real = inserts.insert_intents

    def insert(connection, intents):
        seen.append(threading.current_thread().name)
        real(connection, intents)

    monkeypatch.setattr(inserts, "insert_intents", insert)
    return seen


async def trusted(ledger: SQLiteLedger, name: str = "first") -> None:
    """Some requests, one after the other, so that the disk is known to be quick."""
    for number in range(writer.QUICK_COMMITS + 1):
        await ledger.reserve(intent(f"{name}-{number}"))
        ledger.settle(settlement(f"{name}-{number}"))
    await idle(ledger)


async def idle(ledger: SQLiteLedger) -> None:
    """Wait until the thread has nothing to do."""
    await nothing_pending(ledger)
    await until(lambda: not ledger._writer._turn.locked())


def at_once(ledger: SQLiteLedger, identity: str, **changes: object) -> bool:
    """Whether ``reserve`` returns without having waited."""
    reserving = ledger.reserve(intent(identity, **changes))
    try:
        reserving.send(None)
    except StopIteration:
        return True
    reserving.close()
    return False


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """The store while another program has the lock that writers take."""
    with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        yield
        stranger.execute("ROLLBACK")


async def test_one_that_is_alone_is_in_the_file_without_a_turn_of_the_loop(ledger: SQLiteLedger, path: Path):
    await trusted(ledger)
    assert at_once(ledger, "alone")
    assert "alone" in rows(path, "SELECT id FROM intents")
    assert ledger.pending == 0


async def test_the_first_go_to_the_thread_until_the_disk_has_shown_that_it_is_quick(
    ledger: SQLiteLedger, committers: list[str]
):
    await trusted(ledger)
    await ledger.reserve(intent("next"))
    assert committers[: writer.QUICK_COMMITS // 2] == [THREAD] * (writer.QUICK_COMMITS // 2)
    assert committers[-1] == LOOP


async def test_beside_another_request_it_goes_to_the_thread(ledger: SQLiteLedger, committers: list[str]):
    await trusted(ledger)
    await ledger.reserve(intent("runs on"))
    await ledger.reserve(intent("beside it"))
    ledger.settle(settlement("runs on"))
    ledger.settle(settlement("beside it"))
    await idle(ledger)
    await ledger.reserve(intent("alone again"))
    assert committers[-3:] == [LOOP, THREAD, LOOP]


async def test_what_must_be_on_the_disk_goes_to_the_thread(ledger: SQLiteLedger, committers: list[str]):
    await trusted(ledger)
    await ledger.reserve(intent("image", paid=True))
    ledger.settle(settlement("image"))
    await idle(ledger)
    await ledger.reserve(intent("chat"))
    assert committers[-2:] == [THREAD, LOOP]


async def test_after_one_commit_that_took_long_the_disk_must_show_itself_quick_again(
    ledger: SQLiteLedger, committers: list[str], monkeypatch: pytest.MonkeyPatch
):
    await trusted(ledger)
    with monkeypatch.context() as stalled:
        stalled.setattr(writer, "QUICK_SECONDS", 0.0)
        await ledger.reserve(intent("slow"))
        ledger.settle(settlement("slow"))
        await idle(ledger)
    await ledger.reserve(intent("next"))
    assert committers[-2:] == [LOOP, THREAD]
    ledger.settle(settlement("next"))
    await trusted(ledger, "second")
    assert at_once(ledger, "much later")


async def test_a_store_that_another_program_has_locked_keeps_nobody_waiting(
    ledger: SQLiteLedger, path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.2)
    await trusted(ledger)
    with locked(path):
        told: list[str] = []
        asyncio.get_running_loop().call_soon(told.append, "the loop goes on")
        with pytest.raises(GatewayFault, match="ledger"):
            await ledger.reserve(intent("refused"))
        told.append("refused")
    assert told == ["the loop goes on", "refused"]
    assert "refused" not in rows(path, "SELECT id FROM intents")


async def test_the_thread_waits_for_a_lock_as_ever(ledger: SQLiteLedger, path: Path):
    """What the caller's own try set for the connection does not stay."""
    await trusted(ledger)
    assert at_once(ledger, "alone")
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(0.05, stranger.execute, "ROLLBACK")
        await ledger.reserve(intent("patient"))
    assert ledger.usable()


async def test_one_that_fits_no_row_is_refused_and_the_next_is_served(ledger: SQLiteLedger, path: Path):
    await trusted(ledger)
    with pytest.raises(GatewayFault, match="ledger"):
        await ledger.reserve(intent("negative", reserved=-1))
    assert ledger.usable()
    await ledger.reserve(intent("fine"))
    assert "fine" in rows(path, "SELECT id FROM intents")


async def test_while_the_thread_writes_nobody_waits_for_it(
    ledger: SQLiteLedger, committers: list[str], monkeypatch: pytest.MonkeyPatch
):
    await trusted(ledger)
    begun, gate = threading.Event(), threading.Event()

    def long_work(connection: sqlite3.Connection) -> None:
        begun.set()
        gate.wait(10)

    working = asyncio.get_running_loop().create_task(ledger.write(long_work))
    await asyncio.to_thread(begun.wait, 10)
    reserving = asyncio.get_running_loop().create_task(ledger.reserve(intent("behind it")))
    await asyncio.sleep(0)
    assert not reserving.done()
    gate.set()
    await asyncio.gather(working, reserving)
    assert committers[-1] == THREAD


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from gateway.stores.sqlite import writer
from gateway.stores.sqlite.ledger import SQLiteLedger
from tests.stores.sqlite.books import StoppedClock, intent, settlement

async def main():
    writer.QUICK_SECONDS = 30.0
    ledger = await SQLiteLedger.open(Path(sys.argv[1]), clock=StoppedClock())
    for number in range(writer.QUICK_COMMITS + 1):
        await ledger.reserve(intent(str(number)))
        ledger.settle(settlement(str(number)))
    while ledger.pending or ledger._writer._turn.locked():
        await asyncio.sleep(0.001)
    ledger._writer.put = lambda batch: os.abort()
    await ledger.reserve(intent("the last"))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_it_survives_the_process(path: Path):
    process = child(KILLED, str(path))
    await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert "the last" in rows(path, "SELECT id FROM intents")
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    assert ledger.recovered == 1
    await ledger.close()


async def test_only_the_thread_folds_the_log_into_the_file_and_after_all_were_told(
    path: Path, committers: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(schema, "CHECKPOINT_PAGES", 4 * written_log.PAGES_A_COMMIT)
    folded: list[tuple[str, int]] = []
    real = WrittenLog.fold_in_time

    def fold(self: WrittenLog) -> None:
        due = self.commits
        real(self)
        if not self.commits and due:
            folded.append((threading.current_thread().name, path.stat().st_size))

    monkeypatch.setattr(WrittenLog, "fold_in_time", fold)
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    for name in "abc":
        await trusted(ledger, name)
    assert LOOP in committers
    assert len(folded) > 3
    assert {name for name, _ in folded} == {THREAD}
    log = path.with_name(f"{path.name}-wal").stat().st_size
    assert log < 200 * 4096, "the log is begun anew each time: it would have 274 pages else"
    await ledger.close()
    assert verify(path).problems == []


async def test_no_commit_folds_the_log_by_itself(ledger: SQLiteLedger):
    assert await ledger.write(lambda store: store.execute("PRAGMA wal_autocheckpoint").fetchone()) == (0,)
