"""A whole gateway in front of the sandbox, over real sockets, and what a test may ask of it from outside.

    rig = await gateway("upstreams: {piapi: {timeouts: {head: 100ms}}}")
    answer = await rig.chat(stream=True)
    assert answer.payloads[-1] == b"[DONE]"
    [row] = await rig.rows(1)

Nothing is replaced but the upstreams (``gateway.sandbox``). When a test is over the rig looks at what no test may
leave behind: open or wrong books, figures that differ between books and metrics, secrets or prompts in the log, bad
HTTP towards an upstream, connections.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai

from gateway.app.gateway import Gateway
from gateway.config import Config, load
from gateway.sandbox import Sandbox
from gateway.sandbox.wire.answers import Role
from gateway.stores.sqlite.queries import verify
from gateway.telemetry.log import Log
from gateway.telemetry.redaction import Redactor
from tests.base_config import ALICE as ALICE
from tests.base_config import BACKUP_KEY as BACKUP_KEY
from tests.base_config import PIAPI_KEY as PIAPI_KEY
from tests.base_config import base_config
from tests.base_config import merged as merged
from tests.raw_client import PATH as PATH
from tests.raw_client import PATIENCE as PATIENCE
from tests.raw_client import Answer as Answer
from tests.raw_client import RawClient as RawClient
from tests.raw_client import error_of as error_of
from tests.raw_client import get as get
from tests.yaml_text import read_yaml, write_yaml

from .books import Figures as Figures
from .books import Row as Row
from .books import TaskRow as TaskRow
from .books import read_rows, read_tasks

ROLES: tuple[Role, ...] = ("api", "proxy", "backup")

FLUX_ONLY = "gw-carol-666777888999000111"
SECRETS = (ALICE, FLUX_ONLY, PIAPI_KEY, BACKUP_KEY)

PROMPT = "hello from a confidential prompt"
MESSAGES: list[Any] = [{"role": "user", "content": PROMPT}]

Waiting = Callable[[], bool] | Callable[[], Awaitable[bool]]


def chat_body(**fields: Any) -> bytes:
    """The JSON of a chat request."""
    return json.dumps({"model": "gpt-4o", "messages": MESSAGES, **fields}).encode()


def rig_config(sandbox: Sandbox, folder: Path) -> dict[str, Any]:
    """The base, a second user who may use Flux only, quick polling, images that may come from this machine."""
    over = {
        "upstreams": {"piapi": {"tasks": {"poll": "10ms", "poll_max": "40ms"}}},
        "keys": [
            {"name": "alice", "team": "growth", "key": ALICE},
            {"name": "carol", "key": FLUX_ONLY, "models": ["flux-*"]},
        ],
        "images": {"dir": str(folder / "images"), "fetch_hosts": ["127.0.0.1"], "fetch_private": True},
        "limits": {"event": "1MiB"},  # the sandbox's huge events need not be huge
        "log": {"format": "json", "level": "debug"},
    }
    document: dict[str, Any] = merged(base_config(sandbox, folder), over)
    return document


@dataclass
class Rig:
    """A running gateway, its sandbox, and its books.

    ``expected_crashes``: a test that breaks us on purpose says so.
    """

    sandbox: Sandbox
    gateway: Gateway
    folder: Path
    log: Log
    expected_crashes: bool = False
    restarted: bool = False
    _bodies: list[bytes] = field(default_factory=list)
    _sdks: list[openai.AsyncOpenAI] = field(default_factory=list)

    @classmethod
    async def start(cls, sandbox: Sandbox, folder: Path, overrides: str = "", *, ask_for_models: bool = False) -> Rig:
        """``overrides``: YAML, merged over ``rig_config``.

        ``ask_for_models``: ask the sandbox for its lists of models, over connections that few tests expect.
        """
        path = folder / "config.yaml"
        document = merged(rig_config(sandbox, folder), read_yaml(overrides) or {})
        path.write_text(write_yaml(document), encoding="utf-8")

        def read() -> Config:
            return load(path, {})

        config = read()
        stream = (folder / "gateway.log").open("w", encoding="utf-8")
        with stream:  # the log keeps a descriptor of its own
            log = Log(config.log.format, config.log.level, Redactor(config.secrets, config.upstream_hosts), stream)
        gateway = await Gateway.start(config, log, read, ask_for_models=ask_for_models)
        return cls(sandbox, gateway, folder, log)

    async def restart(self) -> None:
        """Stop the gateway in good order and start another on the same books; its metrics begin anew."""
        await eventually(lambda: self.gateway._store.ledger.pending == 0, "nothing owed to the ledger")
        config, services = self.gateway.config, self.gateway.services
        await self.gateway.close()
        self.restarted = True
        self.gateway = await Gateway.start(config, services.log, lambda: config, ask_for_models=False)

    # Asking

    @property
    def url(self) -> str:
        """The base URL as the SDKs want it."""
        return f"{self.gateway.main_url}/v1"

    async def connect(self) -> RawClient:
        return await RawClient.connect(self.gateway.main_url)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[RawClient]:
        client = await self.connect()
        try:
            yield client
        finally:
            self._bodies.append(client.received)
            await client.close()

    async def post(
        self,
        body: bytes,
        *,
        key: str | None = ALICE,
        headers: Mapping[str, str] | None = None,
        target: str = PATH,
    ) -> Answer:
        """One request with exactly this body, on a connection of its own, and everything that came back."""
        async with self.client() as client:
            await client.ask(body, key, headers, target=target)
            return await client.rest(await client.head())

    async def chat(self, *, key: str | None = ALICE, headers: Mapping[str, str] | None = None, **fields: Any) -> Answer:
        """A chat request; ``fields`` are added to model and messages."""
        return await self.post(chat_body(**fields), key=key, headers=headers)

    def openai(self, *, api_key: str = ALICE, **options: Any) -> openai.AsyncOpenAI:
        """The official SDK; it sends nothing again unless ``max_retries`` is given."""
        usual = {"base_url": self.url, "max_retries": 0, "timeout": 20}
        sdk = openai.AsyncOpenAI(api_key=api_key, **{**usual, **options})
        self._sdks.append(sdk)
        return sdk

    def for_all_roles(self, scenario: str) -> None:
        """Whatever host is asked from now on plays this."""
        for role in ROLES:
            self.sandbox.script(scenario, role=role, times=None)

    # Looking

    @property
    def _admin_key(self) -> str | None:
        return self.gateway.config.admin.key or None

    def tasks(self) -> list[TaskRow]:
        """The upstream tasks that the ledger knows of at this moment."""
        return read_tasks(self.folder / "gateway.db")

    async def figures(self) -> Figures:
        return Figures((await get(f"{self.gateway.admin_url}/metrics", self._admin_key)).decode())

    async def usage(self, by: str) -> list[dict[str, Any]]:
        """``GET /admin/v1/usage``."""
        rows: list[dict[str, Any]] = json.loads(
            await get(f"{self.gateway.admin_url}/admin/v1/usage?by={by}", self._admin_key)
        )["data"]
        return rows

    async def rows(self, count: int) -> list[Row]:
        """The books, once there are exactly ``count`` settled exchanges; more at once would be a failure, too."""
        found: list[Row] = []

        def read() -> bool:
            found[:] = read_rows(self.folder / "gateway.db")
            return len(found) >= count

        await eventually(read, f"{count} settled exchanges")
        assert len(found) == count
        return found

    async def at_least(self, count: int) -> list[Row]:
        """The books, once there are ``count`` settled exchanges, and nothing is in flight: the paying ones first."""
        found: list[Row] = []

        def read() -> bool:
            found[:] = sorted(read_rows(self.folder / "gateway.db"), key=lambda row: row.charged == 0)
            return len(found) >= count and not self.gateway.services.gate

        await eventually(read, f"{count} settled exchanges")
        return found

    async def row(self) -> Row:
        """The books, which hold exactly one exchange."""
        return (await self.rows(1))[0]

    async def log_lines(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """The log's lines of one event, once there are ``count``."""
        found: list[dict[str, Any]] = []

        def read() -> bool:
            found[:] = [line for line in self._read_log() if line["event"] == event]
            return len(found) >= count

        await eventually(read, f"{count} lines '{event}' in the log")
        return found

    def _read_log(self) -> list[dict[str, Any]]:
        lines = (self.folder / "gateway.log").read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    # Ending

    async def close(self) -> None:
        """Stop, then look at what no request may leave behind."""
        for sdk in self._sdks:
            await sdk.close()
        try:
            await eventually(lambda: len(self.gateway.services.gate) == 0, "no request in flight")
            await eventually(lambda: self.gateway._store.ledger.pending == 0, "nothing owed to the ledger")
            figures = await self.figures()
        finally:  # a gateway left open would keep its threads, and the loop from ending
            self.gateway.cut_off()
            await self.gateway.close()
            await asyncio.to_thread(self.log.close)
        await self.sandbox.until(lambda: self.sandbox.open_connections == 0)
        self._check_books(figures)
        self._check_log()
        assert self.sandbox.protocol_errors == []
        for body in self._bodies:
            assert not [secret for secret in SECRETS if secret.encode() in body]

    def _check_books(self, figures: Figures) -> None:
        books = verify(self.folder / "gateway.db")
        assert books.problems == []
        assert books.open == 0
        rows = read_rows(self.folder / "gateway.db")
        if not self.restarted:
            assert figures.nano("gateway_cost_usd_total") == sum(row.charged for row in rows)
            assert figures.nano("gateway_upstream_cost_usd_total") == sum(row.upstream_cost for row in rows)
        assert figures.total("gateway_requests_in_flight") == 0
        assert figures.total("gateway_ledger_rows_pending") == 0

    def _check_log(self) -> None:
        text = (self.folder / "gateway.log").read_text(encoding="utf-8")
        assert not [secret for secret in SECRETS if secret in text]
        assert PROMPT not in text
        if not self.expected_crashes:
            assert "internal_error" not in text
            assert not [line for line in self._read_log() if line["event"] == "task_failed"]


async def eventually(condition: Waiting, what: str, within: float = PATIENCE) -> None:
    """Wait until ``condition`` holds: for what follows an answer without being part of it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        holds = condition()
        if await holds if isinstance(holds, Awaitable) else holds:
            return
        assert loop.time() < deadline, f"waited in vain for: {what}"
        await asyncio.sleep(0.005)
