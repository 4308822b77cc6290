"""``piapi-gateway keys …`` on a PostgreSQL: beside the gateways that serve from it, or before the first."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from gateway.stores.engines import open_store
from tests.process.running import ask, chat, new_client, settings, write
from tests.stores.makers import StoppedClock

from .in_process import NOWHERE, command, one_line, serving

PEPPER = "5e" * 32


@pytest.fixture
def shared(folder: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A configuration with a PostgreSQL and its pepper, and no gateway that answers; the store's name in messages."""
    write(folder, {"admin": NOWHERE, "store": postgres_url})
    monkeypatch.setenv("GATEWAY_KEY_PEPPER", PEPPER)
    return postgres_url.replace("gateway@", "")


async def test_keys_are_made_before_the_first_gateway_and_changed_while_one_serves(
    shared: str, postgres_url: str, folder: Path
) -> None:
    assert json.loads((await command("keys", "list", "--json")).out) == []
    made = await command("keys", "create", "alice", "--budget", "5/month")
    assert (made.code, made.err) == (0, f"keys: made a new store: {shared}\n")
    store = await open_store(postgres_url, StoppedClock(), "gw_1", folder / "spill")
    try:
        version = await store.keys.version()
        assert (await command("keys", "set", "alice", "--rpm", "60")).code == 0
        assert (await command("keys", "create", "bob")).err == ""
        assert (await command("keys", "revoke", "bob")).code == 0
        _, changed = await store.keys.changed_since(version)
        assert [(key.name, key.settings.rpm, key.revoked_at_ns is None) for key in changed] == [
            ("alice", 60, True),
            ("bob", None, False),
        ]
        assert [entry.act for entry in await store.usage.audit(0)] == [
            "key.create",
            "key.set",
            "key.create",
            "key.revoke",
        ]
    finally:
        await store.close()
    shown = json.loads((await command("keys", "show", "alice", "--json")).out)
    assert (shown["budget"], shown["budget_used_usd"], shown["rpm"]) == ("5/month", 0, 60)


async def test_without_a_pepper_in_the_environment_one_is_made_in_the_folder_that_all_share(
    shared: str, folder: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GATEWAY_KEY_PEPPER")
    write(folder, {"admin": NOWHERE, "store": postgres_url, "images": {"dir": "shared"}})
    assert "made a new store" in (await command("keys", "create", "alice")).err
    assert stat.S_IMODE((folder / "shared" / "keys.pepper").stat().st_mode) == 0o600
    assert (await command("keys", "create", "bob")).code == 0
    (folder / "shared" / "keys.pepper").unlink()
    lost = one_line(await command("keys", "create", "carol"), 1)
    assert "keys.pepper is missing. The keys in the store cannot be checked without it." in lost


async def test_another_pepper_is_refused(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await command("keys", "create", "alice")).code == 0
    monkeypatch.setenv("GATEWAY_KEY_PEPPER", "d1" * 32)
    refused = one_line(await command("keys", "create", "bob"), 1)
    assert "GATEWAY_KEY_PEPPER is not the pepper that the keys in the store were made with" in refused


async def test_a_slip_makes_no_store(shared: str) -> None:
    assert "no key named 'carol'" in one_line(await command("keys", "set", "carol", "--rpm", "5"), 1)
    assert "made a new store" in (await command("keys", "create", "carol")).err


async def test_a_server_that_is_gone_is_told_in_one_line_without_its_password(folder: Path) -> None:
    write(folder, {"admin": NOWHERE, "store": "postgresql://gateway:its-password@127.0.0.1:1/books"})
    for action in (("list",), ("create", "alice")):
        told = one_line(await command("keys", *action), 1)
        assert "postgresql://127.0.0.1:1/books cannot be reached" in told
        assert "its-password" not in told


async def test_a_gateway_obeys_what_a_command_changed_beside_it(
    folder: Path, sandbox: Sandbox, shared: str, postgres_url: str
) -> None:
    document = settings(sandbox, folder, store=postgres_url, keys=[], images={"dir": "shared"})
    async with serving(folder, document) as gateway:
        write(folder, {**document, "admin": NOWHERE})  # the command does not find it, as from another machine
        key = json.loads((await command("keys", "create", "alice", "--json")).out)["key"]
        async with new_client(key) as client:

            async def until(status: int) -> None:
                async with asyncio.timeout(20):
                    while (await ask(client, gateway, chat())).status != status:
                        await asyncio.sleep(0.05)

            await until(200)
            assert (await command("keys", "revoke", "alice")).code == 0
            await until(401)
