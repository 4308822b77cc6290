"""``piapi-gateway backup`` and ``restore``: beside a running gateway, back in its place, and what they refuse."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from gateway.sandbox import Sandbox
from tests.process.running import ALICE_KEY, ask, chat, new_client, settings

from .in_process import RunningGateway, command, done, one_line, serving


async def test_a_running_gateways_books_go_out_and_come_back(folder: Path, sandbox: Sandbox) -> None:
    document = settings(sandbox, folder)
    async with serving(folder, document) as gateway:
        async with new_client(ALICE_KEY) as client:
            assert (await ask(client, gateway, chat("one"))).status == 200
        await booked(gateway)
        made = await done("backup", "copy", *gateway.meet)
        assert "settled 1, released 0, unknown 0, open 0" in made
        assert made.splitlines()[-1] == "To put it back: piapi-gateway restore copy"
        async with new_client(ALICE_KEY) as client:
            assert (await ask(client, gateway, chat("two"))).status == 200
        refused = one_line(await command("restore", "copy", *gateway.meet), 1)
        assert "Stop that gateway" in refused
    text = await done("restore", "copy", "--config", "config.yaml")
    assert "moved aside: " in text
    assert (await done("ledger", "verify", "--config", "config.yaml")).startswith("settled 1,")
    async with serving(folder, document) as gateway, new_client(ALICE_KEY) as client:
        assert (await ask(client, gateway, chat("three"))).status == 200
    assert (await done("ledger", "verify", "--config", "config.yaml")).startswith("settled 2,")


async def booked(gateway: RunningGateway) -> None:
    """Return once everything that was answered is in the books."""
    async with asyncio.timeout(20):
        while gateway.gateway._store.ledger.pending:
            await asyncio.sleep(0.005)


async def test_scripts_get_json(folder: Path, sandbox: Sandbox) -> None:
    async with serving(folder, settings(sandbox, folder)) as gateway:
        made = json.loads(await done("backup", "copy", "--json", *gateway.meet))
        assert made["settled"] == made["open"] == 0
        assert "gateway.db" in made["files"]
        assert json.loads(await done("restore", "--check", "copy", "--json", *gateway.meet)) == made


async def test_a_store_that_is_not_there_and_a_folder_that_is_no_backup(folder: Path) -> None:
    assert "does not exist" in one_line(await command("backup", "copy"), 1)
    assert not (folder / "copy").exists()
    (folder / "empty").mkdir()
    assert "holds no backup" in one_line(await command("restore", "empty"), 1)
    assert not (folder / "gateway.db").exists()


async def test_a_pepper_of_the_environment_is_not_in_it_and_that_is_said(folder: Path, sandbox: Sandbox) -> None:
    async with serving(folder, settings(sandbox, folder)) as gateway:
        (folder / "gateway.db.pepper").unlink(missing_ok=True)
        finished = await command("backup", "copy", *gateway.meet)
    assert finished.code == 0
    assert "GATEWAY_KEY_PEPPER" in finished.err
