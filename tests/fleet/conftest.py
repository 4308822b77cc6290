"""Three gateways in processes of their own, on a real PostgreSQL and a real Valkey, and a client of any of them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.sandbox import Sandbox
from soak.clients import http_client
from soak.fleet import Fleet
from soak.orders import CHAT
from soak.process import base_config
from tests.engines import PostgresServer, ValkeyServer

ADMIN = "gw-admin-0123456789abcdef"
ANN = {"name": "ann", "key": "gw-fleet-ann-00112233"}


def bearer(key: Mapping[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {key['key']}"}


@dataclass
class Rig:
    """A fleet, what its upstreams are, and a client."""

    made: Fleet
    sandbox: Sandbox
    client: httpx2.AsyncClient
    chance: random.Random

    async def chat(
        self, key: Mapping[str, Any], words: str = "hello", *, at: str | None = None, **fields: Any
    ) -> httpx2.Response:
        """Ask the gateway ``at`` this URL, or any."""
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": words}], "max_tokens": 20, **fields}
        url = at or self.chance.choice(self.made.urls)
        return await self.client.post(f"{url}{CHAT}", json=body, headers=bearer(key))

    async def chats(self, key: Mapping[str, Any], count: int, **fields: Any) -> list[httpx2.Response]:
        """Ask so often at once."""
        return await asyncio.gather(*(self.chat(key, f"number {number}", **fields) for number in range(count)))

    async def is_answered(self, key: Mapping[str, Any], status: int, at: str | None = None) -> bool:
        """Whether a chat is answered with this status."""
        return (await self.chat(key, at=at)).status_code == status

    async def upstreams(self, number: int) -> Any:
        """What one of them knows of its upstreams."""
        url, headers = f"{self.made[number].admin}/admin/v1/upstreams", {"authorization": f"Bearer {ADMIN}"}
        return (await self.client.get(url, headers=headers)).json()["upstreams"]

    async def until(self, true: Callable[[], Any], within: float = 30.0) -> None:
        """Wait until a look finds what it looks for."""
        async with asyncio.timeout(within):
            while not await true():
                await asyncio.sleep(0.05)


Fleets = Callable[..., AbstractAsyncContextManager[Rig]]


@pytest.fixture
def fleets(tmp_path: Path, postgres_server: PostgresServer, _valkey_server: ValkeyServer, valkey_url: str) -> Fleets:
    """Starts fleets of three, on engines that are never stopped. ``keys``: the virtual keys; other settings by name."""

    @asynccontextmanager
    async def start(keys: Iterable[Mapping[str, Any]] = (ANN,), **over: Any) -> AsyncIterator[Rig]:
        async with Sandbox(roles=("api", "proxy", "backup"), history=1_000_000) as sandbox, http_client() as client:
            settings = {"admin": {"listen": "127.0.0.1:0", "key": ADMIN}, **over}
            document = {**base_config(tmp_path, sandbox, list(keys)), **settings}
            async with Fleet(tmp_path, 3, postgres_server, _valkey_server, document) as made:
                yield Rig(made, sandbox, client, random.Random(1))

    return start


def statuses(answers: Iterable[httpx2.Response]) -> Counter[str]:
    """How often each was answered how: ``200`` or ``429 insufficient_quota``."""
    return Counter(
        str(one.status_code) if one.status_code == 200 else f"{one.status_code} {one.json()['error']['code']}"
        for one in answers
    )
