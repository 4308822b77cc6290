"""A real HAProxy in front of gateways, and what it thinks of them."""

from __future__ import annotations

import asyncio
import csv
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.raw_client import PATIENCE

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/sbin:/bin")

needs_haproxy = pytest.mark.skipif(
    HAPROXY is None, reason="HAPROXY IS MISSING: install it, or nobody tests what it gets"
)

_AROUND = """
global
    stats socket {folder}/admin.sock mode 600 level admin
defaults
    timeout connect 5s
    timeout client 1m
    timeout server 1m
    timeout check 2s
"""


@dataclass(frozen=True)
class Seen:
    """``status``: UP, DOWN, …; ``check``: how the last check ended (L7OK, L7STS, L4CON …); ``code``: its status."""

    status: str
    check: str
    code: str


class HAProxy:
    """A running one."""

    def __init__(self, folder: Path) -> None:
        self._socket = str(folder / "admin.sock")

    async def seen(self, server: str = "gateway") -> Seen:
        """What it thinks of one server of its backend."""
        reader, writer = await asyncio.open_unix_connection(self._socket)
        writer.write(b"show stat\n")
        text = (await reader.read()).decode()
        writer.close()
        rows = csv.DictReader(text.removeprefix("# ").splitlines())
        row = next(row for row in rows if row["svname"] == server)
        return Seen(row["status"], row["check_status"].removeprefix("* "), row["check_code"])

    async def until(self, wanted: Callable[[Seen], bool], server: str = "gateway") -> Seen:
        """Wait until it thinks so."""
        async with asyncio.timeout(PATIENCE):
            while not wanted(seen := await self.seen(server)):
                await asyncio.sleep(0.02)
        return seen


@asynccontextmanager
async def haproxy(folder: Path, configuration: str) -> AsyncIterator[HAProxy]:
    """Start it with these sections; it listens when this returns."""
    file = folder / "haproxy.cfg"
    file.write_text(_AROUND.format(folder=folder) + configuration, encoding="utf-8")
    assert HAPROXY is not None
    said = folder / "haproxy.log"
    with said.open("w") as log:
        process = await asyncio.create_subprocess_exec(HAPROXY, "-db", "-f", str(file), stdout=log, stderr=log)
    running = HAProxy(folder)
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                assert process.returncode is None, said.read_text()
                try:
                    await running.seen("FRONTEND")
                    break
                except OSError:
                    await asyncio.sleep(0.02)
        yield running
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
