"""Keys in the store: made, changed, rotated and revoked for good; and a copy of the store opens nothing."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import GatewayFault, StoreError
from gateway.core.types import Budget, VirtualKey
from gateway.keys.hashing import Pepper, new_key
from gateway.stores.key_records import KeyExists, KeyMissing, KeyRevoked, KeySettings, StoredKey
from gateway.stores.sqlite import schema
from gateway.stores.sqlite.keys import KeyStore, find_key, list_keys, load_active, pepper_mark
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.queries import verify

from .books import StoppedClock, child, old_store, rows

NOW = StoppedClock().wall_ns()
PEPPER = Pepper(b"p" * 32)
MARK = PEPPER.mark
EVERYTHING = KeySettings(
    team="growth",
    models=("gpt-4o*", "Qubico/flux1-dev"),
    rpm=60,
    tpm=200_000,
    parallel=8,
    budget=Budget(50_000_000_000, "month"),
    expires_at_ns=NOW + 90,
    note="Alice's laptop\nand her phone",
    model_budgets=(("gpt-4o*", Budget(5_000_000_000, "day")),),
    alert=(80,),
)


@pytest.fixture
def keys(ledger: SQLiteLedger) -> KeyStore:
    return KeyStore(ledger)


async def make(keys: KeyStore, name: str, settings: KeySettings = KeySettings()) -> tuple[str, StoredKey]:  # noqa: B008
    key = new_key()
    return key, await keys.create(name, PEPPER.digest(key.encode()), MARK, settings, NOW)


async def test_a_key_is_kept_with_all_it_may_do(keys: KeyStore, path: Path):
    key, made = await make(keys, "alice", EVERYTHING)
    assert made == StoredKey("alice", PEPPER.digest(key.encode()), EVERYTHING, NOW)
    assert find_key(path, "alice") == made
    assert load_active(path, NOW) == [made]
    assert made.virtual_key() == VirtualKey(
        "alice",
        made.digest,
        "growth",
        EVERYTHING.models,
        60,
        200_000,
        8,
        Budget(50_000_000_000, "month"),
        (("gpt-4o*", Budget(5_000_000_000, "day")),),
        (80,),
    )


async def test_neither_the_key_nor_its_digest_is_shown(keys: KeyStore):
    key, made = await make(keys, "alice")
    rotated = await keys.rotate("alice", PEPPER.digest(b"other"), MARK, NOW, NOW + 5)
    for text in (repr(made), repr(rotated), repr(PEPPER)):
        assert key not in text
        assert "digest" not in text
        assert repr(made.digest)[2:-1] not in text
        assert "pppp" not in text


async def test_a_copy_of_the_store_holds_no_usable_key(keys: KeyStore, ledger: SQLiteLedger, path: Path):
    given = [(await make(keys, f"key{number}"))[0] for number in range(5)]
    later = new_key()
    await keys.rotate("key0", PEPPER.digest(later.encode()), MARK, NOW, NOW + 10)
    await ledger.close()
    stolen = b"".join(file.read_bytes() for file in path.parent.iterdir())
    with closing(sqlite3.connect(path)) as store:
        stolen += "\n".join(store.iterdump()).encode()
        found = {digest for row in store.execute("SELECT digest, old_digest FROM keys") for digest in row if digest}
    assert len(found) == 6
    for key in (*given, later):
        bare = hashlib.sha256(key.encode()).digest()
        assert key.encode() not in stolen
        assert key.removeprefix("gw-").encode() not in stolen
        assert bare not in stolen, "a plain hash could be looked for without the pepper"
        assert bare.hex().encode() not in stolen.lower()
        assert PEPPER.digest(key.encode()) in found
        assert Pepper(b"guessed" * 5).digest(key.encode()) not in found


@pytest.mark.parametrize("revoked", [False, True])
async def test_a_name_is_given_once(keys: KeyStore, path: Path, revoked: bool):
    _, first = await make(keys, "alice")
    if revoked:
        first = await keys.revoke("alice", NOW + 1)
    with pytest.raises(KeyExists, match="There is or was a key named 'alice'"):
        await make(keys, "alice", EVERYTHING)
    assert find_key(path, "alice") == first


async def test_of_many_asking_for_one_name_at_once_one_gets_it(keys: KeyStore, path: Path):
    results = await asyncio.gather(*(make(keys, "alice") for _ in range(20)), return_exceptions=True)
    made = [result for result in results if not isinstance(result, BaseException)]
    assert len(made) == 1
    assert [type(result) for result in results if isinstance(result, BaseException)] == [KeyExists] * 19
    assert list_keys(path) == [made[0][1]]


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ä", "a" * 65, "a\n", "\ud800", "' OR 1 --"])
async def test_names_are_those_of_the_configuration(keys: KeyStore, path: Path, name: str):
    with pytest.raises(ValueError, match="name: expected 1 to 64 letters"):
        await make(keys, name)
    with pytest.raises(KeyMissing):
        find_key(path, name)
    assert list_keys(path) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"team": ""}, {"team": "a b"}, {"models": ()}, {"models": ("gpt 4o",)}, {"models": ("*x",)}, {"models": ("",)},
        {"models": ("x\u200b",)}, {"rpm": 0}, {"tpm": -1}, {"parallel": 2**63}, {"budget": Budget(-1, "day")},
        {"budget": Budget(2**63, "day")}, {"alert": (0,)},
        {"alert": (50, 101)}, {"model_budgets": (("g*o", Budget(1, "day")),)},
        {"model_budgets": (("a", Budget(1, "day")), ("a", Budget(2, "day")))},
        {"model_budgets": (("a", Budget(-1, "day")),)},
        {"model_budgets": tuple((f"m{number}", Budget(1, "day")) for number in range(101))}, {"expires_at_ns": 0},
        {"note": "x" * 1_001}, {"note": "\x1b[2J"}, {"note": "\ud800"},
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_name_their_field(wrong: dict[str, Any]):
    [field] = wrong
    with pytest.raises(ValueError, match=f"^{field}: expected"):
        KeySettings(**wrong)


async def test_settings_are_changed_one_by_one_without_losing_a_change(keys: KeyStore, path: Path):
    await make(keys, "alice", EVERYTHING)
    changed = await asyncio.gather(
        keys.update("alice", lambda settings: replace(settings, rpm=None)),
        keys.update("alice", lambda settings: replace(settings, budget=None)),
        *(keys.update("alice", lambda settings: replace(settings, parallel=settings.parallel + 1)) for _ in range(10)),
    )
    expected = replace(EVERYTHING, rpm=None, budget=None, parallel=18)
    assert changed[-1].settings == find_key(path, "alice").settings == expected


async def test_a_change_that_makes_no_sense_changes_nothing(keys: KeyStore, path: Path):
    _, made = await make(keys, "alice", EVERYTHING)
    with pytest.raises(ValueError, match="rpm: expected"):
        await keys.update("alice", lambda settings: replace(settings, rpm=0))
    assert find_key(path, "alice") == made


async def test_after_rotating_both_keys_work_until_the_grace_is_over(keys: KeyStore, path: Path):
    _, first = await make(keys, "alice")
    second = await keys.rotate("alice", b"2" * 32, MARK, NOW, NOW + 10)
    assert (second.digest, second.old_digest, second.old_until_ns) == (b"2" * 32, first.digest, NOW + 10)
    assert load_active(path, NOW + 9) == [second]
    [alone] = load_active(path, NOW + 10)
    assert (alone.digest, alone.old_digest, alone.old_until_ns) == (b"2" * 32, None, None)
    third = await keys.rotate("alice", b"3" * 32, MARK, NOW + 1, NOW + 20)
    assert (third.digest, third.old_digest) == (b"3" * 32, b"2" * 32)
    assert third.older == ((first.digest, NOW + 10),), "the first works as long as it was promised"
    at_once = await keys.rotate("alice", b"4" * 32, MARK, NOW + 2, NOW + 2)
    assert (at_once.digest, at_once.old_digest) == (b"4" * 32, None)
    assert at_once.older == ((b"2" * 32, NOW + 20), (first.digest, NOW + 10)), "the third alone works no more"
    assert load_active(path, NOW + 9) == [at_once]
    [later] = load_active(path, NOW + 10)
    assert later.older == ((b"2" * 32, NOW + 20),)
    last = await keys.rotate("alice", b"5" * 32, MARK, NOW + 20, NOW + 30)
    assert last.older == (), "what works no more is forgotten"
    assert load_active(path, NOW + 29)[0].old(NOW + 29) == ((b"4" * 32, NOW + 30),)


async def test_what_was_revoked_stays_revoked(keys: KeyStore, ledger: SQLiteLedger, path: Path):
    await make(keys, "alice")
    await keys.rotate("alice", b"2" * 32, MARK, NOW, NOW + 10)
    revoked = await keys.revoke("alice", NOW + 1)
    assert revoked.revoked_at_ns == NOW + 1
    assert await keys.revoke("alice", NOW + 9) == revoked
    assert load_active(path, NOW) == []
    with pytest.raises(KeyRevoked):
        await keys.update("alice", lambda settings: settings)
    with pytest.raises(KeyRevoked):
        await keys.rotate("alice", b"3" * 32, MARK, NOW, NOW)
    await ledger.close()
    for statement in ("UPDATE keys SET revoked_at_ns = NULL", "DELETE FROM keys"):
        with closing(sqlite3.connect(path)) as owner, pytest.raises(sqlite3.IntegrityError, match="revoked"):
            owner.execute(statement)


async def test_a_key_that_is_not_there_is_missing_everywhere(keys: KeyStore, path: Path):
    with pytest.raises(KeyMissing, match="no key named 'bob'"):
        find_key(path, "bob")
    for change in (
        keys.update("bob", lambda settings: settings),
        keys.rotate("bob", b"2" * 32, MARK, NOW, NOW),
        keys.revoke("bob", NOW),
    ):
        with pytest.raises(KeyMissing, match="no key named 'bob'"):
            await change


async def test_an_expired_key_is_not_loaded(keys: KeyStore, path: Path):
    _, made = await make(keys, "alice", EVERYTHING)
    assert load_active(path, NOW + 89) == [made]
    assert load_active(path, NOW + 90) == []
    assert [key.name for key in list_keys(path)] == ["alice"], "it is still there, and may be given more time"
    await keys.update("alice", lambda settings: replace(settings, expires_at_ns=None))
    assert [key.name for key in load_active(path, NOW + 90)] == ["alice"]


async def test_lists_are_sorted_by_name_and_paged(keys: KeyStore, path: Path):
    for name in ("dave", "alice", "bob", "carol", "eve"):
        await make(keys, name)
    await keys.revoke("bob", NOW)
    assert [key.name for key in list_keys(path)] == ["alice", "carol", "dave", "eve"]
    first = list_keys(path, limit=2, include_revoked=True)
    second = list_keys(path, after=first[-1].name, limit=2, include_revoked=True)
    rest = list_keys(path, after=second[-1].name, limit=2, include_revoked=True)
    assert [[key.name for key in page] for page in (first, second, rest)] == [
        ["alice", "bob"],
        ["carol", "dave"],
        ["eve"],
    ]
    assert list_keys(path, after="eve") == []


async def test_all_keys_in_use_are_of_one_pepper(keys: KeyStore, path: Path):
    assert pepper_mark(path) is None
    await make(keys, "alice")
    other = Pepper(b"q" * 32)
    assert pepper_mark(path) == MARK != other.mark
    for change in (
        keys.create("bob", b"2" * 32, other.mark, KeySettings(), NOW),
        keys.rotate("alice", b"2" * 32, other.mark, NOW, NOW),
    ):
        with pytest.raises(StoreError, match="another pepper"):
            await change
    await keys.revoke("alice", NOW)
    assert pepper_mark(path) is None, "the lost pepper of revoked keys binds nobody"
    await keys.create("bob", b"2" * 32, other.mark, KeySettings(), NOW)
    assert pepper_mark(path) == other.mark


async def test_a_store_that_cannot_be_written_changes_no_key(keys: KeyStore, ledger: SQLiteLedger, path: Path):
    await make(keys, "alice")
    await ledger.close()
    with pytest.raises(GatewayFault):
        await keys.revoke("alice", NOW)
    assert find_key(path, "alice").revoked_at_ns is None


REVOKING = """
import asyncio, os, signal, sys
from pathlib import Path
from gateway.stores.sqlite.keys import KeyStore
from gateway.stores.key_records import KeySettings
from gateway.stores.sqlite.ledger import SQLiteLedger
from tests.stores.sqlite.books import StoppedClock

