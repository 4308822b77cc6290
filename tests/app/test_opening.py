"""What is answered while a store takes long to be opened, and what becomes of it when the start ends there."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.app import opening
from gateway.app import parts as composition
from gateway.app.gateway import Gateway
from gateway.config import load
from gateway.core.errors import StoreError
from gateway.server.listener import ListenError
from gateway.stores.engines import open_store
from gateway.stores.records import StoreInUse
from gateway.stores.sqlite.lock import StoreLock
from gateway.telemetry.log import Log
from gateway.telemetry.redaction import Redactor


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}


class Slow:
    """A store whose opening waits to be allowed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.allowed = asyncio.Event()
        self.refusal: Exception | None = None
        monkeypatch.setattr(composition, "open_store", self._open)
        monkeypatch.setattr(opening, "AT_ONCE", 0.0)

    async def _open(self, *arguments: Any) -> Any:
        await self.allowed.wait()
        if self.refusal is not None:
            raise self.refusal
        return await open_store(*arguments)


@pytest.fixture
async def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    return Slow(monkeypatch)


@asynccontextmanager
async def starting(folder: Path, port: int) -> AsyncIterator[asyncio.Task[Gateway]]:
    path = folder / "config.yaml"
    path.write_text(json.dumps({"listen": f"127.0.0.1:{port}", "admin": {"listen": "127.0.0.1:0"}}))
    config = load(path, {})
    log = Log("json", "info", Redactor(config.secrets, config.upstream_hosts), io.StringIO())
    task = asyncio.create_task(Gateway.start(config, log, lambda: config))  # noqa: TID251 - awaited below
    try:
        yield task
    finally:
        task.cancel()
        [ended] = await asyncio.gather(task, return_exceptions=True)
        if isinstance(ended, Gateway):
            await ended.close(0.0)
        log.close()


async def answer(client: httpx2.AsyncClient, url: str) -> httpx2.Response:
    """The first answer of what is about to listen."""
    while True:
        try:
            return await client.get(url)
        except httpx2.ConnectError:
            await asyncio.sleep(0.01)


async def let_go(path: Path) -> None:
    """Wait until nobody has the store; a thread that was opening it ends by itself."""
    async with asyncio.timeout(30):
        while True:
            try:
                StoreLock.take(path).release()
            except StoreInUse:
                await asyncio.sleep(0.01)
            else:
                return


async def test_health_is_answered_while_the_store_is_opened_and_the_rest_afterwards(tmp_path: Path, slow: Slow) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with starting(tmp_path, port) as start, httpx2.AsyncClient() as client:
        assert (await answer(client, f"{url}/healthz")).json() == {"status": "ok"}
        ready = await client.get(f"{url}/readyz")
        assert (ready.status_code, ready.json()["reasons"]) == (503, ["starting: the store is being opened"])
        for path in ("/v1/chat/completions", "/v1/models", "/", "/nowhere"):
            refused = await client.post(f"{url}{path}", json=CHAT)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "ledger_unavailable")
            assert refused.headers["x-should-retry"] == "true"
        slow.allowed.set()
        gateway = await start
        assert gateway.main_url == url
        assert (await client.get(f"{url}/readyz")).status_code == 200, "on the same connection"
        assert (await client.get(f"{url}/v1/models")).status_code == 200
        assert (await client.post(f"{url}/nowhere")).status_code == 404


async def test_a_store_that_is_refused_lets_go_of_the_port(tmp_path: Path, slow: Slow) -> None:
    port = free_port()
    async with starting(tmp_path, port) as start, httpx2.AsyncClient() as client:
        await answer(client, f"http://127.0.0.1:{port}/healthz")
        slow.refusal = StoreError("damaged")
        slow.allowed.set()
        with pytest.raises(StoreError, match="damaged"):
            await start
        with pytest.raises(httpx2.ConnectError):
            await client.get(f"http://127.0.0.1:{port}/healthz")


async def test_a_start_that_is_given_up_lets_go_of_port_and_store(tmp_path: Path, slow: Slow) -> None:
    port = free_port()
    async with starting(tmp_path, port), httpx2.AsyncClient() as client:
        await answer(client, f"http://127.0.0.1:{port}/healthz")
    async with httpx2.AsyncClient() as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get(f"http://127.0.0.1:{port}/healthz")
    await let_go(tmp_path / "gateway.db")


async def test_a_port_that_is_taken_ends_the_start_and_closes_the_store(tmp_path: Path, slow: Slow) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with starting(tmp_path, taken.getsockname()[1]) as start:
            slow.allowed.set()
            with pytest.raises(ListenError):
                await start
    await let_go(tmp_path / "gateway.db")
