"""Settlements while the store takes none: on the disk all the same, booked once by whoever opens the store next."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import gateway
from gateway.core.errors import StoreError
from gateway.stores.records import AttemptRecord, ExchangeRecord
from gateway.stores.spill import ROOM, Spill
from gateway.stores.sqlite import inserts, schema, writer
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.queries import verify

from .books import StoppedClock, child, intent, nothing_pending, rows, settlement, until

SETTLED = [
    settlement("a", task_id="task-7"),
    settlement("b", attempts=(), state="unknown", upstream=None, endpoint=None, credential=None),
    settlement("ü", attempts=(AttemptRecord("backup", "https://b", "second", "http_524", 2, 7, "unknown"),) * 3),
]


def spilled(path: Path) -> list[ExchangeRecord]:
    spill = Spill.open(path)
    try:
        return spill.read()
    finally:
        spill.close()


def parsed(path: Path, content: bytes) -> list[ExchangeRecord]:
    """What is read from a file of these bytes. No room is reserved: that takes time."""
    path.write_bytes(content)
    spill = Spill(path, os.open(path, os.O_RDWR))
    try:
        return spill.read()
    finally:
        spill.close()


def write(path: Path, *groups: list[ExchangeRecord]) -> None:
    spill = Spill.open(path)
    for group in groups:
        assert spill.append(group)
    spill.close()


def test_what_was_written_is_read_by_the_next_process(path: Path):
    write(path, SETTLED[:1], SETTLED[1:])
    assert spilled(path) == SETTLED


def test_its_room_is_reserved_before_it_is_needed_and_after_it_was_emptied(path: Path):
    spill = Spill.open(path)
    status = spill.path.stat()
    assert (status.st_size, stat.S_IMODE(status.st_mode)) == (ROOM, 0o600)
    assert status.st_blocks * 512 >= ROOM, "really reserved, no hole"
    assert not spill.filled
    spill.append(SETTLED)
    assert spill.filled
    spill.empty()
    assert not spill.filled
    assert (spill.path.stat().st_size, spill.path.stat().st_blocks) == (status.st_size, status.st_blocks)
    assert spill.read() == []
    spill.append(SETTLED[:1])
    assert spill.read() == SETTLED[:1]
    spill.close()


def test_more_than_its_room_is_written_and_given_back(path: Path):
    many = [settlement(f"{number:08}") for number in range(12_000)]
    write(path, many[:6_000], many[6_000:])
    assert spilled(path) == many
    spill = Spill.open(path)
    spill.read()
    assert spill.path.stat().st_size > ROOM
    spill.empty()
    assert spill.path.stat().st_size == ROOM
    spill.close()


def test_a_line_torn_anywhere_costs_only_itself(path: Path, caplog):
    write(path, SETTLED[:2])
    file = path.with_name("gateway.db.spill")
    whole = len(file.read_bytes().rstrip(b"\0"))
    write_after = Spill.open(path)
    write_after.read()
    write_after.append(SETTLED[2:])
    write_after.close()
    content = file.read_bytes()
    end = len(content.rstrip(b"\0"))
    for cut in range(whole, end):
        assert parsed(file, content[:cut] + b"\0\0\0") == SETTLED[:2], f"torn after byte {cut}"
    assert "a crash tore" in caplog.text


def test_a_changed_byte_anywhere_costs_only_its_line(path: Path, caplog):
    write(path, SETTLED)
    file = path.with_name("gateway.db.spill")
    content = file.read_bytes().rstrip(b"\0")
    first_line = range(1, content.index(b"\n", 1))
    for place in first_line:
        changed = content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :]
        assert parsed(file, changed) == SETTLED[1:], f"byte {place} changed"
    assert "a line makes no sense" in caplog.text


def test_writing_goes_on_behind_a_torn_line(path: Path):
    write(path, SETTLED[:1])
    file = path.with_name("gateway.db.spill")
    file.write_bytes(file.read_bytes().rstrip(b"\0") + b"1 0123abcd {")
    spill = Spill.open(path)
    spill.read()
    spill.append(SETTLED[1:])
    spill.close()
    assert spilled(path) == SETTLED


@pytest.mark.parametrize(
    "content", [b"", b"\n\n\n", b"hello\nworld\n", b"1 00000000 \n", b"1 53d5fc1f {}\n", b"\xff\xfe\n"]
)
def test_nonsense_is_no_settlement(path: Path, content: bytes):
    path.with_name("gateway.db.spill").write_bytes(content)
    assert spilled(path) == []


def test_a_settlement_that_json_cannot_hold_is_left_out_and_logged(path: Path, caplog):
    write(path, [settlement("a", charged=2**70), SETTLED[0]])
    assert spilled(path) == SETTLED[:1]
    assert "fits no line" in caplog.text


def test_a_file_that_others_put_there_is_refused(path: Path):
    precious = path.with_name("precious")
    precious.write_text("precious")
    path.with_name("gateway.db.spill").symlink_to(precious)
    with pytest.raises(StoreError, match=r"gateway\.db\.spill is a symbolic link, not the spill file of a store"):
        Spill.open(path)
    assert precious.read_text() == "precious"


async def test_a_gateway_that_cannot_start_over_it_lets_go_of_the_store(path: Path):
    path.with_name("gateway.db.spill").mkdir()
    for _ in range(2):
        with pytest.raises(StoreError, match=r"gateway\.db\.spill cannot be opened: Is a directory"):
            await SQLiteLedger.open(path, clock=StoppedClock())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.01)
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.01)


async def test_while_the_store_is_locked_settlements_are_spilled_once_and_then_booked(
    impatient: None, ledger: SQLiteLedger, path: Path
):
    for identity in "abc":
        await ledger.reserve(intent(identity))
    file = path.with_name("gateway.db.spill")
    with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        ledger.settle(settlement("a"))
        ledger.settle(settlement("b"))
        await until(lambda: file.read_bytes()[0] != 0)
        ledger.settle(settlement("c"))
        await until(lambda: b'"c"' in file.read_bytes())
        lines = file.read_bytes().rstrip(b"\0").split(b"\n")
        assert [line[:2] for line in lines if line] == [b"1 "] * 3, "each once, however often the store was tried"
        assert ledger.pending == 3, "the store has none of them"
        await until(lambda: ledger.spilled() == 3)
        stranger.execute("ROLLBACK")
        await nothing_pending(ledger)
    assert ledger.spilled() == 0
    await until(lambda: file.read_bytes().strip(b"\0") == b"")
    assert rows(path, "SELECT id FROM settlements ORDER BY id") == ["a", "b", "c"]
    assert verify(path).problems == []


async def test_what_was_spilled_is_on_the_disk_in_the_store_before_the_spill_file_is_emptied(
    impatient: None, ledger: SQLiteLedger, path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[tuple[str, int]] = []
    real_insert, real_empty = inserts.insert_settlements, Spill.empty

    def insert(connection, settlements):
        count = real_insert(connection, settlements)
        seen.append(("committed", connection.execute("PRAGMA synchronous").fetchone()[0]))
        return count

    def empty(spill):
        seen.append(("emptied", 0))
        real_empty(spill)

    monkeypatch.setattr(inserts, "insert_settlements", insert)
    monkeypatch.setattr(Spill, "empty", empty)
    normal, full = 1, 2
    await ledger.reserve(intent("a"))
    with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        ledger.settle(settlement("a"))
        await until(lambda: b'"a"' in path.with_name("gateway.db.spill").read_bytes())
    await nothing_pending(ledger)
    ledger.settle(settlement("b"))
    await nothing_pending(ledger)
    assert seen == [("committed", full), ("emptied", 0), ("committed", normal)]


LEAVING_A_SPILL = """
import asyncio, os, signal, sqlite3, sys
from pathlib import Path
from gateway.stores.sqlite import inserts
from gateway.stores.sqlite import schema
from gateway.stores.sqlite import writer
from gateway.stores.sqlite.ledger import SQLiteLedger
from tests.stores.sqlite.books import StoppedClock, intent, settlement, until

