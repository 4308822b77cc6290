"""Two connections that write or checkpoint at once can corrupt a store under many versions of SQLite: there is one.

https://sqlite.org/wal.html#walresetbug
"""

# ruff: noqa: ASYNC240 - these files are small, and nothing else runs on the loop

from __future__ import annotations

import ast
import asyncio
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import gateway
from gateway.core.errors import StoreError
from gateway.stores.sqlite import schema
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.queries import verify

from .books import StoppedClock, child, intent, settlement

KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from gateway.stores.sqlite.ledger import SQLiteLedger
from tests.stores.sqlite.books import StoppedClock, intent

async def main():
    ledger = await SQLiteLedger.open(Path(sys.argv[1]), clock=StoppedClock())
    for number in range(200):
        await ledger.reserve(intent(str(number)))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def calls_to_connect() -> list[tuple[str, str]]:
    """Every place in the program that opens a database: its file, and what it opens."""
    root = Path(gateway.__file__).parent
    calls = (
        (file.relative_to(root).as_posix(), node)
        for file in root.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call)
    )
    openers = ("sqlite3.connect", "sqlite3.Connection")
    return sorted((name, ast.unparse(call.args[0])) for name, call in calls if ast.unparse(call.func) in openers)


def test_the_program_opens_a_store_for_writing_in_one_place():
    assert calls_to_connect() == [
        ("stores/sqlite/backup.py", "target"),  # a copy that was not there before
        ("stores/sqlite/schema.py", "f'{path.as_uri()}?mode=ro&immutable=1'"),
        ("stores/sqlite/schema.py", "f'{path.as_uri()}?mode=ro'"),
        ("stores/sqlite/schema.py", "path"),
    ]


def test_a_reader_that_leaves_last_copies_nothing_from_the_log_into_the_file(path: Path):
    """The last connection to close checkpoints the log, unless it is read-only."""
    process = child(KILLED, str(path))
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    log = path.with_name("gateway.db-wal")
    before = path.read_bytes(), log.read_bytes()
    assert len(before[1]) > 200 * 50, "all of it is still in the log"
    for _ in range(3):
        assert verify(path).open == 200
    assert (path.read_bytes(), log.read_bytes()) == before


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO probe VALUES (1)",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "PRAGMA journal_mode = DELETE",
        "VACUUM",
        "CREATE TEMP TABLE t (x)",
    ],
)
async def test_a_reader_can_do_nothing_to_the_file(ledger: SQLiteLedger, path: Path, statement: str):
    for number in range(50):
        await ledger.reserve(intent(str(number)))
        ledger.settle(settlement(str(number)))
    await ledger.write(lambda store: None)
    before = path.read_bytes()
    try:
        with schema.reading(path) as store:
            store.execute("COMMIT")
            store.execute(statement).fetchall()
    except StoreError:
        pass
    assert path.read_bytes() == before
    assert verify(path).settled == 50
    await ledger.close()
    assert path.read_bytes() != before, "the writer, leaving, does what the reader could not"


async def test_a_writer_and_many_readers_leave_a_sound_store(path: Path, monkeypatch: pytest.MonkeyPatch):
    """With a log that is started over all the time, which is when the fault strikes."""
    monkeypatch.setattr(schema, "CHECKPOINT_PAGES", 2)
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    script = (
        "import sys\nfrom pathlib import Path\nfrom gateway.stores.sqlite.queries import verify\n"
        "for _ in range(60): assert verify(Path(sys.argv[1])).problems == []\nprint('sound')"
    )
    readers = [child(script, str(path)) for _ in range(2)]
    number = 0
    while any(reader.poll() is None for reader in readers):
        await ledger.reserve(intent(str(number)))
        ledger.settle(settlement(str(number)))
        await asyncio.sleep(0.001)
        number += 1
    assert [reader.communicate()[0] for reader in readers] == ["sound\n"] * 2
    await ledger.close()
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as store:
        assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert verify(path).settled == number
