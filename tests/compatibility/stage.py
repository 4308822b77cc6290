"""The stage of one client: a sandbox, ``piapi-gateway`` in a process of its own, and the client's driver in another."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

from gateway.sandbox import Sandbox
from tests.base_config import base_config, merged
from tests.compatibility import environments
from tests.compatibility.table import DRIVERS, Client
from tests.compatibility.trials import GOOD_KEY, POOR_KEY, Row, Seen, Trial
from tests.process.running import Gateway, rows, write

PATIENCE = 90.0
"""Seconds for one call of a client, agents that start up for it included."""

ROOT = Path(__file__).parents[2]
SETTLED = """
    SELECT i.route, i.key, s.state, s.charged, s.attempts
    FROM intents AS i LEFT JOIN settlements AS s ON s.id = i.id ORDER BY i.rowid
"""


def gateway_settings(sandbox: Sandbox, folder: Path) -> dict[str, Any]:
    """PiAPI and the backup, a key without limits and one whose budget is too small for anything."""
    over = {
        "auth": "required",
        "keys": [
            {"name": "good", "key": GOOD_KEY},
            {"name": "poor", "key": POOR_KEY, "budget": "0.0000001/total"},
        ],
    }
    settings: dict[str, Any] = merged(base_config(sandbox, folder), over)
    return settings


class Stage:
    """One client's stage. ``call`` makes the client do something and gathers what came of it."""

    def __init__(self, sandbox: Sandbox, gateway: Gateway, folder: Path, driver: asyncio.subprocess.Process) -> None:
        self._sandbox, self._gateway, self._folder, self._driver = sandbox, gateway, folder, driver
        self._asked = self._rows = 0

    @classmethod
    @asynccontextmanager
    async def set_up(cls, client: Client, folder: Path) -> AsyncIterator[Self]:
        async with Sandbox(roles=("api", "proxy", "backup")) as sandbox:
            write(folder, gateway_settings(sandbox, folder))
            serving = Gateway.serve(folder, {"PYTHONPATH": str(ROOT)}, program_line=(sys.executable, "-m", "gateway"))
            async with serving as gateway:
                with (folder / "driver.log").open("wb") as log:
                    driver = await _start(client, gateway.url, folder, log)
                    try:
                        yield cls(sandbox, gateway, folder, driver)
                    finally:
                        await _end(driver)
                        _end_all_of(folder / "home")

    async def call(self, api: str, trial: Trial) -> Seen:
        """Have the client make a call, and wait until the books say what it was."""
        self._sandbox.clear_scripts()
        for script in trial.scripts:
            self._sandbox.script(script)
        order = {"call": f"{api}/{trial.does}", "key": trial.key, "prompt": trial.prompt}
        report = await self._reported(order)
        found = await self._settled()
        asked = [f"{request.role} {request.path}" for request in self._sandbox.requests[self._asked :]]
        self._asked, self._rows = len(self._sandbox.requests), self._rows + len(found)
        return Seen(report, asked, found)

    async def _reported(self, order: Any) -> Any:
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        self._driver.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(PATIENCE):
            line = await self._driver.stdout.readline()
        assert line, f"the driver has ended: {(self._folder / 'driver.log').read_text(errors='replace')[-2000:]}"
        return json.loads(line)

    async def _settled(self) -> Sequence[Row]:
        """The rows of the call that was made; all of them are settled."""
        async with asyncio.timeout(PATIENCE):
            found = rows(self._folder, SETTLED)
            while any(row[2] is None for row in found):
                await asyncio.sleep(0.02)
                found = rows(self._folder, SETTLED)
        return [
            Row(route, key, state, charged, [attempt["outcome"] for attempt in json.loads(attempts)])
            for route, key, state, charged, attempts in found[self._rows :]
        ]


async def _start(client: Client, url: str, folder: Path, log: Any) -> asyncio.subprocess.Process:
    home = folder / "home"
    home.mkdir()
    driver = DRIVERS / client.driver
    is_python = driver.suffix == ".py"
    program = environments.python_of(client) if client.python else sys.executable if is_python else environments.node()
    if not is_python:  # a module's imports are looked for beside it
        for file in DRIVERS.glob("*.mjs"):
            (environments.environment(client) / file.name).write_bytes(file.read_bytes())
        driver = environments.environment(client) / driver.name
    environment = {
        "PATH": f"{environments.node().parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "BASE_URL": url,
        "CLIENT": str(environments.environment(client)),
    }
    return await asyncio.create_subprocess_exec(
        program, driver, cwd=home, env=environment, limit=1 << 22,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, start_new_session=True,
    )  # fmt: skip


async def _end(driver: asyncio.subprocess.Process) -> None:
    assert driver.stdin is not None
    driver.stdin.close()
    try:
        async with asyncio.timeout(5):
            await driver.wait()
    except TimeoutError:
        driver.kill()
        await driver.wait()


def _end_all_of(home: Path) -> None:
    """End what a client left running for the next time, as codex leaves a server: all that lives in this home."""
    wanted = f"HOME={home}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lives_here = wanted in (process / "environ").read_bytes().split(b"\0")
        except OSError:  # another user's, or gone
            continue
        if lives_here:
            with suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)
