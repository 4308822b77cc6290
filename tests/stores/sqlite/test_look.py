"""A short look at a store: what it tells, and that the folder is afterwards as it was."""

# ruff: noqa: ASYNC240 - these files are small, and nothing else runs on the loop

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.errors import StoreError
from gateway.stores.engines import look_at_store, read_store, without_traces
from gateway.stores.spill import Spill
from gateway.stores.sqlite import schema
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.store_look import StoreLook

from .books import StoppedClock, intent, settlement

KNOWN = len(schema.migrations())


def everything(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


async def looked(path: Path, within: float = 5.0) -> StoreLook | None:
    """What is found; nothing in the folder may change by it."""
    before = everything(path.parent)
    try:
        return await look_at_store(f"sqlite:///{path}", within)
    finally:
        assert everything(path.parent) == before


@pytest.fixture
async def ledger(path: Path) -> SQLiteLedger:
    opened = await SQLiteLedger.open(path, clock=StoppedClock())
    for number in range(10):
        await opened.reserve(intent(str(number)))
        if number < 7:
            opened.settle(settlement(str(number)))
    return opened


async def test_a_store_that_is_not_there_is_not_made(path: Path) -> None:
    assert await looked(path) is None
    path.touch()
    assert await looked(path) is None


async def test_beside_its_gateway(path: Path, ledger: SQLiteLedger) -> None:
    look = await look_at_store(f"sqlite:///{path}", 5.0)
    await ledger.close()
    assert look is not None
    assert (look.schema, look.known, look.damage, look.lost) == (KNOWN, KNOWN, "", ())
    assert look.open is not None
    assert look.open >= 3
    assert look.log_bytes > 0


async def test_without_one_nothing_is_left_beside_it_also_not_by_what_reads_its_keys(
    path: Path, ledger: SQLiteLedger
) -> None:
    await ledger.close()
    look = await looked(path)
    assert look is not None
    assert (look.open, look.spilled, look.engine) == (3, 0, f"SQLite {sqlite3.sqlite_version}")
    before = everything(path.parent)
    with without_traces():
        assert await read_store(f"sqlite:///{path}").keys.page() == []
        assert len(await read_store(f"sqlite:///{path}").usage.held(0)) >= 0
    assert everything(path.parent) == before


async def test_what_waits_in_the_spill_file_is_counted(path: Path, ledger: SQLiteLedger) -> None:
    await ledger.close()
    spill = Spill.open(path)
    assert spill.append([settlement("8"), settlement("9")])
    spill.close()
    look = await looked(path)
    assert look is not None
    assert look.spilled == 2


async def test_no_time_is_no_finding(path: Path, ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    await ledger.close()
    monkeypatch.setattr("gateway.stores.sqlite.look._STEPS", 1)
    look = await looked(path, within=-1.0)
    assert look is not None
    assert (look.damage, look.open, look.lost) == (None, None, None)


@pytest.mark.parametrize("change", [-1, 1])
async def test_an_older_schema_is_told_and_a_newer_one_refused(path: Path, ledger: SQLiteLedger, change: int) -> None:
    await ledger.close()
    with closing(sqlite3.connect(path)) as store:
        if change > 0:
            store.execute("INSERT INTO schema_version VALUES (?, 0)", (KNOWN + 1,))
        else:
            store.execute("DELETE FROM schema_version WHERE version = ?", (KNOWN,))
        store.commit()
    if change > 0:
        with pytest.raises(StoreError, match="newer piapi-gateway"):
            await looked(path)
        return
    look = await looked(path)
    assert look is not None
    assert (look.schema, look.known) == (KNOWN - 1, KNOWN)


async def test_a_file_of_something_else_is_refused(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1000)
    with pytest.raises(StoreError, match="damaged or not a database"):
        await looked(path)


async def test_a_log_of_a_machine_that_went_down_is_left_to_the_next_start(path: Path, ledger: SQLiteLedger) -> None:
    """With rows in the log and without its index, reading them would make that anew."""
    log = path.with_name(f"{path.name}-wal")
    copy = {name: content for name, content in everything(path.parent).items() if not name.endswith("-shm")}
    await ledger.close()
    for file in path.parent.iterdir():
        file.unlink()
    for name, content in copy.items():
        (path.parent / name).write_bytes(content)
    assert log.stat().st_size
    with pytest.raises(StoreError, match="look again after it"):
        await looked(path)