async def main():
    ledger = await SQLiteLedger.open(Path(sys.argv[1]), clock=StoppedClock())
    keys = KeyStore(ledger)
    await keys.create("alice", b"1" * 32, b"m" * 32, KeySettings(), 1)
    await keys.revoke("alice", 2)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_a_revocation_survives_a_kill_at_once(path: Path):
    child(REVOKING, str(path)).communicate(timeout=60)
    assert find_key(path, "alice").revoked_at_ns == 2


@pytest.mark.parametrize("version", [1, 2])
async def test_a_store_from_before_keys_takes_them(path: Path, version: int):
    old_store(path, version).close()
    with pytest.raises(StoreError, match="Start the gateway once"):
        load_active(path, NOW)
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    await make(KeyStore(ledger), "alice", EVERYTHING)
    await ledger.close()
    assert [key.name for key in load_active(path, NOW)] == ["alice"]
    assert verify(path).problems == []


@pytest.mark.parametrize(
    "changes",
    [
        "digest = x'00'", "models = '{}'", "models = 'x'", "rpm = 0", "budget_nano = 5", "budget_period = 'year'",
        "budget_nano = 1.5, budget_period = 'day'", "old_until_ns = 5", "team = ''",
        "model_budgets = '[]'", "alert = '80'", "alert = NULL",
    ],
)  # fmt: skip
def test_the_store_itself_refuses_rows_that_make_no_sense(path: Path, changes: str):
    with closing(schema.open_for_writing(path, 1)) as store:
        store.execute(
            "INSERT INTO keys (name, digest, models, note, created_at_ns) VALUES ('alice', zeroblob(32), '[]', '', 1)"
        )
        with pytest.raises(sqlite3.IntegrityError):
            store.execute(f"UPDATE keys SET {changes}")
    assert rows(path, "SELECT name FROM keys") == ["alice"]


