"""The keys in force: who is found by which key, from when, until when."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.errors import StoreError
from gateway.core.types import Budget, VirtualKey
from gateway.keys.hashing import Pepper, new_key
from gateway.keys.keyring import REMEMBERED_NS, Keyring
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


class TestOneKeyAmongMany:
    """A change touches what is known of its key, and comes to the same as reading everything anew."""

    async def test_others_are_not_looked_at(self) -> None:
        ring = ring_of(*(stored(f"key-{number}", f"gw-{number}") for number in range(1_000)))
        entries, named = dict(ring._index), dict(ring._known)
        assert (await ring.change(change_to(stored("key-7", "gw-new")))).name == "key-7"
        assert [name for name, key in ring._known.items() if named.get(name) is not key] == ["key-7"]
        changed = {digest for digest, entry in ring._index.items() if entries.get(digest) is not entry}
        assert changed == {PEPPER.digest(b"gw-new")}
        assert who(ring, "gw-new") == "key-7"
        assert who(ring, "gw-7") is None

    async def test_whatever_is_done_the_same_keys_open(self) -> None:
        clock = Clock()
        first = stored("alice", "gw-alice")
        rotated = replace(first, digest=PEPPER.digest(b"gw-second"), old_digest=first.digest, old_until_ns=NOW + HOUR)
        again = replace(
            rotated,
            digest=PEPPER.digest(b"gw-third"),
            old_digest=rotated.digest,
            old_until_ns=NOW + HOUR,
            older=((first.digest, NOW + HOUR),),
        )
        revoked = replace(again, revoked_at_ns=NOW)
        ring, seen = ring_of(first, clock=clock), ("gw-alice", "gw-second", "gw-third", "gw-file")
        for key in (rotated, again, replace(again, old_digest=None, old_until_ns=None, older=()), revoked):
            await ring.change(change_to(key))
            anew = ring_of(key, clock=clock)
            assert [who(ring, one) for one in seen] == [who(anew, one) for one in seen]
            assert [ring.former(sha256(one)) for one in seen] == [anew.former(sha256(one)) for one in seen]
            assert ring.keys == anew.keys
            assert ring.named("alice") == key.virtual_key()

    async def test_the_files_key_of_the_same_name_stays_in_force(self) -> None:
        ring = ring_of(stored("alice", "gw-alice"))
        ring.configure([VirtualKey("alice", sha256("gw-file"), rpm=5)])
        await ring.change(change_to(stored("alice", "gw-other")))
        assert who(ring, "gw-file") == "alice"
        assert who(ring, "gw-other") is None
        named = ring.named("alice")
        assert named is not None
        assert named.rpm == 5
        assert [key.name for key in ring.keys] == ["alice"]
        ring.configure([])
        assert who(ring, "gw-other") == "alice"

    async def test_a_revoked_key_is_named_for_as_long_as_its_requests_may_run(self) -> None:
        clock = Clock()
        ring = ring_of(stored("alice", "gw-alice"), clock=clock)
        await ring.change(change_to(replace(stored("alice", "gw-alice"), revoked_at_ns=NOW)))
        assert [key.name for key in ring.keys] == ["alice"]
        clock.wall = NOW + REMEMBERED_NS
        assert ring.keys == ()


def change_to(key: StoredKey) -> Callable[[], Awaitable[StoredKey]]:
    async def work() -> StoredKey:
        return key

    return work


class Others:
    """A store that other processes change, too."""

    def __init__(self) -> None:
        self.version = 0
        self.changes: list[tuple[int, StoredKey]] = []

    def change(self, key: StoredKey) -> None:
        self.version += 1
        self.changes.append((self.version, key))

    async def changed_since(self, version: int) -> tuple[int, list[StoredKey]]:
        return self.version, [key for number, key in self.changes if number > version]


class TestFollowing:
    async def test_what_others_make_change_and_revoke_is_in_force(self) -> None:
        ring, others, told = ring_of(), Others(), list[str]()
        ring.on_change = lambda key: told.append(key.name)
        ring.on_own_change = lambda key: told.append(f"own {key.name}")
        key = stored("alice", "gw-alice")
        others.change(key)
        await ring.follow(others)  # type: ignore[arg-type]
        assert (who(ring, "gw-alice"), ring.any_stored, told) == ("alice", True, ["alice"])
        others.change(replace(key, settings=KeySettings(rpm=3)))
        await ring.follow(others)  # type: ignore[arg-type]
        found = ring.find(sha256("gw-alice"))
        assert found is not None
        assert found.rpm == 3
        others.change(replace(key, revoked_at_ns=NOW))
        await ring.follow(others)  # type: ignore[arg-type]
        assert who(ring, "gw-alice") is None
        assert told == ["alice"] * 3

    async def test_its_own_changes_are_not_told_twice(self) -> None:
        ring, others, told = ring_of(), Others(), list[str]()
        ring.on_change = lambda key: told.append(key.name)
        ring.on_own_change = lambda key: told.append(f"own {key.name}")
        key = stored("alice", "gw-alice")

        async def work() -> StoredKey:
            others.change(key)
            return key

        await ring.change(work)
        await ring.follow(others)  # type: ignore[arg-type]
        assert told == ["alice", "own alice"]

    async def test_a_store_that_cannot_be_read_changes_nothing_and_is_read_again(self) -> None:
        ring, others = ring_of(), Others()
        others.change(stored("alice", "gw-alice"))
        asking = others.changed_since

        async def failing(version: int) -> tuple[int, list[StoredKey]]:
            raise StoreError("gone")

        others.changed_since = failing  # type: ignore[method-assign]
        with pytest.raises(StoreError):
            await ring.follow(others)  # type: ignore[arg-type]
        others.changed_since = asking  # type: ignore[method-assign]
        await ring.follow(others)  # type: ignore[arg-type]
        assert who(ring, "gw-alice") == "alice"
