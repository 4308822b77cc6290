"""A copy of the books while they are written, and its way back; nothing is lost on either."""

# ruff: noqa: ASYNC240 - these files are small, and nothing else runs on the loop

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gateway.core.errors import StoreError
from gateway.stores.files import beside
from gateway.stores.records import StoreInUse
from gateway.stores.spill import Spill
from gateway.stores.sqlite.backup import MANIFEST, make_backup, read_backup, restore_backup
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.queries import verify

from .books import StoppedClock, intent, nothing_pending, rows, settlement

NOBODY = 65534
NOW_NS = StoppedClock().wall_ns()
MOMENT = "2023-11-14T22:13:20Z"


async def write(ledger: SQLiteLedger, *numbers: int) -> None:
    for number in numbers:
        await ledger.reserve(intent(str(number)))
        ledger.settle(settlement(str(number)))
    await nothing_pending(ledger)


def restored(folder: Path, store: Path) -> list[Path]:
    return restore_backup(folder, store, NOW_NS)[1]


async def test_a_store_in_use_is_copied_whole_and_comes_back(ledger: SQLiteLedger, path: Path, tmp_path: Path) -> None:
    await write(ledger, *range(50))
    beside(path, "pepper").write_text("ab" * 32)
    made = await asyncio.to_thread(make_backup, path, tmp_path / "copy", NOW_NS)
    assert (made.made_at, made.books.settled, made.books.problems) == (MOMENT, 50, [])
    assert {"gateway.db", "gateway.db.mark", "gateway.db.pepper", "gateway.db.spill"} == set(made.files)
    await write(ledger, 50)  # the one that was copied from goes on
    await ledger.close()
    aside = restored(tmp_path / "copy", path)
    assert {one.name.partition(".before-20231114T221320Z")[2] for one in aside} >= {"", ".pepper", ".spill"}
    assert verify(path).settled == 50
    assert verify(aside[0]).settled == 51  # what stood there is still to be had
    assert beside(path, "pepper").read_text() == "ab" * 32
    again = await SQLiteLedger.open(path, clock=StoppedClock())
    await write(again, 60)
    await again.close()
    assert verify(path).problems == []


async def test_a_copy_is_of_one_moment_while_rows_come_in(ledger: SQLiteLedger, path: Path, tmp_path: Path) -> None:
    await write(ledger, *range(300))
    going_on = asyncio.Event()

    async def keep_writing() -> None:
        number = 1000
        while not going_on.is_set():
            await ledger.reserve(intent(str(number)))
            ledger.settle(settlement(str(number)))
            number += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(keep_writing())
        for number in range(5):
            made = await asyncio.to_thread(make_backup, path, tmp_path / str(number), NOW_NS)
            assert made.books.problems == []
            assert made.books.settled >= 300
            asked = rows(tmp_path / str(number) / "gateway.db", "SELECT id FROM intents")
            assert made.books.settled + made.books.open == len(asked)
        going_on.set()


async def test_what_waits_to_be_booked_is_in_it(path: Path, tmp_path: Path) -> None:
    """A full disk: a request is settled in the spill file only."""
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    await ledger.reserve(intent("7"))
    await ledger.close()
    spill = Spill.open(path)
    spill.read()
    assert spill.append([settlement("7")])
    spill.close()
    make_backup(path, tmp_path / "copy", NOW_NS)
    restored(tmp_path / "copy", path)
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    await ledger.close()
    assert rows(path, "SELECT id, state, charged FROM settlements") == [("7", "settled", 40)]


