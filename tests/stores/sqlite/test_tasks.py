"""Paid tasks in the ledger: known before they are asked about, whose they are for good, there after every crash."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from contextlib import closing, suppress
from datetime import UTC
from importlib.resources import files
from pathlib import Path

import pytest

from gateway.core.errors import GatewayFault, StoreError
from gateway.stores.base import Ledger
from gateway.stores.records import AttemptRecord, UsageRow
from gateway.stores.sqlite import inserts, schema
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.queries import usage, verify

from .books import StoppedClock, child, intent, nothing_pending, rows, settlement, task, until

NOW = StoppedClock().wall_ns()


async def test_a_task_that_was_recorded_is_in_the_file_and_found_at_once(ledger: SQLiteLedger, path: Path):
    books: Ledger = ledger
    await books.reserve(intent("a", paid=True))
    await books.record_task(task("task-7", "a"))
    assert rows(path, "SELECT * FROM tasks") == [("task-7", "piapi", "first", "a", "alice", "flux-dev", NOW)]
    assert await books.find_task("task-7") == task("task-7", "a")
    assert books.pending == 0


@pytest.mark.parametrize("task_id", ["task-8", "TASK-7", "task-7 ", "", "\0", "\ud800", "x" * 100_000, "' OR 1 --"])
async def test_other_ids_are_nobody_s(ledger: SQLiteLedger, task_id: str):
    await ledger.record_task(task("task-7", "a"))
    assert await ledger.find_task(task_id) is None


async def test_the_first_word_about_a_task_counts(ledger: SQLiteLedger):
    await ledger.record_task(task("task-7", "a"))
    await ledger.record_task(task("task-7", "b", key="mallory", credential="second", at_ns=NOW + 1))
    assert await ledger.find_task("task-7") == task("task-7", "a")


async def test_of_two_upstreams_with_the_same_id_the_newest_task_is_found(ledger: SQLiteLedger):
    await ledger.record_task(task("7", "new", upstream="other", at_ns=NOW + 1))
    await ledger.record_task(task("7", "old"))
    found = await ledger.find_task("7")
    assert found is not None
    assert (found.upstream, found.exchange) == ("other", "new")


async def test_tasks_of_one_moment_share_a_transaction_that_is_synced_to_disk(
    ledger: SQLiteLedger, path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[tuple[int, int]] = []
    real = inserts.insert_tasks

    def watched(connection, records):
        seen.append((len(records), connection.execute("PRAGMA synchronous").fetchone()[0]))
        real(connection, records)

    monkeypatch.setattr(inserts, "insert_tasks", watched)
    full = 2
    await asyncio.gather(
        ledger.reserve(intent("chat")), *(ledger.record_task(task(str(number), "a")) for number in range(5))
    )
    assert seen == [(5, full)]
    too_many = inserts.MAX_ROWS + 3
    await asyncio.gather(*(ledger.record_task(task(f"more-{number}", "a")) for number in range(too_many)))
    assert seen[1:] == [(inserts.MAX_ROWS, full), (3, full)]
    assert rows(path, "SELECT count(*) FROM tasks") == [5 + too_many]


async def test_a_record_that_fits_no_row_fails_alone(ledger: SQLiteLedger, path: Path, caplog):
    results = await asyncio.gather(
        ledger.record_task(task("good", "a")),
        ledger.record_task(task("\ud800", "a")),
        ledger.record_task(task("huge", "a", at_ns=2**63)),
        ledger.record_task(task("fine", "a")),
        return_exceptions=True,
    )
    assert [isinstance(result, GatewayFault) for result in results] == [False, True, True, False]
    assert rows(path, "SELECT task_id FROM tasks ORDER BY task_id") == ["fine", "good"]
    assert ledger.usable(), "the store is well"
    assert "a task fits no row" in caplog.text


async def test_a_locked_store_says_so_and_a_later_record_is_tried_all_the_same(
    ledger: SQLiteLedger, path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.01)
    await ledger.close()
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        with pytest.raises(GatewayFault) as refused:
            await ledger.record_task(task("task-7", "a"))
        assert refused.value.code == "ledger_unavailable"
        assert not ledger.usable()
        assert await ledger.find_task("task-7") is None, "reading works"
        stranger.execute("ROLLBACK")
        await ledger.record_task(task("task-8", "a"))  # bought already: nobody waits for the writer's own probe
    assert ledger.usable()
    await ledger.close()
    assert rows(path, "SELECT task_id FROM tasks") == ["task-8"]


async def test_a_record_whose_waiter_was_cancelled_is_written(ledger: SQLiteLedger):
    waiting = asyncio.get_running_loop().create_task(ledger.record_task(task("task-7", "a")))
    await asyncio.sleep(0)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    await nothing_pending(ledger)
    assert await ledger.find_task("task-7") is not None


async def test_closing_writes_what_waits_and_refuses_what_comes_later(ledger: SQLiteLedger):
    waiting = asyncio.get_running_loop().create_task(ledger.record_task(task("task-7", "a")))
    await asyncio.sleep(0)
    await ledger.close()
    await waiting
    assert await ledger.find_task("task-7") is not None
    with pytest.raises(GatewayFault):
        await ledger.record_task(task("task-8", "a"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_writer_that_dies_of_a_defect_leaves_nobody_waiting(
    ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch
):
    def out_of_memory(connection, batch):
        raise MemoryError

    monkeypatch.setattr(inserts, "insert_tasks", out_of_memory)
    reserved, recorded = await asyncio.gather(
        ledger.reserve(intent("a")), ledger.record_task(task("task-7", "a")), return_exceptions=True
    )
    assert reserved is None, "its row was committed before"
    assert isinstance(recorded, GatewayFault)
    await until(lambda: not ledger.usable())
    with pytest.raises(GatewayFault):
        await ledger.record_task(task("task-8", "a"))
    assert ledger.pending == 0


async def test_books_that_cannot_be_read_are_an_error_not_an_unknown_task(ledger: SQLiteLedger, path: Path, caplog):
    await ledger.close()
    path.rename(path.with_name("elsewhere.db"))  # noqa: ASYNC240 - nothing else runs on the loop
    with pytest.raises(GatewayFault) as refused:
        await ledger.find_task("task-7")
    assert refused.value.code == "ledger_unavailable"
    assert "a task cannot be looked up" in caplog.text


async def test_an_attempt_s_task_is_kept_with_it(ledger: SQLiteLedger, path: Path):
    await ledger.reserve(intent("a"))
    attempt = AttemptRecord("piapi", "https://api.piapi.ai", "first", "ok", 4, 30, task_id="task-7")
    ledger.settle(settlement("a", attempts=(attempt,)))
    await ledger.close()
    assert rows(path, "SELECT attempts ->> '$[0].task_id' FROM settlements") == ["task-7"]


KILLED = """
import asyncio, sys
from pathlib import Path
from gateway.stores.sqlite.ledger import SQLiteLedger
from tests.stores.sqlite.books import StoppedClock, intent, task

