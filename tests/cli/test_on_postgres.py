"""The commands that read and look after the books, on a PostgreSQL store without a gateway."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from gateway.stores.engines import open_store
from gateway.stores.key_records import KeySettings
from gateway.stores.records import AuditEntry
from tests.engines import PostgresServer
from tests.process.running import settings, write
from tests.stores.makers import intent, nothing_pending, settlement

from .in_process import NOWHERE, command, done, one_line

DAY_NS = 24 * 3600 * 10**9
NOW = time.time_ns()


class Clock:
    def monotonic(self) -> float:
        return 0.0

    def wall_ns(self) -> int:
        return NOW


@pytest.fixture
async def books(postgres_url: str, folder: Path) -> str:
    """Books of today and of a hundred days ago; what is of unknown outcome; a key, and who made it."""
    store = await open_store(postgres_url, Clock(), "gw_0123456789abcdef", folder / "spill")
    for identity, at_ns, state in (
        ("old", NOW - 100 * DAY_NS, "settled"),
        ("new", NOW - 10**9, "settled"),
        ("lost", NOW - 10**9, "unknown"),
    ):
        await store.ledger.reserve(intent(identity, at_ns=at_ns))
        store.ledger.settle(settlement(identity, state=state))
    await nothing_pending(store.ledger)
    made = AuditEntry(NOW, "local user root", "key.create", "carol")
    await store.keys.create("carol", b"d" * 32, b"m" * 32, KeySettings(team="growth"), NOW, audit=made)
    await store.close()
    write(folder, {"admin": NOWHERE, "store": postgres_url})
    return postgres_url


@pytest.mark.usefixtures("books")
async def test_what_was_spent_is_told_and_stays_when_old_rows_go() -> None:
    lines = ("usage", "--since", "200d", "--by", "key,team,model,upstream,day", "--format", "json")
    before = json.loads(await done(*lines))
    assert [(row["requests"], row["cost_usd"]) for row in before] == [(1, 4e-08), (2, 8e-08)]
    assert "would leave" in await done("ledger", "prune", "--before", "90d")
    assert "1 settled and 0 released requests" in await done("ledger", "prune", "--before", "90d", "--yes")
    assert json.loads(await done(*lines)) == before
    assert "settled 1, released 0, unknown 1, open 0" in await done("ledger", "verify")
    assert "corrected 0, pruned 1" in await done("ledger", "verify")


@pytest.mark.usefixtures("books")
async def test_what_is_held_is_told_and_given_back_and_that_is_written_down() -> None:
    [held] = json.loads(await done("ledger", "held", "--json"))
    assert (held["id"], held["key"]) == ("lost", "alice")
    assert "lost is released" in await done("ledger", "held", "--release", "lost", "--reason", "not on the bill")
    assert json.loads(await done("ledger", "held", "--json")) == []
    acts = [(row["act"], row["subject"]) for row in json.loads(await done("ledger", "audit", "--json"))]
    assert acts == [("key.create", "carol"), ("hold.release", "lost")]
    assert "released 1" in await done("ledger", "verify")


@pytest.mark.usefixtures("books")
async def test_keys_are_listed() -> None:
    assert "carol" in await done("keys", "list")


async def test_balances_are_written_down_and_held_against_the_books(books: str, folder: Path, sandbox: Sandbox) -> None:
    write(folder, {**settings(sandbox, folder), "admin": NOWHERE, "store": books})
    first = json.loads(await done("usage", "--reconcile", "--format", "json"))
    assert {row["note"] for row in first} == {"the first snapshot: nothing to compare yet"}
    second = json.loads(await done("usage", "--reconcile", "--format", "json"))
    assert [row["owed_usd"] for row in second] == [0] * len(first)


async def test_what_only_a_file_can_do_is_refused_in_one_line(books: str, folder: Path) -> None:
    for line in (("ledger", "verify", "--accept-loss", "it burned"), ("backup", str(folder / "copy"))):
        assert "is a PostgreSQL database, not a file" in one_line(await command(*line), 1)


async def test_a_database_without_books_is_told_of_and_nothing_is_made(
    postgres_url: str, postgres_server: PostgresServer, folder: Path
) -> None:
    write(folder, {"admin": NOWHERE, "store": postgres_url})
    for line in (
        ("usage",),
        ("ledger", "verify"),
        ("ledger", "prune", "--before", "90d", "--yes"),
        ("ledger", "held", "--release", "x", "--reason", "why"),
    ):
        assert "does not exist" in one_line(await command(*line), 1)
    found = postgres_server.execute(
        "SELECT count(*) FROM pg_class WHERE relname = 'intents'", postgres_url.rsplit("/", 1)[1]
    )
    assert found == "0"
