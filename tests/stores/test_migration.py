"""A SQLite store carried over to a PostgreSQL: everything is there, whatever interrupted it, and nothing is mixed."""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gateway.core.errors import StoreError
from gateway.stores import migrated_tables, migration
from gateway.stores.engines import migrate_store, open_store, read_store
from gateway.stores.gateway_records import GatewayState
from gateway.stores.key_records import KeySettings
from gateway.stores.migration import Migrated
from gateway.stores.postgres import migrated_books
from gateway.stores.records import BookedPrice
from gateway.stores.spill import Spill
from gateway.stores.sqlite.lock import StoreLock
from tests.engines import PostgresServer
from tests.process.running import files
from tests.stores.makers import StoppedClock, intent, nothing_pending, settlement
from tests.stores.sqlite.books import child

from .furnished import NOW, PEPPER, furnish, told


@pytest.fixture
async def source(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.db"
    await furnish(path)
    return path


async def move(source: Path, url: str, stop_after: int = 10**9, now_ns: int = NOW) -> Migrated:
    """Carry it over; it is interrupted once it has told of its progress so often."""
    told_of = 0

    def progress(what: str, done: int, total: int) -> None:
        nonlocal told_of
        assert 0 <= done <= total
        told_of += 1
        if told_of > stop_after:
            raise KeyboardInterrupt

    return await migrate_store(f"sqlite:///{source}", url, now_ns, progress)


async def everything(url: str, folder: Path) -> dict[str, Any]:
    store = await open_store(url, StoppedClock(), "gw_1", folder / "spill")
    try:
        return await told(store)
    finally:
        await store.close()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def storable(value: Any) -> str:
    """As the source says it, but for what no text of PostgreSQL can hold."""
    return repr(value).replace("\\x00", "\ufffd")


async def test_everything_is_told_as_before_and_the_source_is_as_it_was(
    source: Path, postgres_url: str, tmp_path: Path
) -> None:
    before = await everything(f"sqlite:///{source}", tmp_path)
    bytes_before = digest(source)
    done = await move(source, postgres_url)
    assert done.problems == []
    assert done.compared is not None
    assert (done.compared.keys, done.open) == (4, 0)
    assert done.compared.requests > 60
    assert done.compared.months >= 4, "those that were pruned are sums only, and there all the same"
    assert digest(source) == bytes_before
    after = await everything(postgres_url, tmp_path)
    for name, value in before.items():
        assert storable(after[name]) == storable(value), name
    books = await read_store(postgres_url).usage.verify()
    assert books.problems == []
    here = await read_store(f"sqlite:///{source}").usage.verify()
    assert replace(books, problems=[]) == replace(here, problems=[])
    assert here.pruned > 10


async def test_interrupted_anywhere_it_goes_on_and_nothing_is_there_twice(
    source: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = await everything(f"sqlite:///{source}", tmp_path)
    monkeypatch.setattr(migrated_tables, "MOST_ROWS", 7)
    runs = 0
    while True:
        try:
            done = await move(source, postgres_url, stop_after=4)
            break
        except KeyboardInterrupt:
            runs += 1
            with pytest.raises(StoreError, match=r"whose migration has not ended. Run again: piapi-gateway migrate"):
                await everything(postgres_url, tmp_path)
    assert runs > 20
    assert done.problems == []
    after = await everything(postgres_url, tmp_path)
    for name, value in before.items():
        assert storable(after[name]) == storable(value), name


KILLED = """
import asyncio, sys
from gateway.stores import migrated_tables, migration
from gateway.stores.engines import migrate_store
migrated_tables.MOST_ROWS = 3
def told(what, done, total):
    print(what, done, flush=True)
asyncio.run(migrate_store(sys.argv[1], sys.argv[2], 5, told))
"""


@pytest.mark.parametrize("rows", [1, 60, 150, 230])
async def test_killed_anywhere_it_goes_on(source: Path, postgres_url: str, rows: int, tmp_path: Path) -> None:
    before = await everything(f"sqlite:///{source}", tmp_path)
    with child(KILLED, f"sqlite:///{source}", postgres_url) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line.split()[1]) >= rows:
                break
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    done = await move(source, postgres_url)
    assert done.problems == []
    after = await everything(postgres_url, tmp_path)
    for name, value in before.items():
        assert storable(after[name]) == storable(value), name


async def test_a_server_that_ends_in_the_middle_is_told_of_and_it_goes_on(
    source: Path, own_postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = own_postgres.new_database()
    monkeypatch.setattr(migrated_tables, "MOST_ROWS", 7)

    def progress(what: str, done: int, total: int) -> None:
        if what == "settlements" and done > 100:
            own_postgres.stop()

    with pytest.raises(StoreError, match="What is there stays: run the same command again to go on") as failed:
        await migrate_store(f"sqlite:///{source}", url, NOW, progress)
    assert "Traceback" not in str(failed.value)
    own_postgres.start()
    assert (await move(source, url)).problems == []


async def test_what_was_left_open_and_what_lies_in_the_spill_file_comes_along(
    tmp_path: Path, postgres_url: str
) -> None:
    source = tmp_path / "gateway.db"
    store = await open_store(f"sqlite:///{source}", StoppedClock())
    for name in ("open", "spilled", "settled"):
        await store.ledger.reserve(intent(name))
    store.ledger.settle(settlement("settled"))
    await nothing_pending(store.ledger)
    with closing(sqlite3.connect(source)) as copy, closing(sqlite3.connect(tmp_path / "copy.db")) as killed:
        copy.backup(killed)  # as it was before the store was closed, which settles nothing of these
    await store.close()
    spill = Spill.open(tmp_path / "copy.db")
    spill.append([settlement("spilled", charged=7), settlement("settled", charged=9)])
    spill.close()
    done = await move(tmp_path / "copy.db", postgres_url)
    assert (done.problems, done.open) == ([], 2)
    first = await open_store(postgres_url, StoppedClock(), "gw_1", tmp_path / "spill")
    try:
        assert first.recovered == 1
        assert [one.id for one in await first.ledger.unknown_exchanges(0)] == ["open"]
        assert sum((await first.usage.charged_since(0)).values()) == 7 + 40
        assert (await first.usage.verify()).problems == []
    finally:
        await first.close()


async def test_a_source_that_a_gateway_serves_from_is_refused(source: Path, postgres_url: str) -> None:
    lock = StoreLock.take(source)
    with pytest.raises(StoreError, match=f"in use by process {os.getpid()}.*Stop that gateway"):
        await move(source, postgres_url)
    lock.release()
    assert (await move(source, postgres_url)).problems == []


async def test_a_source_that_is_not_there_is_refused_and_not_made(tmp_path: Path, postgres_url: str) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        await move(tmp_path / "other.db", postgres_url)
    assert files(tmp_path) == []


async def test_other_books_are_not_mixed_with(source: Path, postgres_url: str, tmp_path: Path) -> None:
    other = await open_store(postgres_url, StoppedClock(), "gw_1", tmp_path / "spill")
    await other.keys.create("alice", b"d" * 32, PEPPER.mark, KeySettings(), NOW)
    await other.close()
    with pytest.raises(StoreError, match=r"holds other books already \(keys\).*Give --to an empty database"):
        await move(source, postgres_url)
    again = await open_store(postgres_url, StoppedClock(), "gw_1", tmp_path / "spill")
    assert [key.name for key in await again.keys.page()] == ["alice"]
    await again.close()


async def test_a_database_that_a_gateway_has_only_looked_at_is_taken(
    source: Path, postgres_url: str, tmp_path: Path
) -> None:
    store = await open_store(postgres_url, StoppedClock(), "gw_1", tmp_path / "spill")
    await store.teams.remember({"growth": None, "ops": None}, 1)
    await store.close()
    assert (await move(source, postgres_url)).problems == []
    after = await everything(postgres_url, tmp_path)
    assert sorted(after["teams"]) == ["free", "growth"]


async def test_a_second_store_is_not_added_to_the_first(source: Path, postgres_url: str, tmp_path: Path) -> None:
    await move(source, postgres_url)
    other = tmp_path / "other.db"
    await furnish(other, 3)
    with pytest.raises(StoreError, match="holds the books of another store"):
        await move(other, postgres_url)


async def test_a_source_that_has_changed_meanwhile_is_not_gone_on_with(
    source: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrated_tables, "MOST_ROWS", 7)
    with pytest.raises(KeyboardInterrupt):
        await move(source, postgres_url, stop_after=9)
    store = await open_store(f"sqlite:///{source}", StoppedClock())
    await store.keys.revoke("alice", NOW)
    await store.close()
    with pytest.raises(StoreError, match=r"has changed since its migration.*Give --to an empty database"):
        await move(source, postgres_url)


async def test_once_it_has_ended_it_changes_nothing_more(source: Path, postgres_url: str, tmp_path: Path) -> None:
    await move(source, postgres_url)
    store = await open_store(postgres_url, StoppedClock(), "gw_1", tmp_path / "spill")
    await store.ledger.reserve(intent("new"))
    store.ledger.settle(settlement("new"))
    await nothing_pending(store.ledger)
    await store.close()
    again = await move(source, postgres_url)
    assert (again.compared, again.problems) == (None, [])


async def test_a_difference_is_named_and_no_gateway_serves_from_it(
    source: Path, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url = postgres_server.new_database()

    def progress(what: str, done: int, total: int) -> None:
        if what == "comparing":
            for statement in (
                "UPDATE spent SET charged = charged + 1 WHERE span = 3600 AND key = 'bob'",
                "UPDATE keys SET rpm = 1 WHERE name = 'carol'",
                "DELETE FROM responses WHERE id = 'resp_1'",
            ):
                postgres_server.execute(statement, url.rpartition("/")[2])

    done = await migrate_store(f"sqlite:///{source}", url, NOW, progress)
    assert any("the sums of usage of key bob in 2023-" in problem for problem in done.problems)
    assert "responses: 2 rows here and 1 there" in done.problems
    assert "the key carol is not as it was" in done.problems
    with pytest.raises(StoreError, match="has not ended"):
        await everything(url, tmp_path)


async def test_a_price_that_is_new_after_all_gets_a_number_of_its_own(
    source: Path, postgres_url: str, tmp_path: Path
) -> None:
    await move(source, postgres_url)
    store = await open_store(postgres_url, StoppedClock(), "gw_1", tmp_path / "spill")
    await store.ledger.reserve(intent("new"))
    store.ledger.settle(settlement("new", price=BookedPrice("piapi", "gpt-5", '{"input":9}')))
    await nothing_pending(store.ledger)
    assert (await store.usage.verify()).problems == []
    await store.close()


async def test_of_two_that_carry_over_at_once_one_waits_in_vain(
    source: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "LOCK_WITHIN", 0.2)
    other = await asyncpg.connect(postgres_url)
    await other.execute("SELECT pg_advisory_lock($1::bigint)", migrated_books.LOCK)
    with pytest.raises(StoreError, match="another process is carrying a store over"):
        await move(source, postgres_url)
    await other.close()
    assert (await move(source, postgres_url)).problems == []


async def test_a_database_that_a_gateway_serves_from_is_refused(
    source: Path, postgres_url: str, tmp_path: Path
) -> None:
    store = await open_store(postgres_url, StoppedClock(), "gw_1", tmp_path / "spill")
    await store.gateways.beat(GatewayState("gw_1", 1, "1.0", "host", 7, "", "", 0, {}))
    with pytest.raises(StoreError, match="is in use by 1 running gateway"):
        await move(source, postgres_url)
    await store.gateways.leave("gw_1")
    await store.close()
    assert (await move(source, postgres_url)).problems == []


@pytest.mark.parametrize("name", ["first", "served"])
async def test_what_earlier_versions_wrote_comes_along(name: str, postgres_url: str, tmp_path: Path) -> None:
    source = tmp_path / "gateway.db"
    packed = Path(__file__).parent / "earlier" / f"{name}.db.gz"
    source.write_bytes(gzip.decompress(packed.read_bytes()))
    with pytest.raises(StoreError, match="Start the gateway once to bring it up to date"):
        await move(source, postgres_url)
    before = await everything(f"sqlite:///{source}", tmp_path)
    assert (await move(source, postgres_url)).problems == []
    after = await everything(postgres_url, tmp_path)
    for asked, value in before.items():
        assert storable(after[asked]) == storable(value), asked
