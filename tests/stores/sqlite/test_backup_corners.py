"""Backups in odd company: an earlier store's mark, a log left by a kill, a prune that runs, copies by hand."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from gateway.stores.sqlite import inserts
from gateway.stores.sqlite.backup import make_backup, restore_backup
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.mark import file_state, read_mark, write_mark
from gateway.stores.sqlite.queries import verify

from .books import StoppedClock, intent, nothing_pending, rows, settlement

NOW_NS = StoppedClock().wall_ns()
HOUR_NS = 3600 * 1_000_000_000


async def opened(path: Path) -> SQLiteLedger:
    return await SQLiteLedger.open(path, clock=StoppedClock())


async def write(ledger: SQLiteLedger, *numbers: int, at_ns: int = NOW_NS) -> None:
    for number in numbers:
        await ledger.reserve(intent(str(number), at_ns=at_ns))
        ledger.settle(settlement(str(number), at_ns=at_ns))
    await nothing_pending(ledger)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of some rows is large enough for the mark to count."""
    monkeypatch.setattr(inserts, "FEW", 2)


async def test_the_mark_of_what_stood_there_is_not_the_copys(path: Path, tmp_path: Path) -> None:
    """Even where the file gets the number of the one before, as a disk gives it again to the next."""
    ledger = await opened(path)
    await write(ledger, 1, 2, 3)
    await ledger.reserve(intent("open at the backup"))
    await asyncio.to_thread(make_backup, path, tmp_path / "copy", NOW_NS)
    ledger.settle(settlement("open at the backup"))
    await write(ledger, *range(10, 20))
    await ledger.close()
    assert read_mark(path).settled_through == 14
    restore_backup(tmp_path / "copy", path, NOW_NS)
    mark = read_mark(path)
    assert (mark.clean, mark.settled_through) == (False, 0)
    assert mark.position is not None
    assert mark.position.counts["intents"].ever == 4, "it is the copy's"
    again = await opened(path)
    assert again.recovered == 1, "what was open when it was copied"
    await again.close()
    assert rows(path, "SELECT state FROM settlements WHERE id = 'open at the backup'") == ["unknown"]


async def test_a_mark_that_knows_more_rows_than_there_are_is_of_others(path: Path) -> None:
    ledger = await opened(path)
    await write(ledger, 1, 2, 3)
    await ledger.reserve(intent("open"))
    await ledger.close()
    write_mark(path, read_mark(path)._replace(settled_through=1000))
    assert read_mark(path).file == file_state(path)
    ledger = await opened(path)
    assert ledger.recovered == 1
    await ledger.close()


async def test_a_log_beside_what_stood_there_goes_aside_with_it(path: Path, tmp_path: Path) -> None:
    ledger = await opened(path)
    await write(ledger, 1, 2)
    make_backup(path, tmp_path / "copy", NOW_NS)
    await write(ledger, 3, 4)
    killed = tmp_path / "killed"
    killed.mkdir()
    for ending in ("", "-wal"):  # as a kill leaves them: rows 3 and 4 are in the log alone
        shutil.copy(f"{path}{ending}", killed / f"gateway.db{ending}")
    await ledger.close()
    store = killed / "gateway.db"
    aside = restore_backup(tmp_path / "copy", store, NOW_NS)[1]
    assert {one.name.partition("Z")[2] for one in aside} == {"", "-wal"}
    assert verify(store).settled == 2
    again = await opened(store)
    await write(again, 9)
    await again.close()
    assert (verify(store).settled, verify(store).problems) == (3, [])
    assert verify(aside[0]).settled == 4, "and what was there is whole, with its log"


async def test_a_copy_made_while_rows_are_pruned_is_right(path: Path, tmp_path: Path) -> None:
    ledger = await opened(path)
    long_ago = NOW_NS - 90 * 24 * HOUR_NS
    await write(ledger, *range(3000), at_ns=long_ago)
    await write(ledger, 5000)
    pruning = asyncio.get_running_loop().create_task(ledger.prune(NOW_NS - 30 * 24 * HOUR_NS, NOW_NS))
    copies = 0
    while not pruning.done():
        made = await asyncio.to_thread(make_backup, path, tmp_path / f"copy{copies}", NOW_NS)
        assert made.books.problems == []
        copies += 1
    assert (await pruning).settled == 3000
    assert copies
    await ledger.close()
    assert verify(path).problems == []
    for number in range(copies):
        store = tmp_path / f"back{number}" / "gateway.db"
        restore_backup(tmp_path / f"copy{number}", store, NOW_NS)
        books = verify(store)
        assert (books.settled + books.pruned, books.problems) == (3001, [])


async def test_a_copy_by_hand_needs_its_log_and_may_have_its_mark(path: Path, tmp_path: Path) -> None:
    ledger = await opened(path)
    await write(ledger, 1, 2, 3)
    for ending in ("", "-wal", ".mark"):
        shutil.copy(f"{path}{ending}", tmp_path / f"copy.db{ending}")
    await ledger.close()
    copy = tmp_path / "copy.db"
    assert (verify(copy).settled, verify(copy).problems) == (3, [])
    mark = read_mark(copy)
    assert (mark.clean, mark.settled_through) == (False, 0), "it is of another file"
