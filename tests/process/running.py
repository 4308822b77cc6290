"""``piapi-gateway`` in a process of its own, and a client to talk to it.

async with Gateway.run(folder) as gateway:          # reads folder/config.yaml
    answer = await ask(client, gateway, stream=True)
    gateway.signal(signal.SIGTERM)
    assert await gateway.wait() == 0
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx2

from gateway.runtime.children import send_signal
from gateway.sandbox import Sandbox
from tests.base_config import ALICE as ALICE_KEY
from tests.base_config import base_config, merged

PROGRAM = Path(sys.executable).parent / "piapi-gateway"
PATIENCE = 30.0
"""Seconds after which a test gives up on a process; nothing is ever asserted to be fast."""

CHAT = "/v1/chat/completions"
BOB_KEY = "gw-bob-0123456789abcdef"

ENDLESS = {name: {"targets": [{"upstream": "piapi"}, {"upstream": "backup"}]} for name in ("gpt-4o", "gpt-4o-mini")}
"""The built-in targets without their ends: a process of its own goes by the machine's date."""

_ANNOUNCED = re.compile(r"listens on (http://\S+) \(admin: (http://[^)\s]+)\)")
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


class Lines:
    """What a process writes to one of its outputs, line by line, as it comes."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self.lines: list[str] = []
        self._stream = stream
        self._changed = asyncio.Condition()
        self._ended = False

    @property
    def text(self) -> str:
        return "".join(self.lines)

    async def read(self) -> None:
        """Read until the end."""
        async for line in self._stream:
            async with self._changed:
                self.lines.append(line.decode())
                self._changed.notify_all()
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def first(self, wanted: Callable[[str], bool]) -> str:
        """Wait for a line. AssertionError if the process ends without it."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: self._ended or any(map(wanted, self.lines)))
        found = next(filter(wanted, self.lines), None)
        assert found is not None, f"the line never came; there was: {self.text}"
        return found


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str


class Program:
    """A running command."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.process = process
        self.out, self.err = Lines(process.stdout), Lines(process.stderr)

    @classmethod
    @asynccontextmanager
    async def run(
        cls,
        folder: Path,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        program_line: Sequence[str | Path] = (PROGRAM,),
    ) -> AsyncIterator[Self]:
        """Start it in ``folder``, with nothing of our own environment; kill it at the end if it still runs."""
        program = cls(
            await asyncio.create_subprocess_exec(
                *program_line,
                *arguments,
                cwd=folder,
                env=_ENVIRONMENT | dict(env or {}),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=1 << 20,
            )
        )
        reading = asyncio.gather(program.out.read(), program.err.read())
        try:
            yield program
        finally:
            program.signal(signal.SIGKILL)
            await program.process.wait()
            await reading

    def signal(self, number: signal.Signals) -> None:
        send_signal(self.process, number)

    async def wait(self, within: float = PATIENCE) -> int:
        """The exit code; a negative one is the signal that killed it."""
        async with asyncio.timeout(within):
            return await self.process.wait()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's lines of one event so far."""
        return [line for line in map(json.loads, self.err.lines) if line["event"] == name]

    async def event(self, name: str, **fields: object) -> dict[str, Any]:
        """Wait for a line of the log with these fields."""

        def wanted(line: str) -> bool:
            found = json.loads(line)
            return bool(found["event"] == name and fields.items() <= found.items())

        found: dict[str, Any] = json.loads(await self.err.first(wanted))
        return found


class Gateway(Program):
    """``piapi-gateway serve``, listening."""

    url: str
    admin: str

    @classmethod
    @asynccontextmanager
    async def serve(
        cls,
        folder: Path,
        env: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        program_line: Sequence[str | Path] = (PROGRAM,),
    ) -> AsyncIterator[Self]:
        """Start it with ``folder/config.yaml``, or as ``arguments`` say, and wait until it says where it listens."""
        async with cls.run(folder, "serve", *arguments, env=env, program_line=program_line) as gateway:
            line = await gateway.out.first(lambda line: _ANNOUNCED.search(line) is not None)
            found = _ANNOUNCED.search(line)
            assert found is not None
            gateway.url, gateway.admin = found.groups()
            yield gateway


