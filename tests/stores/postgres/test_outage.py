"""A server that is stopped, stalls or crashes: nothing is bought without a row, no settlement is lost, and it heals."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gateway.core.errors import GatewayFault
from gateway.stores.postgres import link, settlements
from tests.engines import PostgresServer
from tests.stores.makers import nothing_pending, task

from .ledgers import NOW, books, child, intent, open_books, refused, rows, settlement, spilled, until

BACK_WITHIN = 6.0
"""Seconds from the server's return until requests are served; two on a machine that has nothing else to do."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of these tests alone, which find it running."""
    made = PostgresServer()
    yield made
    made.close()


@pytest.fixture
def url(server: PostgresServer) -> Iterator[str]:
    yield server.new_database()
    server.resume()
    if not server.child.running:
        server.start()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(link, "CONNECT_SECONDS", 0.5)


async def stopped(server: PostgresServer) -> None:
    await asyncio.to_thread(server.stop)


async def started(server: PostgresServer) -> None:
    await asyncio.to_thread(server.start)


async def test_a_server_that_is_stopped_refuses_requests_and_settles_those_that_run(
    server: PostgresServer, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with books(url, tmp_path) as ledger:
        for identity in "abc":
            await ledger.reserve(intent(identity))
        await stopped(server)
        assert await refused(ledger, intent("d"))
        assert not ledger.usable()
        assert "cannot be used" in ledger.finding
        assert await refused(ledger, intent("e"))
        ledger.settle(settlement("a"))
        ledger.settle(settlement("b", charged=7))
        await until(lambda: '"b"' in spilled(tmp_path))
        ledger.settle(settlement("c"))
        await until(lambda: '"c"' in spilled(tmp_path))
        lines = [line for line in spilled(tmp_path).split("\n") if '"charged"' in line]
        assert sum(f'"id":"{identity}"' in line for line in lines for identity in "abc") == 3, "each once"
        assert ledger.spilled() >= 3
        with pytest.raises(GatewayFault):
            await ledger.held(NOW)
        with pytest.raises(GatewayFault):
            await ledger.record_task(task("task-1", "a"))
        await started(server)
        back = time.monotonic()
        await until(ledger.usable)
        await ledger.reserve(intent("f"))
        assert time.monotonic() - back < BACK_WITHIN
        await ledger.record_task(task("task-1", "a"))
        await nothing_pending(ledger)
        await until(lambda: spilled(tmp_path) == "")
        assert ledger.spilled() == 0
        assert ledger.finding == ""
        assert await ledger.charged_since(0) == {("alice", "growth", "gpt-4o"): 87}
    assert await rows(url, "SELECT id FROM settlements WHERE state = 'settled' ORDER BY id") == ["a", "b", "c"]
    assert await rows(url, "SELECT id FROM intents ORDER BY id") == ["a", "b", "c", "f"]
    assert await rows(url, "SELECT id FROM open_intents") == ["f"]
    changes = [record for record in caplog.records if "the ledger" in record.message]
    assert [record.levelno for record in changes] == [logging.ERROR, logging.WARNING], "one line for each change"


async def test_without_traffic_it_is_found_to_be_gone_and_back(
    server: PostgresServer, url: str, tmp_path: Path
) -> None:
    store = await open_books(url, tmp_path)
    await stopped(server)
    await until(lambda: not store.ledger.usable())
    assert "cannot be used" in store.ledger.finding
    await started(server)
    await until(store.ledger.usable)
    assert store.ledger.finding == ""
    await store.close()


async def test_a_server_that_stalls_costs_seconds_once_and_settlements_are_on_our_disk_before(
    server: PostgresServer, url: str, tmp_path: Path, impatient: None
) -> None:
    async with books(url, tmp_path) as ledger:
        for identity in "ab":
            await ledger.reserve(intent(identity))
        server.pause()
        ledger.settle(settlement("a"))
        waiting = [
            asyncio.get_running_loop().create_task(refused(ledger, intent(f"new{number}"))) for number in range(20)
        ]
        await until(lambda: '"a"' in spilled(tmp_path))
        assert all(await asyncio.gather(*waiting))
        with pytest.raises(GatewayFault):
            ledger.reserve(intent("d")).send(None)  # at once from then on: nothing is waited for
        ledger.settle(settlement("b"))
        await until(lambda: '"b"' in spilled(tmp_path))
        server.resume()
        back = time.monotonic()
        await until(ledger.usable)
        await ledger.reserve(intent("f"))
        assert time.monotonic() - back < BACK_WITHIN
        await nothing_pending(ledger)
        await ledger.sweep(0.0)
        await nothing_pending(ledger)
        assert await rows(url, "SELECT id FROM open_intents") == ["f"], "what was refused is not held"
        settled = "SELECT id, state, charged FROM settlements WHERE state = 'settled' ORDER BY id"
        assert await rows(url, settled) == [("a", "settled", 40), ("b", "settled", 40)]


async def test_what_a_server_loses_in_a_crash_is_written_again(
    server: PostgresServer, url: str, tmp_path: Path
) -> None:
    """Intents that nothing is paid for are committed without waiting for the server's disk."""
    async with books(url, tmp_path) as ledger:
        await ledger.reserve(intent("before"))
        await rows(url, "CREATE TABLE stays (id integer)")  # what came before is on the disk with it
        await ledger.reserve(intent("a"))
        await asyncio.to_thread(server.crash)
        ledger.settle(_whole("a"))
        ledger.settle(_whole("before"))
        await started(server)
        await nothing_pending(ledger)
        assert await rows(url, "SELECT id FROM intents ORDER BY id") == ["a", "before"]
        assert await rows(url, "SELECT id FROM open_intents") == []
        assert await ledger.charged_since(0) == {("alice", "growth", "gpt-4o"): 80}


def _whole(identity: str) -> Any:
    """A settlement as requests have it: of the same record as the intent."""
    settled, intended = settlement(identity), intent(identity)
    for name in ("at_ns", "key", "team", "route", "model", "request_id", "reserved"):
        setattr(settled, name, getattr(intended, name))
    return settled


async def test_an_intent_that_was_lost_is_written_with_its_settlement(url: str, tmp_path: Path) -> None:
    async with books(url, tmp_path) as ledger:
        ledger.settle(_whole("a"))
        await nothing_pending(ledger)
        assert await rows(url, "SELECT id, key, reserved FROM intents") == [("a", "alice", 100)]
        assert await ledger.charged_since(0) == {("alice", "growth", "gpt-4o"): 40}


async def test_closing_over_a_server_that_is_gone_leaves_settlements_to_the_next_start(
    server: PostgresServer, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(settlements, "CLOSING_SECONDS", 0.3)
    store = await open_books(url, tmp_path)
    await store.ledger.reserve(intent("a"))
    await stopped(server)
    store.ledger.settle(settlement("a"))
    await store.close()
    assert "not booked yet, the next start will" in caplog.text
    await started(server)
    again = await open_books(url, tmp_path)
    assert (again.booked_late, again.recovered) == (1, 0)
    assert await rows(url, "SELECT id, charged FROM settlements") == [("a", 40)]
    await again.close()
    assert spilled(tmp_path) == ""


LEAVING_A_SPILL = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.stores.postgres.ledgers import intent, open_books, settlement, spilled, until

async def main():
    url, folder, server = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    store = await open_books(url, folder, "gw_dead")
    for identity in "abc":
        await store.ledger.reserve(intent(identity))
    print("ready", flush=True)
    sys.stdin.readline()
    store.ledger.settle(settlement("a"))
    store.ledger.settle(settlement("b"))
    await until(lambda: '"b"' in spilled(folder))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def leave_a_spill(server: PostgresServer, url: str, folder: Path) -> None:
    """A gateway that is killed with two settlements in its spill file, and one request open."""
    process = child(LEAVING_A_SPILL, url, str(folder), str(server.child.process.pid))
    assert process.stdout is not None
    assert process.stdin is not None
    assert await asyncio.to_thread(process.stdout.readline) == b"ready\n"
    server.pause()
    process.stdin.write(b"\n")
    process.stdin.flush()
    await asyncio.to_thread(process.wait, 60)
    process.stdout.close()
    process.stdin.close()
    assert process.returncode == -signal.SIGKILL
    server.resume()


async def test_killed_over_a_server_that_stalls_any_gateway_books_what_was_spilled(
    server: PostgresServer, url: str, tmp_path: Path
) -> None:
    await leave_a_spill(server, url, tmp_path)
    store = await open_books(url, tmp_path)
    assert store.booked_late + store.recovered == 3
    assert await rows(url, "SELECT id, state, charged FROM settlements ORDER BY id") == [
        ("a", "settled", 40),
        ("b", "settled", 40),
        ("c", "unknown", 0),
    ]
    assert await rows(url, "SELECT left_by FROM settlements WHERE id = 'c'") == ["gw_dead"]
    await store.close()
    assert spilled(tmp_path) == ""


async def test_killed_between_booking_and_removing_the_file_books_nothing_twice(
    server: PostgresServer, url: str, tmp_path: Path
) -> None:
    await leave_a_spill(server, url, tmp_path)
    [file] = (tmp_path / "spill").iterdir()
    content = file.read_bytes()
    for _ in range(3):
        store = await open_books(url, tmp_path)
        await store.close()
        file.write_bytes(content)
    assert await rows(url, "SELECT count(*), sum(charged) FROM settlements") == [(3, 80)]
    store = await open_books(url, tmp_path)
    assert (store.booked_late, store.recovered) == (0, 0)
    assert await store.ledger.charged_since(0) == {("alice", "growth", "gpt-4o"): 80}
    assert await rows(url, "SELECT count(*) FROM corrections") == [0]
    await store.close()


async def test_what_was_spilled_and_fits_no_row_is_set_aside(server: PostgresServer, url: str, tmp_path: Path) -> None:
    async with books(url, tmp_path) as ledger:
        for identity in "ab":
            await ledger.reserve(intent(identity))
        await stopped(server)
        ledger.settle(settlement("a", charged=-1))
        ledger.settle(settlement("b"))
        await until(lambda: '"b"' in spilled(tmp_path))
        await started(server)
        await nothing_pending(ledger)
    assert await rows(url, "SELECT id FROM unbookable") == ["a"]
    assert await rows(url, "SELECT id FROM settlements") == ["b"]


async def test_a_server_that_takes_no_writes_refuses_requests_until_it_does(url: str, tmp_path: Path) -> None:
    database = url.rsplit("/", 1)[-1]
    async with books(url, tmp_path) as ledger:
        await ledger.reserve(intent("a"))
        await rows(url, f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        await rows(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                   "AND datname = current_database()")  # fmt: skip
        assert await refused(ledger, intent("b"))
        ledger.settle(settlement("a"))
        await until(lambda: '"a"' in spilled(tmp_path))
        await asyncio.sleep(3 * link.RETRY_SECONDS)
        assert not ledger.usable(), "that it answers is not enough"
        connection = await asyncpg.connect(url, server_settings={"default_transaction_read_only": "off"})
        await connection.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
        await connection.close()
        await until(ledger.usable)
        await ledger.reserve(intent("c"))
        await nothing_pending(ledger)
    assert await rows(url, "SELECT id FROM settlements WHERE state = 'settled'") == ["a"]
