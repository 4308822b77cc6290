"""Virtual keys in PostgreSQL, changed by several gateways at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from gateway.keys.hashing import Pepper, new_key
from gateway.stores.engines import open_store
from gateway.stores.key_records import KeyExists, KeySettings, StoredKey
from gateway.stores.postgres.store import PostgresStore
from tests.stores.makers import StoppedClock

NOW = StoppedClock().wall_ns()
PEPPER, OTHER = Pepper(b"p" * 32), Pepper(b"q" * 32)


@pytest.fixture
async def fleet(postgres_url: str, tmp_path: Path) -> AsyncIterator[list[PostgresStore]]:
    """Three gateways' stores on one database."""
    opened = [await open_store(postgres_url, StoppedClock(), f"gw_{number}", tmp_path / "spill") for number in range(3)]
    yield opened
    for store in opened:
        await store.close()


async def make(store: PostgresStore, name: str, pepper: Pepper = PEPPER) -> StoredKey:
    return await store.keys.create(name, pepper.digest(new_key().encode()), pepper.mark, KeySettings(), NOW)


async def test_a_name_is_given_once_by_all_gateways(fleet: list[PostgresStore]) -> None:
    answers = await asyncio.gather(*(make(store, "alice") for store in fleet * 4), return_exceptions=True)
    assert sum(isinstance(answer, StoredKey) for answer in answers) == 1
    assert sum(isinstance(answer, KeyExists) for answer in answers) == 11


async def test_the_first_keys_of_two_peppers_are_not_both_made(fleet: list[PostgresStore]) -> None:
    first, second, _ = fleet
    both = (make(first, "alice", PEPPER), make(second, "bob", OTHER))
    answers = await asyncio.gather(*both, return_exceptions=True)
    assert sum(isinstance(answer, StoredKey) for answer in answers) == 1
    assert [str(answer) for answer in answers if not isinstance(answer, StoredKey)] == [
        "The keys in the store were made with another pepper. Start with that one."
    ]


async def test_no_change_of_any_gateway_is_lost(fleet: list[PostgresStore]) -> None:
    await make(fleet[0], "alice")

    def add(old: KeySettings) -> KeySettings:
        return replace(old, rpm=(old.rpm or 0) + 1)

    await asyncio.gather(*(store.keys.update("alice", add) for store in fleet * 10))
    assert (await fleet[1].keys.find("alice")).settings.rpm == 30


async def test_what_others_changed_is_told_once_and_in_the_order_of_changes(fleet: list[PostgresStore]) -> None:
    first, second, _ = fleet
    began = await first.keys.version()
    assert await first.keys.changed_since(began) == (began, [])
    await make(second, "alice")
    bob = await make(second, "bob")
    alice = await second.keys.revoke("alice", NOW)
    version, changed = await first.keys.changed_since(began)
    assert changed == [bob, alice]
    assert version == await first.keys.version() > began
    assert await first.keys.changed_since(version) == (version, [])
    await second.keys.revoke("alice", NOW + 1)
    assert await first.keys.changed_since(version) == (version, []), "nothing was changed"


async def test_who_asks_for_changes_while_many_are_made_misses_none(fleet: list[PostgresStore]) -> None:
    reader, *writers = fleet
    seen: set[str] = set()
    version = await reader.keys.version()
    names = [f"key-{number}" for number in range(60)]
    making = asyncio.gather(*(make(writers[number % 2], name) for number, name in enumerate(names)))
    while not making.done():
        version, changed = await reader.keys.changed_since(version)
        seen |= {key.name for key in changed}
    await making
    _, changed = await reader.keys.changed_since(version)
    assert seen | {key.name for key in changed} == set(names)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM keys", "a key is revoked, never deleted"),
        ("UPDATE keys SET revoked_at_ns = NULL", "a revoked key stays as it is"),
    ],
)
async def test_a_row_of_a_key_is_neither_removed_nor_brought_back(
    fleet: list[PostgresStore], postgres_url: str, statement: str, words: str
) -> None:
    await make(fleet[0], "alice")
    await fleet[0].keys.revoke("alice", NOW)
    connection = await asyncpg.connect(postgres_url)
    try:
        with pytest.raises(asyncpg.RaiseError, match=words):
            await connection.execute(statement)
    finally:
        await connection.close()
