"""Several gateways on one PostgreSQL, in front of one sandbox, in one process.

    async with fleet(sandbox, tmp_path, postgres_url) as (a, b, c):
        first = await a.send(order)
        again = await b.send(order, AGAIN)

They share their store and a folder of images, and tell one another nothing unless ``shared_state`` says so: what is
known of the others is what a look at the store finds.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import asyncpg

from gateway.app.gateway import Gateway
from gateway.config import Config, load
from gateway.sandbox import Sandbox
from gateway.stores.postgres import pool
from gateway.telemetry.log import Log
from gateway.telemetry.redaction import Redactor
from tests.yaml_text import read_yaml, write_yaml

from .harness import ALICE, PATIENCE, Answer, RawClient, eventually, merged, rig_config

GENERATIONS = "/v1/images/generations"
RESPONSES = "/v1/responses"
AGAIN = {"x-stainless-retry-count": "1"}


class Member:
    """One gateway. ``gateway``: None once it is gone."""

    def __init__(self, gateway: Gateway, log: Log) -> None:
        self.gateway = gateway
        self.log = log
        self.gone = False
        self.writers: set[asyncio.Task[Any]] = set()
        """What its ledger writes by."""

    @property
    def id(self) -> str:
        return self.gateway.services.gateway_id

    async def send(
        self,
        body: dict[str, Any],
        headers: dict[str, str] | None = None,
        path: str = GENERATIONS,
        key: str = ALICE,
    ) -> Answer:
        client = await RawClient.connect(self.gateway.main_url)
        try:
            await client.ask(json.dumps(body).encode(), key, headers, target=path)
            return await client.broken_or_whole(await client.head())
        finally:
            await client.close()

    async def ask(self, method: str, path: str, key: str = ALICE) -> Answer:
        client = await RawClient.connect(self.gateway.main_url)
        try:
            return await client.request(method, path, b"", f"authorization: Bearer {key}")
        finally:
            await client.close()

    async def close(self) -> None:
        """End in good order."""
        if not self.gone:
            self.gone = True
            self.gateway.drain()
            self.gateway.cut_off()
            await self.gateway.drained(5.0)
            await self.gateway.close()
            await asyncio.to_thread(self.log.close)

    async def die(self) -> None:
        """As a killed process: nothing more is written, nothing is given back. The sockets are closed."""
        self.gone = True
        services = self.gateway.services
        self.gateway._waiting.jobs.keeping.insists = False
        for writer in self.writers:  # as long as they can hear of it
            writer.cancel()
        await asyncio.wait(self.writers, timeout=2.0)
        for server in self.gateway._servers:
            await server.close(0.0)
        self.gateway._store._pool._pool.terminate()  # type: ignore[attr-defined]
        await services.tasks.cancel_all()
        await services.pool.close()
        await asyncio.to_thread(self.log.close)


async def start(sandbox: Sandbox, folder: Path, url: str, overrides: str = "", name: str = "one") -> Member:
    """One more gateway on the store. ``overrides``: YAML."""
    over = {"store": url, "images": {"dir": str(folder / "images")}}
    document = merged(merged(rig_config(sandbox, folder), over), read_yaml(overrides) or {})
    path = folder / f"{name}.yaml"
    path.write_text(write_yaml(document), encoding="utf-8")

    def read() -> Config:
        return load(path, {})

    config = read()
    with (folder / f"{name}.log").open("w", encoding="utf-8") as stream:
        log = Log(config.log.format, config.log.level, Redactor(config.secrets, config.upstream_hosts), stream)
    before = asyncio.all_tasks()
    with patch.object(pool, "CONNECT_WITHIN", PATIENCE):  # a server that many tests share may be slow to let one in
        member = Member(await Gateway.start(config, log, read, ask_for_models=False), log)
    begun = asyncio.all_tasks() - before
    member.writers = {task for task in begun if task.get_name() in ("intents", "settlements")}
    return member


@asynccontextmanager
async def fleet(
    sandbox: Sandbox, folder: Path, url: str, overrides: str = "", size: int = 3
) -> AsyncIterator[list[Member]]:
    """So many of them; they end in good order."""
    async with AsyncExitStack() as stack:
        members = []
        for number in range(size):
            member = await start(sandbox, folder, url, overrides, f"gateway-{number}")
            stack.push_async_callback(member.close)
            members.append(member)
        yield members


async def rows(url: str, query: str, *values: object) -> list[Any]:
    """What the database holds; single columns come bare."""
    connection = await asyncpg.connect(url)
    try:
        return [row[0] if len(row) == 1 else tuple(row) for row in await connection.fetch(query, *values)]
    finally:
        await connection.close()


async def run(url: str, statement: str) -> None:
    """Change something behind the gateways' backs."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def until(url: str, query: str, wanted: object, what: str = "") -> None:
    """Wait for a row of one column."""

    async def there() -> bool:
        return await rows(url, query) == [wanted]

    await eventually(there, what or query)


async def check_paid_once(url: str, sandbox: Sandbox, *, lines: int = 1) -> None:
    """So many lines of the bill, each with its row that is charged; all other rows name one of these, at 0."""

    async def settled() -> bool:
        return await rows(url, "SELECT count(*) FROM open_intents") == [0]

    await eventually(settled, "all rows are settled")
    assert len(sandbox.bill) == lines
    found = await rows(
        url,
        "SELECT i.id, i.paid_by, coalesce(c.charged, s.charged) FROM intents AS i "
        "JOIN settlements AS s ON s.id = i.id AND s.intent_ns = i.at_ns "
        "LEFT JOIN corrections AS c ON c.id = i.id",
    )
    paying = {id: charged for id, paid_by, charged in found if paid_by is None}
    assert sorted(filter(None, paying.values())) == sorted(line.amount for line in sandbox.bill)
    assert [(paid_by in paying, charged) for _, paid_by, charged in found if paid_by is not None] == [(True, 0)] * (
        len(found) - len(paying)
    )
