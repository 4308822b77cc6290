"""The mark never leads the store: whenever a process ends, and whichever write fails, nothing is taken for lost.

What is lost in truth is tried on real processes, in tests/process/test_lost_books.py.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway.stores.files import beside
from gateway.stores.records import HOUR_NS
from gateway.stores.sqlite import mark, schema, writer
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.loss import StoreLost
from gateway.stores.sqlite.mark import MarkFile, read_mark, write_mark
from gateway.stores.sqlite.queries import verify

from .books import StoppedClock, intent, nothing_pending, rows, settlement, tamper

NOW_NS = StoppedClock().wall_ns()


async def opened(path: Path) -> SQLiteLedger:
    return await SQLiteLedger.open(path, clock=StoppedClock())


async def write(books: SQLiteLedger, *numbers: int, at_ns: int = NOW_NS) -> None:
    for number in numbers:
        await books.reserve(intent(str(number), at_ns=at_ns))
        books.settle(settlement(str(number), at_ns=at_ns))
    await nothing_pending(books)


def copied(path: Path, folder: Path, *endings: str) -> Path:
    folder.mkdir()
    for ending in endings:
        if Path(f"{path}{ending}").exists():
            shutil.copy(f"{path}{ending}", folder / f"gateway.db{ending}")
    return folder / "gateway.db"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark is written after every batch."""
    monkeypatch.setattr(writer, "NOTE_SECONDS", 0.0)


@pytest.mark.usefixtures("at_once")
async def test_a_process_may_end_before_and_after_every_write_of_the_mark(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, moments = MarkFile._write, list[Path]()

    def both_sides(file: MarkFile) -> None:
        moments.append(copied(path, tmp_path / f"before{len(moments)}", "", "-wal", ".mark"))
        real(file)
        moments.append(copied(path, tmp_path / f"after{len(moments)}", "", "-wal", ".mark"))

    monkeypatch.setattr(MarkFile, "_write", both_sides)
    books = await opened(path)
    for number in range(4):
        await write(books, number)
        assert await books.watch() == ""
    await books.close()
    monkeypatch.setattr(MarkFile, "_write", real)
    assert len(moments) >= 16
    seen = set()
    for store in moments:
        again = await opened(store)
        await again.close()
        seen.add(verify(store).settled)
        assert verify(store).problems == []
    assert seen >= {1, 2, 3, 4}


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("call", ["write_at", "sync_data", "sync_folder"])
async def test_any_write_of_the_mark_may_fail(path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """A disk that is full, one that fails: from the n-th write on."""
    real = getattr(mark, call)
    for allowed in range(12):
        calls = 0

        def failing(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > allowed:  # noqa: B023 - it is called within this round
                raise OSError(28, "No space left on device")
            return real(*arguments)

        monkeypatch.setattr(mark, call, failing)
        books = await opened(path)
        await write(books, allowed * 10, allowed * 10 + 1)
        assert await books.watch() == ""
        await write(books, allowed * 10 + 2)
        assert books.usable()
        await books.close()
        monkeypatch.setattr(mark, call, real)
    books = await opened(path)
    await books.close()
    assert (verify(path).settled, verify(path).problems) == (36, [])


async def test_a_mark_that_could_not_be_written_is_told_and_made_as_soon_as_it_can_be(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    beside(path, "mark").mkdir()
    books = await opened(path)
    await write(books, 1)
    assert await books.watch() == ""
    assert caplog.text.count("would not notice a loss") == 1
    beside(path, "mark").rmdir()
    assert await books.watch() == ""
    assert read_mark(path).position is not None
    await books.close()


@pytest.mark.usefixtures("at_once")
async def test_a_mark_that_is_taken_away_from_a_running_gateway_is_made_again(path: Path) -> None:
    books = await opened(path)
    await write(books, 1)
    assert await books.watch() == ""
    beside(path, "mark").unlink()
    await write(books, 2)
    await books.watch()
    known = read_mark(path).position
    assert known is not None
    assert known.counts["intents"].ever >= 1
    await books.close()


async def test_what_was_pruned_is_no_loss_however_old_the_mark(path: Path, tmp_path: Path) -> None:
    books = await opened(path)
    await write(books, *range(20), at_ns=NOW_NS - 90 * 24 * HOUR_NS)
    await write(books, 50)
    await books.watch()
    shutil.copy(beside(path, "mark"), tmp_path / "old")
    await write(books, 51)
    assert (await books.prune(NOW_NS - 30 * 24 * HOUR_NS, NOW_NS)).settled == 20
    await books.close()
    shutil.copy(tmp_path / "old", beside(path, "mark"))
    again = await opened(path)
    await write(again, 52)
    await again.close()
    assert (verify(path).settled, verify(path).pruned, verify(path).problems) == (3, 20, [])


@pytest.mark.usefixtures("at_once")
async def test_after_a_power_cut_only_what_was_on_the_disk_is_owed(path: Path, tmp_path: Path) -> None:
    books = await opened(path)
    await write(books, 1, 2)
    await books.watch()
    earlier = copied(path, tmp_path / "earlier", "", "-wal")
    await write(books, 3, 4)
    await books.mark()
    later = read_mark(path)
    await books.close()
    assert later.seen is not None
    assert later.synced is not None
    lost = later.seen.counts["intents"].ever > later.synced.counts["intents"].ever
    assert lost, "or nothing is tried here"
    write_mark(earlier, later)
    with pytest.raises(StoreLost, match="of 4 requests"):
        await opened(earlier)
    write_mark(earlier, later._replace(boot="another"))
    again = await opened(earlier)
    await again.close()


async def test_a_row_that_is_missing_in_a_large_store_is_found_beside_the_work(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = await opened(path)
    await write(books, *range(50))
    await books.close()
    tamper(path, "DELETE FROM settlements WHERE id = '7'", "DELETE FROM intents WHERE id = '7'")
    monkeypatch.setattr(schema, "CHECKED_AT_ONCE", 0)
    books = await opened(path)
    assert books.usable()
    finding = await books.check(lambda *_: None)
    assert "1 of 50 rows of 'intents' are missing" in finding
    assert "--accept-loss" in finding
    assert not books.usable()
    await books.close()


async def test_another_past_is_not_the_one_of_the_mark(path: Path, tmp_path: Path) -> None:
    """A copy that served elsewhere and has more rows by now, yet not those that the mark knows of."""
    books = await opened(path)
    await write(books, 1, 2)
    await books.watch()
    copy = copied(path, tmp_path / "copy", "", "-wal")
    await write(books, 3)
    await books.close()
    elsewhere = await opened(copy)
    await write(elsewhere, 10, 11, 12, 13)
    await elsewhere.close()
    copy.replace(path)
    with pytest.raises(StoreLost, match="are not those of its mark"):
        await opened(path)
    assert rows(path, "SELECT count(*) FROM intents") == [6]