def test_keys_of_an_older_store_are_as_they_were(path: Path):
    with closing(old_store(path, 8)) as store:
        store.execute(
            "INSERT INTO keys VALUES ('alice', zeroblob(32), 'growth', '[\"gpt-4o*\"]', 1, 2, 3, 5, 'month', 6, "
            "'hers', 7, NULL, NULL, NULL)"
        )
        store.execute(
            "INSERT INTO keys VALUES ('bob', randomblob(32), NULL, '[\"*\"]', NULL, NULL, NULL, NULL, NULL, NULL, '', "
            "1, 2, NULL, NULL)"
        )
    schema.open_for_writing(path, 9).close()
    budget = Budget(5, "month")
    settings = KeySettings("growth", ("gpt-4o*",), 1, 2, 3, budget, 6, "hers")
    assert list_keys(path, include_revoked=True) == [
        StoredKey("alice", bytes(32), settings, 7),
        replace(find_key(path, "bob"), settings=KeySettings(), created_at_ns=1, revoked_at_ns=2),
    ]
    with closing(sqlite3.connect(path)) as store:
        for statement in ("DELETE FROM keys", "UPDATE keys SET note = 'x' WHERE name = 'bob'"):
            with pytest.raises(sqlite3.IntegrityError):
                store.execute(statement)
