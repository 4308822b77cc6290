"""Upgrades: stores that earlier versions made (tests/stores/earlier) are opened, migrated, verified and served; the way
back is refused.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.errors import StoreError
from gateway.sandbox import Sandbox
from gateway.stores.sqlite import schema
from gateway.stores.sqlite.queries import verify
from tests.process.running import ALICE_KEY, ask, chat, new_client, settings

from .in_process import command, done, one_line, serving

EARLIER = Path(__file__).parents[1] / "stores" / "earlier"
CAROL_KEY = "gw-pFxlMoMpyyXOr4dWm9MLEyEzBp49isjiMA22VTI4T6M"
"""Made by 89d152c, of which the store knows the hash under this pepper."""
PEPPER = "5a" * 32


def unpacked(folder: Path, name: str) -> Path:
    path = folder / "gateway.db"
    path.write_bytes(gzip.decompress((EARLIER / f"{name}.db.gz").read_bytes()))
    return path


def version(path: Path) -> int:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as store:
        return int(store.execute("SELECT max(version) FROM schema_version").fetchone()[0])


async def usage() -> dict[str, int]:
    """Requests of every key, ever."""
    line = ("usage", "--by", "key", "--since", "2020-01-01", "--format", "json", "--config", "config.yaml")
    return {row["key"]: row["requests"] for row in json.loads(await done(*line))}


def test_the_fixtures_are_what_they_are_called(folder: Path) -> None:
    assert version(unpacked(folder, "first")) == 1
    assert version(unpacked(folder, "served")) == 8
    assert sum(path.stat().st_size for path in EARLIER.glob("*.gz")) < 100_000


async def test_the_first_store_is_migrated_verified_and_served(folder: Path, sandbox: Sandbox) -> None:
    path = unpacked(folder, "first")
    document = settings(sandbox, folder)
    async with serving(folder, document) as gateway, new_client(ALICE_KEY) as client:
        assert (await ask(client, gateway, chat())).status == 200
        assert "released 4, unknown 5" in await done("ledger", "verify", *gateway.meet)
    # The log is complete now that its gateway is closed.
    assert [line["unknown"] for line in gateway.events("ledger_recovered")] == [3], "what its kill left open"
    assert gateway.events("store_made") == []
    assert version(path) == len(schema.migrations())
    books = verify(path)
    assert (books.settled, books.released, books.unknown, books.problems) == (41, 4, 5, [])
    assert await usage() == {"alice": 20 + 3 + 1, "bob": 20 + 2}, "also by the sums that came later"
    with closing(sqlite3.connect(path)) as store:
        assert store.execute("SELECT sum(charged) FROM spent WHERE span = 3600 AND start < 1795478400").fetchone() == (
            sum(1000 * (number + 1) for number in range(44) if number % 11 != 10),
        )


async def test_a_store_with_keys_opens_to_them_and_to_no_other(
    folder: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = unpacked(folder, "served")
    monkeypatch.setenv("GATEWAY_KEY_PEPPER", PEPPER)
    document = settings(sandbox, folder, keys=[])
    async with serving(folder, document) as gateway:
        async with new_client(CAROL_KEY) as carol, new_client("gw-nobodys-key") as nobody:
            assert (await ask(carol, gateway, chat())).status == 200
            assert (await ask(nobody, gateway, chat())).status == 401
        keys = json.loads(await done("keys", "list", "--all", "--json", *gateway.meet))
        assert [(key["name"], key["state"], key["budget"], key["rpm"], key["note"]) for key in keys] == [
            ("carol", "active", "50/total", None, ""),
            ("dave", "revoked", None, 3, "left in May"),
        ]
        assert await done("keys", "set", "carol", "--budget", "20/week", *gateway.meet)
    assert version(path) == len(schema.migrations())
    books = verify(path)
    assert (books.settled, books.unknown, books.problems) == (8, 0, [])
    assert await usage() == {"carol": 8}


async def test_commands_that_only_read_say_what_brings_an_older_store_up_to_date(folder: Path) -> None:
    path = unpacked(folder, "first")
    before = path.read_bytes()
    for line in (["usage"], ["ledger", "verify"], ["backup", "copy"]):
        assert "Start the gateway once to bring it up to date" in one_line(await command(*line), 1)
    assert path.read_bytes() == before


async def test_a_store_of_a_newer_version_is_refused_and_left_as_it_is(folder: Path, sandbox: Sandbox) -> None:
    path = unpacked(folder, "served")
    newer = len(schema.migrations()) + 1
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("INSERT INTO schema_version VALUES (?, 0)", (newer,))
    before = path.read_bytes()
    with pytest.raises(StoreError, match="written by a newer piapi-gateway"):
        async with serving(folder, settings(sandbox, folder)):
            pass
    for line in ("keys create x", "keys list", "usage", "ledger verify", "backup copy"):
        refusal = one_line(await command(*line.split(), "--config", "config.yaml"), 1)
        assert f"written by a newer piapi-gateway (schema {newer}" in refusal
        assert "restore the copy made before the upgrade; the file is untouched" in refusal
    assert path.read_bytes() == before