async def command(
    folder: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    program_line: Sequence[str | Path] = (PROGRAM,),
) -> Finished:
    """Run a command to its end."""
    async with Program.run(folder, *arguments, env=env, program_line=program_line) as program:
        code = await program.wait()
    return Finished(code, program.out.text, program.err.text)


async def commands(folder: Path, *each: Sequence[str]) -> list[Finished]:
    """Run several commands at the same time."""
    return list(await asyncio.gather(*(command(folder, *arguments) for arguments in each)))


def settings(sandbox: Sandbox, folder: Path, **over: Any) -> dict[str, Any]:
    """The base with a second key at PiAPI and a second user; ``over`` replaces parts.

    The upstreams' keys look like nothing in particular: that they stay out of sight is not owed to how they begin.
    """
    keys = [{"name": "first", "value": "piapi-key-one"}, {"name": "second", "value": "piapi-key-two"}]
    upstreams = {"piapi": {"keys": keys}, "backup": {"keys": ["backup-key-one"]}}
    users = [
        {"name": "alice", "team": "growth", "key": ALICE_KEY},
        {"name": "bob", "key": BOB_KEY, "models": ["gpt-4o-mini"]},
    ]
    base = merged(base_config(sandbox, folder), {"upstreams": upstreams, "keys": users, "models": ENDLESS})
    return {**base, **over}


def write(folder: Path, document: Mapping[str, Any] | str) -> Path:
    """``folder/config.yaml``, for its owner alone as it may hold keys; JSON is YAML."""
    path = folder / "config.yaml"
    path.touch(mode=0o600)
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Answer:
    """What a client was given; ``text`` is the body."""

    status: int
    headers: httpx2.Headers
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def error(self) -> dict[str, Any]:
        """The error, in the one shape that errors have."""
        error: dict[str, Any] = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error

    @property
    def events(self) -> list[str]:
        """The data of a stream's events; ``[DONE]`` is one."""
        return [line.removeprefix("data: ") for line in self.text.split("\n") if line.startswith("data: ")]


def new_client(key: str = ALICE_KEY, *, keep_alive: bool = False) -> httpx2.AsyncClient:
    """A client that opens as many connections as it needs.

    With ``keep_alive`` a request may meet a connection that the gateway is closing at this moment, as it does after
    an error in a stream; a test that does not mean to try that takes a fresh one each time.
    """
    return httpx2.AsyncClient(
        headers={"authorization": f"Bearer {key}"},
        timeout=PATIENCE,
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None if keep_alive else 0),
        trust_env=False,
    )


def chat(text: str = "Hello", *, model: str = "gpt-4o-mini", **fields: Any) -> dict[str, Any]:
    """A chat request's body."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


async def ask(
    client: httpx2.AsyncClient,
    gateway: Gateway,
    body: Mapping[str, Any],
    *,
    begun: Callable[[], None] = lambda: None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send a request and read its answer to the end. ``begun`` is told of every piece of the body."""
    async with client.stream("POST", gateway.url + CHAT, json=body, headers=headers) as answer:
        pieces = []
        async for piece in answer.aiter_bytes():
            pieces.append(piece)
            begun()
    return Answer(answer.status_code, answer.headers, b"".join(pieces).decode())


def rows(folder: Path, query: str) -> list[Any]:
    """What the ledger's file holds, beside a running gateway or after it; single columns come bare."""
    path = (folder / "gateway.db").resolve()
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=PATIENCE)) as connection:
        return [row[0] if len(row) == 1 else row for row in connection.execute(query)]


def files(folder: Path) -> list[str]:
    """The names of what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def store_bytes(folder: Path) -> str:
    """Every byte of the ledger's files."""
    return "".join(path.read_bytes().decode("latin-1") for path in folder.glob("gateway.db*"))
