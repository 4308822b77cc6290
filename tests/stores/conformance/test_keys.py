"""``stores.base.KeyRecords`` and ``KeyReader``: made once, changed without losing a change, revoked for good."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.core.errors import StoreError
from gateway.core.types import Budget
from gateway.keys.hashing import Pepper, new_key
from gateway.stores.base import Store
from gateway.stores.key_records import KeyExists, KeyMissing, KeyRevoked, KeySettings, StoredKey
from tests.stores.makers import StoppedClock

from .conftest import Engine, Reopen

NOW = StoppedClock().wall_ns()
PEPPER = Pepper(b"p" * 32)
EVERYTHING = KeySettings(
    team="growth",
    models=("gpt-4o*", "Qubico/flux1-dev"),
    rpm=60,
    tpm=200_000,
    parallel=8,
    budget=Budget(50_000_000_000, "month"),
    expires_at_ns=NOW + 90,
    note="Alice's laptop\nand her phone",
    model_budgets=(("gpt-4o*", Budget(5_000_000_000, "day")), ("flux-dev", Budget(2**63 - 1, "week"))),
    alert=(50, 80),
)


async def make(store: Store, name: str, settings: KeySettings = KeySettings()) -> StoredKey:  # noqa: B008
    digest = PEPPER.digest(new_key().encode())
    return await store.keys.create(name, digest, PEPPER.mark, settings, NOW)


async def names(store: Store, now_ns: int = NOW) -> list[str]:
    return [key.name for key in await store.keys.active(now_ns)]


async def test_a_store_that_was_never_made_holds_no_keys_and_is_not_made_by_reading(engine: Engine) -> None:
    reader = engine.read()
    assert await reader.keys.page() == []
    assert await reader.exists() is False


async def test_a_key_is_kept_with_all_it_may_do(engine: Engine, store: Store, reopen: Reopen) -> None:
    made = await make(store, "alice", EVERYTHING)
    assert made.settings == EVERYTHING
    assert await store.keys.find("alice") == made
    assert await engine.read().keys.find("alice") == made
    again = await reopen()
    assert await again.keys.active(NOW) == [made]


async def test_a_name_is_given_once_even_to_many_who_ask_at_once(store: Store) -> None:
    answers = await asyncio.gather(*(make(store, "alice") for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(answer, StoredKey) for answer in answers) == 1
    assert sum(isinstance(answer, KeyExists) for answer in answers) == 7
    await store.keys.revoke("alice", NOW)
    with pytest.raises(KeyExists):
        await make(store, "alice")


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 65, "a/b", "a\n"])
async def test_other_names_are_refused(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="name: expected"):
        await make(store, name)


async def test_settings_change_one_by_one_without_losing_a_change(store: Store) -> None:
    await make(store, "alice")
    await asyncio.gather(
        store.keys.update("alice", lambda old: replace(old, rpm=5)),
        store.keys.update("alice", lambda old: replace(old, tpm=6)),
        store.keys.update("alice", lambda old: replace(old, parallel=7)),
    )
    settings = (await store.keys.find("alice")).settings
    assert (settings.rpm, settings.tpm, settings.parallel) == (5, 6, 7)


async def test_a_change_that_makes_no_sense_changes_nothing(store: Store) -> None:
    made = await make(store, "alice", EVERYTHING)
    with pytest.raises(ValueError, match="rpm"):
        await store.keys.update("alice", lambda old: replace(old, rpm=0))
    assert await store.keys.find("alice") == made


async def test_after_rotating_the_old_digest_stays_until_its_time(store: Store) -> None:
    made = await make(store, "alice")
    rotated = await store.keys.rotate("alice", b"n" * 32, PEPPER.mark, NOW, NOW + 10)
    assert (rotated.digest, rotated.old_digest, rotated.old_until_ns) == (b"n" * 32, made.digest, NOW + 10)
    [during] = await store.keys.active(NOW + 9)
    [after] = await store.keys.active(NOW + 10)
    assert (during.old_digest, after.old_digest) == (made.digest, None)
    at_once = await store.keys.rotate("alice", b"m" * 32, PEPPER.mark, NOW, NOW)
    assert at_once.old_digest is None


async def test_a_second_rotation_keeps_what_the_first_promised(store: Store, reopen: Reopen) -> None:
    first = await make(store, "alice")
    await make(store, "bob")
    await store.keys.rotate("alice", b"2" * 32, PEPPER.mark, NOW, NOW + 100)
    await store.keys.rotate("alice", b"3" * 32, PEPPER.mark, NOW + 1, NOW + 50)
    await store.keys.rotate("alice", b"4" * 32, PEPPER.mark, NOW + 2, NOW + 2)
    [alice, bob] = await (await reopen()).keys.active(NOW + 3)
    assert (alice.digest, alice.old(NOW + 3)) == (b"4" * 32, ((first.digest, NOW + 100), (b"2" * 32, NOW + 50)))
    assert alice.old(NOW + 50) == ((first.digest, NOW + 100),)
    assert (alice.old(NOW + 100), bob.old(0)) == ((), ())


async def test_what_was_revoked_stays_revoked(store: Store, reopen: Reopen) -> None:
    await make(store, "alice")
    first = await store.keys.revoke("alice", NOW + 1)
    assert (first.revoked_at_ns, (await store.keys.revoke("alice", NOW + 9)).revoked_at_ns) == (NOW + 1, NOW + 1)
    for change in (
        store.keys.update("alice", lambda old: old),
        store.keys.rotate("alice", b"n" * 32, PEPPER.mark, NOW, NOW),
    ):
        with pytest.raises(KeyRevoked):
            await change
    again = await reopen()
    assert await names(again) == []
    assert [key.name for key in await again.keys.page(include_revoked=True)] == ["alice"]


async def test_a_key_that_is_not_there_is_missing_everywhere(store: Store) -> None:
    await make(store, "alice")
    for name in ("bob", "\ud800"):
        for attempt in (
            store.keys.find(name),
            store.keys.update(name, lambda old: old),
            store.keys.rotate(name, b"n" * 32, PEPPER.mark, NOW, NOW),
            store.keys.revoke(name, NOW),
        ):
            with pytest.raises(KeyMissing):
                await attempt


async def test_an_expired_key_is_not_active(store: Store) -> None:
    await make(store, "alice", KeySettings(expires_at_ns=NOW + 10))
    await make(store, "bob")
    assert await names(store, NOW + 9) == ["alice", "bob"]
    assert await names(store, NOW + 10) == ["bob"]


async def test_pages_are_sorted_by_name_and_follow_one_another(store: Store) -> None:
    for name in ("carol", "alice", "dave", "bob"):
        await make(store, name)
    await store.keys.revoke("bob", NOW)
    first = await store.keys.page(limit=2)
    rest = await store.keys.page(first[-1].name, 2)
    assert [key.name for key in (*first, *rest)] == ["alice", "carol", "dave"]
    assert [key.name for key in await store.keys.page("alice", 1, include_revoked=True)] == ["bob"]


async def test_all_keys_in_use_are_of_one_pepper(store: Store) -> None:
    assert await store.keys.pepper_mark() is None
    await make(store, "alice")
    assert await store.keys.pepper_mark() == PEPPER.mark
    other = Pepper(b"q" * 32).mark
    with pytest.raises(StoreError, match="another pepper"):
        await store.keys.create("bob", b"d" * 32, other, KeySettings(), NOW)
    with pytest.raises(StoreError, match="another pepper"):
        await store.keys.rotate("alice", b"d" * 32, other, NOW, NOW)
    await store.keys.revoke("alice", NOW)
    assert await store.keys.pepper_mark() is None
    await store.keys.create("bob", b"d" * 32, other, KeySettings(), NOW)
    assert await store.keys.pepper_mark() == other