async def main():
    ledger = await SQLiteLedger.open(Path(sys.argv[1]), clock=StoppedClock())
    for identity in ("none", "one", "two"):
        await ledger.reserve(intent(identity, paid=True))
    await ledger.record_task(task("task-1", "one"))
    await asyncio.gather(
        ledger.record_task(task("task-2", "two")),
        ledger.record_task(task("task-3", "two", at_ns=StoppedClock().wall_ns() + 1)),
    )
    print("recorded")
    await asyncio.get_running_loop().create_future()

asyncio.run(main())
"""


async def test_after_sigkill_the_tasks_are_known_and_their_exchanges_name_them(path: Path):
    process = child(KILLED, str(path))
    with process:
        assert process.stdout is not None
        said = await asyncio.to_thread(process.stdout.readline)
        process.send_signal(signal.SIGKILL)
    assert said == "recorded\n"
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    assert ledger.recovered == 3
    assert await ledger.find_task("task-1") == task("task-1", "one")
    await ledger.close()
    assert rows(path, "SELECT id, state, task_id FROM settlements ORDER BY id") == [
        ("none", "unknown", None),
        ("one", "unknown", "task-1"),
        ("two", "unknown", "task-3"),
    ]
    assert verify(path).problems == []


def first_version(path: Path) -> None:
    """A store as the first version left it: two requests settled, one open. Nothing here is today's code."""
    script = (files("gateway.stores.sqlite") / "migrations" / "0001_ledger.sql").read_text("utf-8")
    attempt = '{"upstream":"piapi","endpoint":"https://a","credential":"c","outcome":"ok","phase":4,"cost":30}'
    with closing(sqlite3.connect(path, isolation_level=None)) as store:
        store.execute("PRAGMA journal_mode = WAL")
        store.executescript(f"BEGIN;{script};INSERT INTO schema_version VALUES (1, 5);COMMIT;")
        for identity in ("a", "b", "open"):
            store.execute(
                "INSERT INTO intents VALUES (?, ?, 'alice', NULL, 'chat', 'gpt-4o', 'req', 100, 0)", (identity, NOW)
            )
        for identity in ("a", "b"):
            store.execute(
                "INSERT INTO settlements VALUES "
                "(?, ?, 'settled', 'piapi', 'https://a', 'c', ?, 10, 4, 5, 0, 40, 30, 'measured', 200, NULL)",
                (identity, NOW, f"[{attempt}]"),
            )


async def test_a_store_of_the_first_version_is_brought_up_to_date_with_all_its_rows(path: Path):
    first_version(path)
    with pytest.raises(StoreError, match="Start the gateway once"):
        verify(path)

    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    assert ledger.recovered == 1
    await ledger.reserve(intent("new", team=None))
    await ledger.record_task(task("task-7", "new"))
    ledger.settle(settlement("new", task_id="task-7"))
    assert await ledger.find_task("task-7") == task("task-7", "new")
    await ledger.close()

    assert rows(path, "SELECT version, at_ns FROM schema_version WHERE version < 3") == [(1, 5), (2, NOW)]
    books = verify(path)
    assert (books.settled, books.unknown, books.open, books.problems) == (3, 1, 0, [])
    found = usage(path, since_ns=0, until_ns=2**63 - 1, by=["key"], time_zone=UTC)
    assert found == [UsageRow({"key": "alice"}, 4, 30, 12, 15, 0, 120, unknown_requests=1)]
