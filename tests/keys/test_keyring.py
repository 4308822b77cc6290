"""The keys in force: who is found by which key, from when, until when."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.errors import StoreError
from gateway.core.types import Budget, VirtualKey
from gateway.keys.hashing import Pepper, new_key
from gateway.keys.keyring import Keyring
from gateway.stores.key_records import KeyMissing, KeySettings, StoredKey
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.store import SQLiteKeys, pepper_file

NOW = 1_800_000_000_000_000_000
HOUR = 3_600_000_000_000
PEPPER = Pepper(b"p" * 32)


class Clock:
    """A wall clock at the test's will."""

    def __init__(self) -> None:
        self.wall = NOW

    def wall_ns(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return 0.0


def sha256(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def stored(name: str, key: str, **more: object) -> StoredKey:
    settings = more.pop("settings", KeySettings())
    assert isinstance(settings, KeySettings)
    return StoredKey(name, PEPPER.digest(key.encode()), settings, NOW, **more)  # type: ignore[arg-type]


def ring_of(*keys: StoredKey, clock: Clock | None = None) -> Keyring:
    return Keyring(PEPPER, keys, bool(keys), clock or Clock())


def who(ring: Keyring, key: str) -> str | None:
    found = ring.find(sha256(key))
    return None if found is None else found.name


def test_keys_of_the_file_and_of_the_store_are_found_by_the_same_look_up() -> None:
    settings = KeySettings("growth", ("gpt-4o*",), 1, 2, 3, Budget(5, "day"))
    ring = ring_of(stored("alice", "gw-alice", settings=settings))
    bob = VirtualKey("bob", sha256("gw-bob"), rpm=9)
    ring.configure([bob])
    assert ring.find(sha256("gw-bob")) is bob
    alice = ring.find(sha256("gw-alice"))
    assert alice is not None
    assert (alice.name, alice.team, alice.models) == ("alice", "growth", ("gpt-4o*",))
    assert (alice.rpm, alice.tpm, alice.parallel, alice.budget) == (1, 2, 3, Budget(5, "day"))
    for stranger in ("", "gw-carol", "gw-alic", "gw-alicee"):
        assert who(ring, stranger) is None
    assert [key.name for key in ring.keys] == ["bob", "alice"]


def test_what_is_in_the_store_opens_nothing_by_itself() -> None:
    """Whoever has read the store has hashes; sending one of them, or its hash, is as good as any guess."""
    key = stored("alice", "gw-alice")
    ring = ring_of(key)
    assert ring.find(key.digest) is None
    assert ring.find(hashlib.sha256(key.digest).digest()) is None
    assert who(Keyring(Pepper(b"q" * 32), [key], True, Clock()), "gw-alice") is None, "nor does another pepper fit"


class CountedPepper(Pepper):
    """Counts the keyed hashes that were made."""

    __slots__ = ("made",)

    def __init__(self) -> None:
        super().__init__(b"p" * 32)
        self.made = 0

    def digest_of(self, sha256: bytes) -> bytes:
        self.made += 1
        return super().digest_of(sha256)


def test_a_key_that_was_found_is_hashed_no_more_and_one_that_opens_nothing_each_time() -> None:
    pepper, clock = CountedPepper(), Clock()
    ring = Keyring(pepper, [stored("alice", "gw-alice", settings=KeySettings(expires_at_ns=NOW + HOUR))], True, clock)

    def hashes(key: str) -> int:
        before = pepper.made
        who(ring, key)
        return pepper.made - before

    assert [hashes("gw-alice") for _ in range(3)] == [1, 0, 0]
    assert [hashes("gw-mallory") for _ in range(3)] == [1, 1, 1]
    clock.wall = NOW + HOUR
    assert who(ring, "gw-alice") is None
    assert [hashes("gw-alice") for _ in range(3)] == [1, 1, 1], "as many as for a key that never was"


async def test_a_key_that_was_found_is_refused_as_soon_as_it_is_revoked_or_shadowed() -> None:
    alice = stored("alice", "gw-alice")
    ring = ring_of(alice)
    assert who(ring, "gw-alice") == "alice"
    ring.configure([VirtualKey("alice", sha256("gw-other"))])
    assert (who(ring, "gw-alice"), who(ring, "gw-other")) == (None, "alice")
    ring.configure([])
    assert (who(ring, "gw-alice"), who(ring, "gw-other")) == ("alice", None)

    async def revoke() -> StoredKey:
        return replace(alice, revoked_at_ns=NOW)

    await ring.change(revoke)
    assert who(ring, "gw-alice") is None


def test_a_key_ends_on_the_wall_clock_without_anybody_doing_anything() -> None:
    clock = Clock()
    ring = ring_of(stored("alice", "gw-alice", settings=KeySettings(expires_at_ns=NOW + HOUR)), clock=clock)
    clock.wall = NOW + HOUR - 1
    assert who(ring, "gw-alice") == "alice"
    clock.wall = NOW + HOUR
    assert who(ring, "gw-alice") is None


@pytest.mark.parametrize(("expires", "old_ends"), [(None, HOUR), (2 * HOUR, HOUR), (HOUR // 2, HOUR // 2)])
def test_the_key_before_a_rotation_works_for_its_grace_and_never_beyond_the_expiry(
    expires: int | None, old_ends: int
) -> None:
    clock = Clock()
    settings = KeySettings(expires_at_ns=None if expires is None else NOW + expires)
    old = PEPPER.digest(b"gw-old")
    key = stored("alice", "gw-new", settings=settings, old_digest=old, old_until_ns=NOW + HOUR)
    ring = ring_of(key, clock=clock)
    clock.wall = NOW + old_ends - 1
    assert (who(ring, "gw-old"), who(ring, "gw-new")) == ("alice", "alice")
    clock.wall = NOW + old_ends
    assert who(ring, "gw-old") is None
    assert who(ring, "gw-new") == ("alice" if expires is None or expires > old_ends else None)


def test_of_several_rotations_every_old_key_works_as_long_as_it_was_promised_and_no_longer_than_the_new_one() -> None:
    clock = Clock()
    older = ((PEPPER.digest(b"gw-first"), NOW + 2 * HOUR), (PEPPER.digest(b"gw-zeroth"), NOW + 9 * HOUR))
    key = stored(
        "alice", "gw-new", settings=KeySettings(expires_at_ns=NOW + 3 * HOUR), older=older,
        old_digest=PEPPER.digest(b"gw-second"), old_until_ns=NOW + HOUR,
    )  # fmt: skip
    ring = ring_of(key, clock=clock)

    def working(at_ns: int) -> list[str]:
        clock.wall = at_ns
        return [value for value in ("gw-zeroth", "gw-first", "gw-second", "gw-new") if who(ring, value)]

    assert working(NOW) == ["gw-zeroth", "gw-first", "gw-second", "gw-new"]
    assert working(NOW + HOUR) == ["gw-zeroth", "gw-first", "gw-new"]
    assert working(NOW + 2 * HOUR) == ["gw-zeroth", "gw-new"]
    assert working(NOW + 3 * HOUR) == []
    assert working(NOW) == ["gw-zeroth", "gw-first", "gw-second", "gw-new"], "a clock that is set back shuts nobody out"


def test_of_two_keys_of_one_name_the_files_is_in_force() -> None:
    ring = ring_of(stored("alice", "gw-stored"), stored("bob", "gw-bob"))
    ring.configure([VirtualKey("alice", sha256("gw-file"))])
    assert (who(ring, "gw-stored"), who(ring, "gw-file"), who(ring, "gw-bob")) == (None, "alice", "bob")
    assert [key.name for key in ring.keys] == ["alice", "bob"], "each name once"
    ring.configure([])
    assert (who(ring, "gw-stored"), who(ring, "gw-file")) == ("alice", None)


@pytest.fixture
async def ledger(tmp_path: Path):
    opened = await SQLiteLedger.open(tmp_path / "gateway.db", clock=Clock())
    yield opened
    await opened.close()


async def open_ring(ledger: SQLiteLedger, clock: Clock | None = None) -> Keyring:
    return await Keyring.open(SQLiteKeys(ledger.path, ledger), pepper_file(ledger.path), "", clock or Clock())


async def make(ring: Keyring, ledger: SQLiteLedger, name: str, settings: KeySettings = KeySettings()) -> str:  # noqa: B008
    """Create a key through the ring; returns the key."""
    key, store = new_key(), SQLiteKeys(ledger.path, ledger)
    await ring.change(lambda: store.create(name, ring.pepper.digest(key.encode()), ring.pepper.mark, settings, NOW))
    return key


async def test_a_change_of_the_store_is_in_force_when_it_returns_and_after_a_restart(ledger: SQLiteLedger) -> None:
    ring, store = await open_ring(ledger), SQLiteKeys(ledger.path, ledger)
    told: list[tuple[str, bool]] = []
    ring.on_change = lambda key: told.append((key.name, key.revoked_at_ns is not None))
    assert (ring.keys, ring.any_stored) == ((), False)
    alice, bob = await make(ring, ledger, "alice"), await make(ring, ledger, "bob")
    assert ring.any_stored
    assert (who(ring, alice), who(ring, bob)) == ("alice", "bob")
    newer = new_key()
    await ring.change(
        lambda: store.rotate("bob", ring.pepper.digest(newer.encode()), ring.pepper.mark, NOW, NOW + HOUR)
    )
    await ring.change(lambda: store.revoke("alice", NOW))
    await ring.change(lambda: store.update("bob", lambda _: KeySettings(rpm=7)))
    for now in (ring, await open_ring(ledger)):
        assert (who(now, alice), who(now, bob), who(now, newer)) == (None, "bob", "bob")
        found = now.find(sha256(newer))
        assert found is not None
        assert found.rpm == 7
    assert told == [("alice", False), ("bob", False), ("bob", False), ("alice", True), ("bob", False)]
    assert {key.name for key in ring.keys} == {"alice", "bob"}, "requests of a revoked key may still run, and count"


async def test_a_change_that_fails_changes_nothing(ledger: SQLiteLedger) -> None:
    ring = await open_ring(ledger)
    alice = await make(ring, ledger, "alice")
    with pytest.raises(KeyMissing):
        await ring.change(lambda: SQLiteKeys(ledger.path, ledger).revoke("nobody", NOW))
    assert who(ring, alice) == "alice"


async def test_changes_at_the_same_moment_leave_what_the_store_has(ledger: SQLiteLedger) -> None:
    ring, store = await open_ring(ledger), SQLiteKeys(ledger.path, ledger)
    alice = await make(ring, ledger, "alice")
    await asyncio.gather(
        *(ring.change(lambda n=n: store.update("alice", lambda _: KeySettings(rpm=n))) for n in range(1, 40))  # type: ignore[misc]
    )
    for now in (ring, await open_ring(ledger)):
        found = now.find(sha256(alice))
        assert found is not None
        assert found.rpm == 39


async def test_revoking_the_last_key_does_not_open_the_door(ledger: SQLiteLedger) -> None:
    """auth: auto asks for a key where there is any. Nobody takes a key away in order to let everybody in."""
    ring = await open_ring(ledger)
    await make(ring, ledger, "alice")
    await ring.change(lambda: SQLiteKeys(ledger.path, ledger).revoke("alice", NOW))
    assert ring.any_stored
    assert (await open_ring(ledger)).any_stored


async def test_an_expired_key_counts_as_one_and_can_be_prolonged(ledger: SQLiteLedger) -> None:
    clock = Clock()
    alice = await make(await open_ring(ledger), ledger, "alice", KeySettings(expires_at_ns=NOW + HOUR))
    clock.wall = NOW + 2 * HOUR
    ring = await open_ring(ledger, clock)
    assert (who(ring, alice), ring.any_stored) == (None, True)
    await ring.change(lambda: SQLiteKeys(ledger.path, ledger).update("alice", lambda _: KeySettings()))
    assert who(ring, alice) == "alice"


async def test_a_lost_pepper_is_told_before_anybody_is_served(ledger: SQLiteLedger) -> None:
    await make(await open_ring(ledger), ledger, "alice")
    ledger.path.with_name("gateway.db.pepper").unlink()
    with pytest.raises(StoreError, match="pepper is missing"):
        await open_ring(ledger)
    with pytest.raises(StoreError, match="GATEWAY_KEY_PEPPER is not the pepper"):
        await Keyring.open(SQLiteKeys(ledger.path, ledger), pepper_file(ledger.path), "ab" * 32, Clock())
