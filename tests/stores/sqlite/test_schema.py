"""Opening files of every kind: what is not a sound store of ours is left alone, and the operator is told what to do."""

# ruff: noqa: ASYNC240 - these files are small, and nothing else runs on the loop

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.errors import StoreError
from gateway.stores.sqlite import schema
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.queries import verify
from gateway.stores.sqlite.schema import open_for_writing, reading

from .books import StoppedClock, intent, rows, settlement, tamper, task

VERSIONS = range(1, len(schema.migrations()) + 1)
"""Of the schema: one for each numbered script."""


async def fill(path: Path) -> None:
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    for number in range(300):
        await ledger.reserve(intent(str(number)))
        ledger.settle(settlement(str(number)))
    await ledger.record_task(task("task-7", "7"))
    await ledger.close()


async def refused(path: Path) -> str:
    """Why the store is not opened; its bytes must be the same afterwards, and it must not stay locked."""
    before = path.read_bytes()
    with pytest.raises(StoreError) as first:
        await SQLiteLedger.open(path, clock=StoppedClock())
    with pytest.raises(StoreError) as second:
        await SQLiteLedger.open(path, clock=StoppedClock())
    assert str(first.value) == str(second.value)
    assert path.read_bytes() == before
    return str(first.value)


async def test_a_page_of_garbage(path: Path):
    await fill(path)
    content = bytearray(path.read_bytes())
    content[3 * 4096 : 5 * 4096] = bytes(byte ^ 0xFF for byte in content[3 * 4096 : 5 * 4096])
    path.write_bytes(content)
    message = await refused(path)
    assert "damaged" in message
    assert ".recover" in message


async def test_one_changed_byte_at_the_head_of_a_page(path: Path):
    await fill(path)
    content = bytearray(path.read_bytes())
    content[3 * 4096] ^= 0x04  # a leaf of a tree is now none of SQLite's kinds of page
    path.write_bytes(content)
    assert "damaged" in await refused(path)


async def test_half_a_file(path: Path):
    await fill(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "Restore a backup" in await refused(path)
    with pytest.raises(StoreError, match="damaged"):
        verify(path)


@pytest.mark.parametrize("size", [10, 5_000])
async def test_a_text_file(path: Path, size: int):
    path.write_text("x" * size)
    path.chmod(0o644)
    assert "not a database" in await refused(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    with pytest.raises(StoreError, match="not a database"):
        verify(path)


async def test_the_database_of_another_program(path: Path):
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE schema_version (version)")
    path.chmod(0o664)
    assert "another program" in await refused(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o664  # closed to others it would be of no use to that program
    with pytest.raises(StoreError, match="another program"):
        verify(path)


async def test_a_store_of_a_newer_version(path: Path):
    await fill(path)
    tamper(path, "INSERT INTO schema_version VALUES (99, 0)")
    assert "newer piapi-gateway (schema 99" in await refused(path)
    with pytest.raises(StoreError, match="newer"):
        verify(path)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (Path.mkdir, "is not a file"),
        (os.mkfifo, "is not a file"),
        (lambda path: path.symlink_to("/dev/null"), "is not a file"),
        (lambda path: path.symlink_to(path), "leads back to itself|Too many levels"),
    ],
    ids=["folder", "pipe", "device", "loop"],
)
async def test_what_is_no_file_is_no_store_and_left_as_it_is(path: Path, make: Callable[[Path], None], told: str):
    """SQLite would wait for ever for a pipe; and whoever starts it as root must not take a device from others."""
    make(path)
    before = os.stat("/dev/null").st_mode
    with pytest.raises(StoreError, match=told):
        await SQLiteLedger.open(path, clock=StoppedClock())
    assert os.stat("/dev/null").st_mode == before
    assert os.listdir(path.parent) == [path.name]


async def test_a_name_that_is_too_long_is_told(path: Path):
    with pytest.raises(StoreError, match="too long"):
        await SQLiteLedger.open(path.with_name("x" * 300), clock=StoppedClock())


async def test_a_directory_that_is_not_there(path: Path):
    with pytest.raises(StoreError, match="No such file or directory"):
        await SQLiteLedger.open(path / "deep" / "gateway.db", clock=StoppedClock())


def test_reading_does_not_make_a_store(path: Path):
    with pytest.raises(StoreError, match=r"does not exist or cannot be seen\. A gateway makes it"):
        verify(path)
    assert not path.exists()


def test_reading_an_empty_file_says_that_there_are_no_books_yet(path: Path):
    path.touch()
    with pytest.raises(StoreError, match="Start the gateway once"):
        verify(path)


def test_a_file_name_may_hold_anything_a_name_may(tmp_path: Path):
    path = tmp_path / "odd ?#% name.db"
    open_for_writing(path, 7).close()
    assert path.stat().st_size > 0
    with reading(path) as store:
        assert store.execute("SELECT version, at_ns FROM schema_version").fetchall() == [
            (version, 7) for version in VERSIONS
        ]


def test_opening_again_migrates_nothing(path: Path):
    open_for_writing(path, 7).close()
    open_for_writing(path, 8).close()
    assert rows(path, "SELECT version, at_ns FROM schema_version") == [(version, 7) for version in VERSIONS]


def test_readers_cannot_write(path: Path):
    open_for_writing(path, 7).close()
    with pytest.raises(StoreError, match="readonly"), reading(path) as store:
        store.execute("UPDATE probe SET beats = 5")


@pytest.mark.parametrize("table", ["intents", "settlements", "tasks"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET at_ns = 1", "DELETE FROM {}"])
async def test_the_books_are_append_only_even_for_their_owner(path: Path, table: str, statement: str):
    await fill(path)
    with (
        closing(sqlite3.connect(path)) as owner,
        pytest.raises(sqlite3.IntegrityError, match="the ledger is append-only"),
    ):
        owner.execute(statement.format(table))