schema.BUSY_SECONDS = writer.RETRY_SECONDS = 0.01

async def main():
    path = Path(sys.argv[1])
    spill = path.with_name(path.name + ".spill")
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    for identity in "abc":
        await ledger.reserve(intent(identity))
    stranger = sqlite3.connect(path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    ledger.settle(settlement("a"))
    ledger.settle(settlement("b"))
    await until(lambda: b'"b"' in spill.read_bytes())
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""

KILLED_BETWEEN_READING_IN_AND_EMPTYING = """
import asyncio, os, signal, sys
from pathlib import Path
from gateway.stores.spill import Spill
from gateway.stores.sqlite.ledger import SQLiteLedger
from tests.stores.sqlite.books import StoppedClock

Spill.empty = lambda spill: os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(SQLiteLedger.open(Path(sys.argv[1]), clock=StoppedClock()))
"""


def run_and_be_killed(script: str, path: Path) -> None:
    process = child(script, str(path))
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


async def test_after_a_kill_the_next_start_books_what_was_spilled_and_only_the_rest_is_unknown(path: Path):
    run_and_be_killed(LEAVING_A_SPILL, path)
    assert rows(path, "SELECT id FROM settlements") == []
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    assert (ledger.booked_late, ledger.recovered) == (2, 1)
    await ledger.close()
    assert rows(path, "SELECT id, state, charged FROM settlements ORDER BY id") == [
        ("a", "settled", 40),
        ("b", "settled", 40),
        ("c", "unknown", 0),
    ]
    assert spilled(path) == []


async def test_killed_between_reading_in_and_emptying_books_nothing_twice(path: Path):
    run_and_be_killed(LEAVING_A_SPILL, path)
    for _ in range(3):
        run_and_be_killed(KILLED_BETWEEN_READING_IN_AND_EMPTYING, path)
        assert [line.id for line in spilled(path)] == ["a", "b"]
        assert rows(path, "SELECT id, charged FROM settlements ORDER BY id") == [("a", 40), ("b", 40)]
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    assert (ledger.booked_late, ledger.recovered) == (0, 1)
    await ledger.close()
    books = verify(path)
    assert (books.settled, books.unknown, books.problems) == (2, 1, [])
    assert rows(path, "SELECT requests, charged FROM spent WHERE span = 86400 AND upstream = 'piapi'") == [(2, 80)]


async def test_what_was_spilled_and_fits_no_row_is_set_aside(path: Path):
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    for identity in "ab":
        await ledger.reserve(intent(identity))
    await ledger.close()
    write(path, [settlement("a", charged=-1), settlement("b")])
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    assert ledger.booked_late == 1
    await ledger.close()
    assert rows(path, "SELECT id FROM unbookable") == ["a"]
    assert spilled(path) == []


HIDING = """
import os, signal
statvfs, SIGKILL = os.statvfs, signal.SIGKILL
import tests.process.{0}
tests.process.{0}.hide()
os.statvfs, signal.SIGKILL = statvfs, SIGKILL
"""

DISK_FULL = """
import asyncio, os, signal, subprocess, sys
from pathlib import Path
from gateway.core.errors import GatewayFault
from gateway.runtime.ports import SystemClock
from gateway.stores.sqlite.queries import verify
from gateway.stores.sqlite.ledger import SQLiteLedger
from tests.stores.sqlite.books import intent, settlement

folder = Path(sys.argv[1])
path = folder / "gateway.db"
filler = folder / "filler"

def fill_the_disk():
    with open(filler, "wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass

async def serve():
    ledger = await SQLiteLedger.open(path, clock=SystemClock())
    for number in range(50):
        await ledger.reserve(intent(f"running{number}", paid=True))
    fill_the_disk()
    bought = 50
    try:
        while True:
            await ledger.reserve(intent(f"more{bought}"))
            bought += 1
    except GatewayFault as error:
        print(error.code, flush=True)
    for number in range(50):
        ledger.settle(settlement(f"running{number}"))
    async with asyncio.timeout(30):
        while b"running49" not in path.with_name("gateway.db.spill").read_bytes():
            await asyncio.sleep(0.02)
    print(bought, os.statvfs(folder).f_bavail, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

async def start_again():
    ledger = await SQLiteLedger.open(path, clock=SystemClock())
    print(ledger.booked_late, ledger.recovered)
    await ledger.close()
    books = verify(path)
    print(books.settled, books.unknown, books.problems)

if sys.argv[2] == "serve":
    asyncio.run(serve())
else:
    subprocess.run([sys.executable, "-c", os.environ["SCRIPT"], str(folder), "serve"])
    filler.unlink()
    asyncio.run(start_again())
"""


@pytest.mark.parametrize("system", ["linux", "macos", "windows"])
def test_a_disk_that_is_really_full(tmp_path: Path, system: str):
    """A small file system of its own, filled to the last byte: nothing is bought any more, what ran is settled."""
    mount = 'mount -t tmpfs -o size=6m tmpfs "$0" && exec "$@"'
    namespace = ["unshare", "--mount", "sh", "-c", mount, str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run([*namespace, "true"], capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    packages = os.pathsep.join((str(Path(gateway.__file__).parents[1]), str(Path(__file__).parents[3])))
    # The others are emulated: their lacks are hidden before anything is imported.
    script = DISK_FULL if system == "linux" else HIDING.format(system) + DISK_FULL
    done = subprocess.run(
        [*namespace, sys.executable, "-c", script, str(tmp_path), "watch"],
        capture_output=True,
        text=True,
        timeout=90,
        env=os.environ | {"PYTHONPATH": packages, "SCRIPT": script},
    )
    assert not done.returncode, done.stderr
    refusal, full, started, books = done.stdout.splitlines()
    bought, room = map(int, full.split())
    assert (refusal, room) == ("ledger_unavailable", 0)
    assert started == f"50 {bought - 50}", "all that was settled is booked, the rest became unknown"
    assert books == f"50 {bought - 50} []"


def test_a_disk_without_room_for_the_reserve_is_told_and_no_reason_to_refuse(
    path: Path, caplog, monkeypatch: pytest.MonkeyPatch
):
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    write(path, SETTLED)
    assert "no room could be reserved" in caplog.text
    assert spilled(path) == SETTLED


def test_random_files_never_break_a_start(path: Path):
    chance = random.Random(20)
    write(path, SETTLED)
    file = path.with_name("gateway.db.spill")
    content = file.read_bytes().rstrip(b"\0")
    for _ in range(300):
        changed = bytearray(content)
        for _ in range(chance.randrange(1, 6)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        found = parsed(file, bytes(changed[: chance.randrange(len(changed))]))
        assert all(settled in SETTLED for settled in found)
