"""Keys and the pepper they are hashed with: random, private, and an operator is told what to do when it is lost."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.core.errors import StoreError
from gateway.keys.hashing import Pepper, new_key
from gateway.keys.hashing import open_pepper as open_pepper_file
from gateway.stores.sqlite.store import pepper_file
from gateway.telemetry.redaction import Redactor


def open_pepper(store: Path, from_environment: str | None, mark: bytes | None) -> Pepper:
    """The pepper beside a store."""
    return open_pepper_file(pepper_file(store), from_environment, mark)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


def file(store: Path) -> Path:
    return store.with_name("gateway.db.pepper")


def test_keys_carry_256_random_bits_and_are_recognised_by_the_log():
    made = {new_key() for _ in range(1_000)}
    assert len(made) == 1_000
    for key in made:
        assert re.fullmatch(r"gw-[A-Za-z0-9_-]{43}", key)
        assert key not in Redactor().text(f"key {key} was sent")


def test_the_digest_is_a_keyed_hash_of_the_keys_hash():
    pepper, key = Pepper(bytes(range(32))), b"gw-something"
    plain = hashlib.sha256(key).digest()
    assert pepper.digest(key) == pepper.digest_of(plain) == hmac.new(bytes(range(32)), plain, hashlib.sha256).digest()
    assert pepper.digest(key) != Pepper(bytes(32)).digest(key)
    assert pepper.mark != Pepper(bytes(32)).mark
    assert len(pepper.mark) == 32


def test_the_bytes_are_shown_nowhere():
    secret = b"very secret indeed, all 32 bytes"
    pepper = Pepper(secret)
    for text in (repr(pepper), str(pepper), repr(vars(type(pepper))), repr(pepper.mark)):
        assert "secret indeed" not in text
    assert not hasattr(pepper, "__dict__")


def test_it_is_made_once_for_its_owner_only_and_found_again(store: Path):
    before = os.umask(0)
    try:
        made = open_pepper(store, None, None)
    finally:
        os.umask(before)
    status = file(store).stat()
    assert (stat.S_IMODE(status.st_mode), status.st_size) == (0o600, 32)
    again = open_pepper(store, None, made.mark)
    assert again.digest(b"key") == made.digest(b"key")
    assert open_pepper(store.with_name("other.db"), None, None).mark != made.mark


def test_another_name_of_the_store_has_the_same_pepper(store: Path):
    store.touch()
    link = store.with_name("link.db")
    link.symlink_to(store)
    assert open_pepper(link, None, None).mark == open_pepper(store, None, None).mark


def test_the_environment_comes_before_the_file_and_makes_none(store: Path):
    pepper = open_pepper(store, " " + "Ab" * 32 + "\n", None)
    assert pepper.digest(b"key") == Pepper(b"\xab" * 32).digest(b"key")
    assert not file(store).exists()
    made = open_pepper(store, "", None)
    assert made.mark != pepper.mark
    assert open_pepper(store, "ab" * 40, None).mark == Pepper(b"\xab" * 40).mark


@pytest.mark.parametrize("text", ["ab" * 31, "xy" * 32, "a" * 65, "ab " * 32, "０" * 64])
def test_a_value_of_the_environment_that_is_none_is_told_without_repeating_it(store: Path, text: str):
    with pytest.raises(StoreError, match=r"GATEWAY_KEY_PEPPER is not .* openssl rand -hex 32") as told:
        open_pepper(store, text, None)
    assert text not in str(told.value)


def test_a_lost_pepper_is_not_replaced_while_keys_are_in_use(store: Path):
    mark = open_pepper(store, None, None).mark
    file(store).unlink()
    with pytest.raises(StoreError, match=r"pepper is missing\. .* Restore it from a backup, .* revoke every key"):
        open_pepper(store, None, mark)
    assert not file(store).exists()
    assert open_pepper(store, None, None).mark != mark, "with every key revoked, a new one is made"


def test_another_pepper_than_the_keys_is_refused(store: Path):
    mark = open_pepper(store, None, None).mark
    with pytest.raises(StoreError, match=r"^GATEWAY_KEY_PEPPER is not the pepper that the keys in"):
        open_pepper(store, "ab" * 32, mark)
    file(store).write_bytes(b"x" * 32)
    with pytest.raises(StoreError, match=r"gateway\.db\.pepper is not the pepper that the keys in"):
        open_pepper(store, None, mark)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_that_others_may_use_is_refused(store: Path, mode: int):
    open_pepper(store, None, None)
    file(store).chmod(mode)
    with pytest.raises(StoreError, match=rf"mode {mode:04o}.* chmod 600"):
        open_pepper(store, None, None)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_file_of_another_size_is_refused_and_left_alone(store: Path, size: int):
    file(store).touch(mode=0o600)
    file(store).write_bytes(b"x" * size)
    with pytest.raises(StoreError, match="does not hold 32 bytes"):
        open_pepper(store, None, None)
    assert file(store).stat().st_size == size


def test_what_is_no_file_of_ours_is_refused(store: Path):
    file(store).symlink_to(store.with_name("elsewhere"))
    with pytest.raises(StoreError, match="cannot be read"):
        open_pepper(store, None, None)
    file(store).unlink()
    os.mkfifo(file(store), 0o600)
    with pytest.raises(StoreError, match="is not a file"):
        open_pepper(store, None, None)
    assert not store.with_name("elsewhere").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "nowhere").touch()
    with pytest.raises(StoreError, match=r"nowhere/gateway\.db\.pepper cannot be (read|made): Not a directory"):
        open_pepper(tmp_path / "nowhere" / "gateway.db", None, None)


def test_gateways_that_start_at_once_on_an_empty_folder_have_one_pepper(tmp_path: Path):
    place = tmp_path / "images" / "gateway.db"
    with ThreadPoolExecutor(8) as gateways:
        marks = {one.mark for one in gateways.map(lambda _: open_pepper(place, None, None), range(64))}
    assert len(marks) == 1
    assert [path.name for path in place.parent.iterdir()] == ["gateway.db.pepper"]
