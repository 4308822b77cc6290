"""SIGKILL while a task runs that is paid for: the next start knows that it may have been bought, and by which id."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import httpx2
import pytest

from gateway.sandbox import Sandbox

from .running import PATIENCE, Gateway, new_client, rows, settings, write

IMAGES = {"model": "flux-dev", "prompt": "a bear", "n": 2}
TASK = {"model": "Qubico/flux1-dev", "task_type": "txt2img", "input": {"prompt": "a bear"}}


async def test_images_that_were_being_made(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.set_default("task_never")
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        ordering = asyncio.gather(client.post(f"{gateway.url}/v1/images/generations", json=IMAGES))
        async with asyncio.timeout(PATIENCE):
            while rows(tmp_path, "SELECT count(*) FROM tasks") != [2]:
                await asyncio.sleep(0.01)
        gateway.signal(signal.SIGKILL)
        assert await gateway.wait() == -signal.SIGKILL
        with pytest.raises(httpx2.TransportError):
            await ordering
    await check_unknown(tmp_path, tasks=2)


async def test_a_clients_own_task_that_was_followed(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.set_default("task_never")
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        answer = await client.post(f"{gateway.url}/api/v1/task", json=TASK)
        gateway.signal(signal.SIGKILL)
        assert await gateway.wait() == -signal.SIGKILL
    assert await check_unknown(tmp_path, tasks=1) == [answer.json()["data"]["task_id"]]


async def check_unknown(folder: Path, *, tasks: int) -> list[str]:
    """After the next start the one exchange is in doubt, and its tasks can be read; their ids."""
    found = rows(folder, "SELECT task_id, exchange, key FROM tasks")
    assert len(found) == tasks
    ids = [id for id, _, _ in found]
    async with Gateway.serve(folder) as gateway, new_client() as client:
        (settled,) = rows(folder, "SELECT id, state, charged, upstream_cost, confidence, task_id FROM settlements")
        exchange, *amounts, task_id = settled
        assert amounts == ["unknown", 0, 0, "unknown"]
        assert {(exchange, "alice")} == {(made_by, key) for _, made_by, key in found}
        assert task_id in ids
        for id in ids:
            read = await client.get(f"{gateway.url}/api/v1/task/{id}")
            assert read.json()["data"]["task_id"] == id
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
    return ids
