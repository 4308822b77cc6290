"""Several whole gateways in this process on one PostgreSQL database, in front of one sandbox.

Each has its own pools, budgets and keys in force; what they share is what gateways on several machines do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from gateway.app.gateway import Gateway
from gateway.config import Config, load
from gateway.runtime.ports import Clock
from gateway.sandbox import Sandbox
from gateway.stores.engines import read_store
from gateway.telemetry.log import Log
from gateway.telemetry.redaction import Redactor
from tests.base_config import ALICE, base_config, merged
from tests.raw_client import Answer, RawClient
from tests.yaml_text import read_yaml, write_yaml

from .harness import chat_body, eventually

ENVIRONMENT = {"GATEWAY_KEY_PEPPER": "ab" * 32}

IMAGES = "/v1/images/generations"


@dataclass
class Member:
    """One gateway. ``log_file``: what it logs, as JSON lines."""

    gateway: Gateway
    config_file: Path
    log_file: Path
    log: Log

    async def post(
        self,
        body: bytes,
        key: str = ALICE,
        headers: Mapping[str, str] | None = None,
        target: str = "/v1/chat/completions",
    ) -> Answer:
        client = await RawClient.connect(self.gateway.main_url)
        try:
            await client.ask(body, key, {"connection": "close", **(headers or {})}, target=target)
            return await client.rest(await client.head())
        finally:
            await client.close()

    async def chat(self, key: str = ALICE, **fields: Any) -> Answer:
        return await self.post(chat_body(**fields), key)

    async def order(self, key: str = ALICE, model: str = "flux-dev", **fields: Any) -> Answer:
        """An order for pictures. One of flux-dev costs a cent and a half."""
        body = json.dumps({"model": model, "prompt": "a cat", **fields}).encode()
        return await self.post(body, key, target=IMAGES)

    def lines(self, event: str) -> list[dict[str, Any]]:
        found = map(json.loads, self.log_file.read_text("utf-8").splitlines())
        return [line for line in found if line["event"] == event]


@dataclass
class Fleet:
    """Gateways on one store. ``url``: the store's."""

    sandbox: Sandbox
    folder: Path
    url: str
    clock: Clock | None = None
    members: list[Member] = field(default_factory=list)

    async def add(self, overrides: str = "") -> Member:
        """Start another gateway. ``overrides``: YAML, merged over a configuration whose upstreams are the sandbox."""
        number = len(self.members)
        path, log_file = self.folder / f"config{number}.yaml", self.folder / f"gateway{number}.log"
        self.write(path, overrides)

        def read() -> Config:
            return load(path, ENVIRONMENT)

        config = read()
        with log_file.open("w", encoding="utf-8") as stream:
            log = Log(config.log.format, config.log.level, Redactor(config.secrets, config.upstream_hosts), stream)
        gateway = await Gateway.start(config, log, read, ask_for_models=False, clock=self.clock)
        member = Member(gateway, path, log_file, log)
        self.members.append(member)
        return member

    def write(self, path: Path, overrides: str) -> None:
        """Write a member's configuration."""
        own = {
            "store": self.url,
            "images": {"dir": str(self.folder / "images"), "fetch_hosts": ["127.0.0.1"], "fetch_private": True},
            "upstreams": {"piapi": {"tasks": {"poll": "10ms", "poll_max": "40ms"}}},
            "log": {"format": "json", "level": "debug"},
        }
        document = merged(merged(base_config(self.sandbox, self.folder), own), read_yaml(overrides) or {})
        path.write_text(write_yaml(document), encoding="utf-8")

    async def settled(self) -> None:
        """Return once no gateway has anything under way, or owes the ledger anything."""
        running = [member.gateway.services for member in self.members]
        await eventually(lambda: not any(one.gate or one.ledger.pending for one in running), "an end")

    async def rows(self, query: str, *arguments: Any) -> list[Any]:
        """What the database answers."""
        connection = await asyncpg.connect(self.url)
        try:
            return [tuple(row) for row in await connection.fetch(query, *arguments)]
        finally:
            await connection.close()

    async def used(self, holder: str, kind: str = "day") -> tuple[int, int, int]:
        """What all gateways used of the newest budget of a key or team, as JSON names it: charged, reserved, held."""
        [row] = await self.rows(
            "SELECT charged, reserved, held FROM budgets WHERE holder = $1 AND kind = $2 "
            "AND start_ns <= $3 ORDER BY start_ns DESC LIMIT 1",
            holder,
            kind,
            self.members[0].gateway.services.clock.wall_ns(),
        )
        found: tuple[int, int, int] = row
        return found

    async def close(self) -> None:
        for member in self.members:
            member.gateway.cut_off()
            await member.gateway.close()
            await asyncio.to_thread(member.log.close)
        books = await read_store(self.url).usage.verify()
        assert books.problems == []
        assert books.open == 0
        for member in self.members:
            text = member.log_file.read_text("utf-8")
            assert "internal_error" not in text
            assert not member.lines("task_failed")


@asynccontextmanager
async def fleet_of(
    number: int, sandbox: Sandbox, folder: Path, url: str, overrides: str = "", clock: Clock | None = None
) -> AsyncIterator[Fleet]:
    fleet = Fleet(sandbox, folder, url, clock)
    try:
        for _ in range(number):
            await fleet.add(overrides)
        yield fleet
        await fleet.settled()
    finally:
        await fleet.close()