async def test_its_files_are_for_the_owner_alone(ledger: SQLiteLedger, path: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        beside(path, "pepper").write_text("ab" * 32)
        make_backup(path, tmp_path / "copy", NOW_NS)
    finally:
        os.umask(before)
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in (tmp_path / "copy").iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o700


async def test_an_earlier_backup_is_replaced_and_nothing_else_is(
    ledger: SQLiteLedger, path: Path, tmp_path: Path
) -> None:
    await write(ledger, 1)
    make_backup(path, tmp_path / "copy", NOW_NS)
    await write(ledger, 2)
    assert make_backup(path, tmp_path / "copy", NOW_NS).books.settled == 2
    assert sorted(one.name for one in tmp_path.iterdir() if "copy" in one.name) == ["copy"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "letters.txt").write_text("dear")
    with pytest.raises(StoreError, match="something else than a backup"):
        make_backup(path, other, NOW_NS)
    with pytest.raises(StoreError, match="something else than a backup"):
        make_backup(path, other / "letters.txt", NOW_NS)
    assert [one.name for one in other.iterdir()] == ["letters.txt"]


async def test_a_backup_that_fails_leaves_the_earlier_one(path: Path, tmp_path: Path) -> None:
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    await write(ledger, 1)
    await ledger.close()
    make_backup(path, tmp_path / "copy", NOW_NS)
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("DROP TRIGGER IF EXISTS settlements_are_final")
        for (trigger,) in store.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            store.execute(f"DROP TRIGGER {trigger}")
        store.execute("UPDATE settlements SET charged = charged + 1")
    with pytest.raises(StoreError, match="books are wrong"):
        make_backup(path, tmp_path / "copy", NOW_NS)
    assert read_backup(tmp_path / "copy").books.settled == 1
    assert sorted(one.name for one in tmp_path.iterdir() if "copy" in one.name) == ["copy"]


class TestTheWayBack:
    @pytest.fixture
    async def backup(self, path: Path, tmp_path: Path) -> Path:
        ledger = await SQLiteLedger.open(path, clock=StoppedClock())
        await write(ledger, 1, 2)
        await ledger.close()
        make_backup(path, tmp_path / "copy", NOW_NS)
        return tmp_path / "copy"

    async def test_a_running_gateway_is_not_robbed(self, backup: Path, path: Path) -> None:
        ledger = await SQLiteLedger.open(path, clock=StoppedClock())
        await write(ledger, 3)
        with pytest.raises(StoreInUse):
            restored(backup, path)
        await ledger.close()
        assert verify(path).settled == 3

    async def test_it_needs_no_store_to_replace(self, backup: Path, tmp_path: Path) -> None:
        assert restored(backup, tmp_path / "new" / "place.db") == []
        assert verify(tmp_path / "new" / "place.db").settled == 2

    def test_a_copy_of_the_backup_is_as_good(self, backup: Path, tmp_path: Path) -> None:
        shutil.copytree(backup, tmp_path / "elsewhere")
        assert read_backup(tmp_path / "elsewhere").books.settled == 2

    @pytest.mark.parametrize("name", ["gateway.db", "gateway.db.spill"])
    def test_a_file_that_changed_is_told(self, backup: Path, path: Path, name: str) -> None:
        content = bytearray((backup / name).read_bytes())
        content[-1] ^= 1
        (backup / name).write_bytes(content)
        before = path.read_bytes()
        with pytest.raises(StoreError, match=f"{name} is not the file that was backed up"):
            restored(backup, path)
        assert path.read_bytes() == before

    def test_a_file_that_is_gone_is_told(self, backup: Path, path: Path) -> None:
        (backup / "gateway.db.spill").unlink()
        with pytest.raises(StoreError, match=r"gateway\.db\.spill is not the file"):
            restored(backup, path)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (None, "holds no backup"),
            (b"{", "is not the list of a backup"),
            (b"[]", "is not the list of a backup"),
            (b'{"format": 2, "sha256": {}}', "is not the list of a backup"),
            (b'{"format": 1, "made_at": "x", "sha256": {}}', "names files that no backup has"),
            (b'{"format": 1, "made_at": "x", "sha256": {"gateway.db": "", "../x": ""}}', "names files"),
        ],
    )
    def test_a_folder_that_is_no_backup(self, backup: Path, path: Path, content: bytes | None, said: str) -> None:
        (backup / MANIFEST).unlink()
        if content is not None:
            (backup / MANIFEST).write_bytes(content)
        with pytest.raises(StoreError, match=said):
            restored(backup, path)

    def test_the_list_says_what_it_holds(self, backup: Path) -> None:
        content = json.loads((backup / MANIFEST).read_bytes())
        assert content["books"] == {"settled": 2, "released": 0, "unknown": 0, "open": 0}
        assert content["made_at"] == MOMENT


@contextmanager
def without_privileges() -> Iterator[None]:
    """As a user who is not root, if the tests run as root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


class TestPlacesThatCannotBeWritten:
    """As a mounted snapshot: no log can be made beside the file."""

    @pytest.fixture
    def place(self) -> Iterator[Path]:
        """A folder that other users can get to."""
        with TemporaryDirectory(dir="/tmp") as name:
            Path(name).chmod(0o755)
            yield Path(name)
            Path(name).chmod(0o755)

    async def fill(self, path: Path) -> None:
        ledger = await SQLiteLedger.open(path, clock=StoppedClock())
        await write(ledger, 1)
        await ledger.close()

    def close(self, place: Path) -> None:
        for one in place.iterdir():
            one.chmod(0o444)
        place.chmod(0o555)

    async def test_a_store_that_was_closed_well_can_be_read(self, place: Path) -> None:
        await self.fill(place / "gateway.db")
        self.close(place)
        with without_privileges():
            assert verify(place / "gateway.db").settled == 1

    async def test_a_backup_can_be_read(self, path: Path, place: Path) -> None:
        await self.fill(path)
        make_backup(path, place / "copy", NOW_NS)
        (place / "copy").chmod(0o755)
        self.close(place / "copy")
        with without_privileges():
            assert read_backup(place / "copy").books.settled == 1

    async def test_rows_in_a_log_are_not_passed_over_in_silence(self, place: Path, path: Path) -> None:
        ledger = await SQLiteLedger.open(path, clock=StoppedClock())
        await write(ledger, 1)
        for ending in ("", "-wal"):
            shutil.copy(path.with_name(path.name + ending), place / f"gateway.db{ending}")
        await ledger.close()
        self.close(place)
        with without_privileges(), pytest.raises(StoreError, match="copy it and its -wal to another folder"):
            verify(place / "gateway.db")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave files that others cannot open")
class TestAsRoot:
    """The command line used with sudo, in the folder of the service's user."""

    async def test_what_root_makes_in_anothers_folder_is_that_users(self, path: Path, tmp_path: Path) -> None:
        os.chown(tmp_path, NOBODY, NOBODY)
        ledger = await SQLiteLedger.open(path, clock=StoppedClock())
        await write(ledger, 1)
        made = {one.name: (one.stat().st_uid, one.stat().st_gid) for one in tmp_path.iterdir()}
        assert set(made) == {f"gateway.db{ending}" for ending in ("", "-wal", "-shm", ".lock", ".mark", ".spill")}
        assert set(made.values()) == {(NOBODY, NOBODY)}
        await ledger.close()
        make_backup(path, tmp_path / "copy", NOW_NS)
        restored(tmp_path / "copy", path)
        owners = {one.name: one.stat().st_uid for one in (*tmp_path.iterdir(), *(tmp_path / "copy").iterdir())}
        assert set(owners.values()) == {NOBODY}

    async def test_roots_own_folder_stays_roots(self, path: Path, tmp_path: Path) -> None:
        ledger = await SQLiteLedger.open(path, clock=StoppedClock())
        await ledger.close()
        assert {one.stat().st_uid for one in tmp_path.iterdir()} == {0}
