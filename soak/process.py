"""``piapi-gateway serve`` in a process of its own: started, killed, started again on the same store."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import gateway
from gateway.runtime.children import send_signal
from gateway.sandbox import Sandbox

PATIENCE = 30.0
"""Seconds after which a process that neither serves nor ends is given up."""

PEPPER = "0123456789abcdef" * 4
"""Of the keys in a store: several gateways on one store must have the same."""

_ANNOUNCED = re.compile(rb"listens on (http://\S+) \(admin: (http://[^)\s]+)\)")


class SoakError(Exception):
    """The run itself failed, so that nothing can be said of the gateway's books. The message is fit to be shown."""


class Process:
    """A gateway's process, from its start to its end. ``url``, ``admin``: known once ``announced`` said so."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self.url = ""
        self.admin = ""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    def memory(self) -> int:
        """Bytes resident. Linux only."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise SoakError("the kernel does not say how much memory a process has")

    async def announced(self) -> bool:
        """Wait until it says where it listens; False if it was killed before. SoakError if it ended in another way."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise SoakError(f"the gateway did not start; {self._last_words()}") from None
        found = _ANNOUNCED.search(line)
        if found is not None:
            self.url, self.admin = found[1].decode(), found[2].decode()
            return True
        if await self._process.wait() != -signal.SIGKILL:
            raise SoakError(f"the gateway did not start; {self._last_words()}")
        return False

    async def kill(self) -> None:
        """SIGKILL: it gets no chance to do anything. SoakError if it had ended by itself."""
        if not self.running:
            raise SoakError(f"the gateway ended by itself; {self._last_words()}")
        send_signal(self._process, signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, and wait for it to end in good order. SoakError if it does not."""
        send_signal(self._process, signal.SIGTERM)
        try:
            async with asyncio.timeout(PATIENCE):
                code = await self._process.wait()
        except TimeoutError:
            raise SoakError(f"the gateway did not stop when told to; {self._last_words()}") from None
        if code:
            raise SoakError(f"the gateway ended with code {code}; {self._last_words()}")

    def _last_words(self) -> str:
        return f"its log ends with: {self._log.read_text(errors='replace')[-1000:].strip() or 'nothing'}"


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Process]:
    """Start a gateway with ``folder/config.yaml``; at the end it is killed if it still runs."""
    log = folder / "gateway.log"
    with log.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            *_command("serve", folder), stdout=asyncio.subprocess.PIPE, stderr=stderr, **_surroundings(folder)
        )
    running = Process(process, log)
    try:
        yield running
    finally:
        send_signal(process, signal.SIGKILL)
        await process.wait()


async def verify(folder: Path) -> tuple[int, str]:
    """``piapi-gateway ledger verify``: its exit code, and what it says."""
    return await command(folder, "ledger", "verify")


async def command(folder: Path, *words: str) -> tuple[int, str]:
    """A command of ``piapi-gateway``: its exit code, and what it says."""
    process = await asyncio.create_subprocess_exec(
        *_command(*words, folder),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        **_surroundings(folder),
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode().strip()


def write_config(folder: Path, document: Mapping[str, Any]) -> None:
    """``folder/config.yaml``; JSON is YAML."""
    path = folder / "config.yaml"
    path.touch(mode=0o600)
    path.write_text(json.dumps(document), encoding="utf-8")


def base_config(folder: Path, sandbox: Sandbox, keys: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """PiAPI's two hosts and the backup, as far as the sandbox plays them, two upstream keys, and these virtual keys.

    Nothing is ejected or cooled for long, and a log line costs little: what is tried here is the books.
    """
    urls = sandbox.urls
    hosts = [{"url": url} for role, url in urls.items() if role != "backup"]
    upstreams: dict[str, Any] = {
        "piapi": {
            "endpoints": hosts,
            "keys": [{"name": name, "value": f"sk-piapi-{name}-0011223344"} for name in ("first", "second")],
            "tasks": {"poll": "20ms", "poll_max": "100ms"},
        },
        "backup": {"keys": []},
    }
    if "backup" in urls:
        upstreams["backup"] = {
            "endpoints": [{"url": urls["backup"]}],
            "keys": [{"name": "spare", "value": "sk-backup-0011223344"}],
        }
    return {
        "listen": "127.0.0.1:0",
        "admin": {"listen": "127.0.0.1:0"},
        "store": f"sqlite:///{folder / 'gateway.db'}",
        "upstreams": upstreams,
        "keys": list(keys),
        "failover": {"retry_budget": 1.0, "breaker": {"failures": 1_000_000}},
        "images": {"dir": str(folder / "images"), "fetch_hosts": ["127.0.0.1"], "fetch_private": True},
        "log": {"format": "json", "level": "warning"},
    }


def _command(*words: str | Path) -> list[str]:
    """The command line of the very code that is imported here; the last word is the folder of the configuration."""
    *command, folder = words
    return [sys.executable, "-m", "gateway", *map(str, command), "--config", str(Path(folder) / "config.yaml")]


def _surroundings(folder: Path) -> dict[str, Any]:
    code = Path(gateway.__file__).parent.parent
    return {
        "cwd": folder,
        "env": {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(code),
            "GATEWAY_KEY_PEPPER": PEPPER,
        },
        "stdin": asyncio.subprocess.DEVNULL,
    }
