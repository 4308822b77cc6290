"""Systems that lack what Linux has: EMULATIONS, in which names are hidden or answer as another system's would."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import httpx2

from gateway.sandbox import Sandbox
from gateway.stores.sqlite.mark import read_mark
from gateway.stores.sqlite.queries import verify

from .running import Gateway, ask, chat, command, settings, write

ROOT = Path(__file__).parents[2]


def emulated(system: str) -> dict[str, Any]:
    """How a program is started that takes its system for ``system``."""
    return {
        "program_line": (sys.executable, "-m", f"tests.process.{system}"),
        "env": {"PYTHONPATH": str(ROOT)},
    }


async def test_windows_serves_and_stops_at_ctrl_c(tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.serve(tmp_path, **emulated("windows")) as gateway:
        whole = await ask(client, gateway, chat())
        stream = await ask(client, gateway, chat(stream=True))
        assert (whole.status, stream.status, "[DONE]" in stream.text) == (200, 200, True)
        assert (await client.get(f"{gateway.url}/readyz")).status_code == 200
        second = await command(tmp_path, "serve", **emulated("windows"))
        assert (second.code, f"process {gateway.process.pid}" in second.err) == (1, True), second
        gateway.signal(signal.SIGINT)
        assert await gateway.wait() == 0, gateway.err.text
        assert "Traceback" not in gateway.err.text
    assert verify(tmp_path / "gateway.db").settled == 2
    assert read_mark(tmp_path / "gateway.db").clean


async def test_windows_commands_work_on_the_store(tmp_path: Path, sandbox: Sandbox) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    for line in (
        "check", "models", "keys create carol", "keys list", "usage", "ledger verify", "backup copy",
        "restore --check copy", "restore copy",
    ):  # fmt: skip
        finished = await command(tmp_path, *line.split(), **emulated("windows"))
        assert (finished.code, "Traceback" in finished.err) == (0, False), (line, finished)


async def test_a_mac_serves_and_stops(tmp_path: Path, sandbox: Sandbox, client: httpx2.AsyncClient) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.serve(tmp_path, **emulated("macos")) as gateway:
        assert (await ask(client, gateway, chat())).status == 200
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
        assert "Traceback" not in gateway.err.text
    assert verify(tmp_path / "gateway.db").settled == 1
