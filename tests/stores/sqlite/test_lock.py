"""One writer a store, and what a killed one leaves behind."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.core.errors import StoreError
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.lock import StoreLock
from gateway.stores.sqlite.queries import verify

from .books import StoppedClock, child, rows

SERVING = """
import asyncio, os, sys
from pathlib import Path
from gateway.runtime.ports import SystemClock
from gateway.stores.sqlite.ledger import SQLiteLedger
from tests.stores.sqlite.books import intent, settlement

async def main():
    path, name, sender = sys.argv[1], sys.argv[2], int(sys.argv[3])
    ledger = await SQLiteLedger.open(Path(path), clock=SystemClock())
    print("open", flush=True)

    async def client(number):
        for turn in range(sender):
            identity = f"{name}-{number}-{turn}"
            await ledger.reserve(intent(identity, paid=turn % 10 == 0))
            os.write(1, f"{identity}\\n".encode())
            if turn % 2:
                ledger.settle(settlement(identity))

    await asyncio.gather(*(client(number) for number in range(8)))
    await asyncio.to_thread(sys.stdin.read)
    await ledger.close()

asyncio.run(main())
"""


async def test_a_second_gateway_is_told_who_holds_the_store(path: Path):
    first = child(SERVING, str(path), "x", "0")
    assert first.stdout is not None
    assert first.stdout.readline() == "open\n"
    with pytest.raises(StoreError, match=rf"written by process {first.pid}\. Stop that gateway"):
        await SQLiteLedger.open(path, clock=StoppedClock())
    first.communicate(timeout=30)
    assert first.returncode == 0
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    await ledger.close()


async def test_another_name_of_the_file_is_the_same_store(ledger: SQLiteLedger, path: Path):
    link = path.with_name("link.db")
    link.symlink_to(path)
    with pytest.raises(StoreError, match=f"written by process {os.getpid()}"):
        await SQLiteLedger.open(link, clock=StoppedClock())


def test_a_lock_is_free_once_released_and_releasing_twice_does_nothing(path: Path):
    lock = StoreLock.take(path)
    lock.release()
    lock.release()
    StoreLock.take(path).release()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(StoreError, match=r"nowhere/gateway\.db\.lock cannot be opened: No such file"):
        StoreLock.take(tmp_path / "nowhere" / "gateway.db")


@pytest.mark.parametrize("make", [Path.symlink_to, Path.hardlink_to], ids=["symbolic", "hard"])
def test_a_link_in_the_locks_place_is_refused_and_what_it_leads_to_is_left_alone(path: Path, make: Callable[..., None]):
    precious = path.with_name("precious")
    precious.write_text("precious")
    make(path.with_name(path.name + ".lock"), precious)
    with pytest.raises(StoreError, match=r"\.lock is .*Remove it"):
        StoreLock.take(path)
    assert precious.read_text() == "precious"


def test_a_pipe_in_the_locks_place_is_refused(path: Path):
    os.mkfifo(path.with_name(path.name + ".lock"))
    with pytest.raises(StoreError, match=r"\.lock is not a file of its own"):
        StoreLock.take(path)


def test_a_killed_gateway_loses_no_reserve_it_acknowledged(path: Path):
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    acknowledged: set[str] = set()
    for kill in range(6):
        process = child(SERVING, str(path), f"{kill}", "100000")
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        for _ in range(chance.randrange(1, 1_500)):
            acknowledged.add(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
        output = process.stdout.read()  # communicate() would pass by what readline() has taken from the pipe already
        process.communicate(timeout=30)
        acknowledged.update(line for line in output.split("\n")[:-1] if line)
        lost = acknowledged - set(rows(path, "SELECT id FROM intents"))
        assert not lost, f"seed {seed}, kill {kill}"
        assert verify(path).problems == [], f"seed {seed}, kill {kill}"


async def test_after_a_kill_the_next_start_closes_the_books(path: Path):
    process = child(SERVING, str(path), "x", "5")
    assert process.stdout is not None
    for _ in range(1 + 8 * 5):
        process.stdout.readline()
    process.kill()
    process.communicate(timeout=30)
    before = verify(path)
    assert before.open >= 8 * 3
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    assert ledger.recovered == before.open
    await ledger.close()
    after = verify(path)
    assert (after.settled, after.unknown, after.open) == (before.settled, before.open, 0)
    assert after.problems == []
