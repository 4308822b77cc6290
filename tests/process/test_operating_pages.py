"""The lines that the pages on operating ask their reader to paste, pasted beside a running gateway.

A page's blocks run in order, in the gateway's folder. YAML is laid over the configuration in force, shell lines run in
a shell that finds ``piapi-gateway``; addresses and folders are the test's own. Nothing may fail.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from gateway.sandbox import Sandbox
from tests.base_config import merged

from .running import PATIENCE, PROGRAM, Finished, Gateway, ask, chat, command, new_client, settings, write
from .test_readme import ROOT, Block

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed: its lines are NOT tried")

NOT_RUN = ("terminationGracePeriodSeconds",)
"""How the first line of a block begins that other tests hold: tests/deploy/test_kubernetes.py."""


def blocks(page: str) -> list[Block]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = [Block(*parts) for parts in re.findall(r"^```(sh|yaml)\n(.*?)^```$", text, re.S | re.M)]
    return [block for block in found if not block.text.startswith(NOT_RUN)]


class Operator:
    """Someone with a shell in the folder of a gateway whose key ``alice`` is in the store."""

    def __init__(self, folder: Path, document: dict[str, Any], gateway: Gateway) -> None:
        self.folder = folder
        self.document = document
        self.gateway = gateway

    async def paste(self, block: Block) -> Finished:
        if block.language == "yaml":
            self.document = merged(self.document, yaml.safe_load(block.text))
            write(self.folder, self.document)
            return Finished(0, "", "")
        text = block.text
        for address, own in (("8400", self.gateway.url), ("8401", self.gateway.admin)):
            text = text.replace(f"http://127.0.0.1:{address}", own)
        text = text.replace("/srv/backups", str(self.folder / "backups"))
        process = await asyncio.create_subprocess_exec(
            *("sh", "-euc", text),
            cwd=self.folder,
            env={"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
        assert process.returncode is not None
        done = Finished(process.returncode, out.decode(), err.decode())
        assert done.code == 0, f"{block.text}\n{done.out}\n{done.err}"
        return done

    async def stop(self) -> None:
        if self.gateway.process.returncode is None:
            self.gateway.signal(signal.SIGTERM)
            assert await self.gateway.wait() == 0

    async def paste_all(self, page: str) -> list[Finished]:
        return [await self.paste(block) for block in blocks(page)]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@asynccontextmanager
async def an_operator(folder: Path, sandbox: Sandbox, **over: Any) -> AsyncIterator[Operator]:
    """The ports are chosen before, as the commands find the gateway by the file."""
    main, admin = free_ports(2)
    listening = {"listen": f"127.0.0.1:{main}", "admin": {"listen": f"127.0.0.1:{admin}"}}
    document = {**settings(sandbox, folder, keys=[]), **listening, **over}
    write(folder, document)
    made = await command(folder, "keys", "create", "alice", "--team", "growth", "--json")
    assert made.code == 0, made.err
    async with Gateway.serve(folder) as gateway:
        async with new_client(json.loads(made.out)["key"]) as client:
            assert (await ask(client, gateway, chat())).status == 200
        yield Operator(folder, document, gateway)
        await Operator(folder, document, gateway).stop()


async def status(gateway: Gateway, key: str) -> int:
    async with new_client(key) as client:
        return (await ask(client, gateway, chat())).status


async def test_rotating(tmp_path: Path, sandbox: Sandbox) -> None:
    """Each block, and whom the gateway answers after it; the last one needs it stopped and its keys revoked."""
    async with an_operator(tmp_path, sandbox) as operator:
        gateway = operator.gateway
        rotate, at_once, both, first, one, second, hangup, pepper = blocks("rotation.md")
        graceful = (await operator.paste(rotate)).out.splitlines()[0]
        assert await status(gateway, graceful) == 200
        immediate = (await operator.paste(at_once)).out.splitlines()[0]
        assert [await status(gateway, key) for key in (graceful, immediate)] == [401, 200]

        await operator.paste(both)
        assert re.search(r"\bold\b.*\bnew\b", (await operator.paste(first)).out, re.S)
        await operator.paste(one)
        changed, _, shown = (await operator.paste(second)).out.partition("}")
        assert "key old removed" in changed
        assert re.search(r"\bnew\b", shown)
        assert not re.search(r"\bold\b", shown)

        await another_admin_key(operator, hangup)
        assert await status(gateway, immediate) == 200

        assert (await command(tmp_path, "keys", "revoke", "alice")).code == 0
        await operator.stop()
        old = (tmp_path / "gateway.db.pepper").read_bytes()
        made = (await operator.paste(pepper)).out.splitlines()[0]
        assert (tmp_path / "gateway.db.pepper").read_bytes() != old
    async with Gateway.serve(tmp_path) as again:
        assert [await status(again, key) for key in (immediate, made)] == [401, 200]
        again.signal(signal.SIGTERM)
        assert await again.wait() == 0


async def another_admin_key(operator: Operator, hangup: Block) -> None:
    """Write one into the file and reload by the page's line; from then on it is asked for."""
    key = "admin-key-new-0123456789"
    operator.document = merged(operator.document, {"admin": {"key": key}})
    write(operator.folder, operator.document)
    await operator.paste(hangup)
    metrics = f"{operator.gateway.admin}/metrics"
    async with httpx2.AsyncClient(trust_env=False) as client, asyncio.timeout(PATIENCE):
        while (await client.get(metrics)).status_code != 401:
            await asyncio.sleep(0.02)
        assert (await client.get(metrics, headers={"authorization": f"Bearer {key}"})).status_code == 200


async def test_sizing(tmp_path: Path, sandbox: Sandbox) -> None:
    async with an_operator(tmp_path, sandbox) as operator:
        [descriptors, disk] = await operator.paste_all("sizing.md")
        assert re.match(r"\d+|unlimited", descriptors.out)
        assert re.match(r"\d+\s+gateway\.db", disk.out)


async def test_behind_load_balancers(tmp_path: Path, sandbox: Sandbox) -> None:
    async with an_operator(tmp_path, sandbox) as operator:
        settled, asked = await operator.paste_all("load-balancers.md")
        assert asked.out.count('{"status":"ok"}') == 2
        assert settled.code == 0
        assert (await command(tmp_path, "check")).code == 0


async def test_backing_up_and_restoring(tmp_path: Path, sandbox: Sandbox) -> None:
    """``docs/operating.md`` from its beginning to its end; what it shows of other proxies is only read."""
    async with an_operator(tmp_path, sandbox) as operator:
        for block in blocks("operating.md"):
            if block.language == "sh":
                if "restore" in block.text:
                    await operator.stop()
                done = await operator.paste(block)
        assert "alice" in done.out
