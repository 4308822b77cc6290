"""A client of the task API, and two orders."""

from __future__ import annotations

from typing import Any

from gateway.sandbox import Sandbox
from tests.sandbox.client import ask

TASK = {"model": "Qubico/flux1-dev", "task_type": "txt2img", "input": {"prompt": "a fox", "width": 256, "height": 128}}
SCHNELL = {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": "x", "batch_size": 3}}


async def create(sandbox: Sandbox, content: Any = None, scenario: str | None = None, **options: Any) -> Any:
    return (await ask(sandbox, content or TASK, scenario, path="/api/v1/task", **options)).json


async def poll(sandbox: Sandbox, id: str, key: str = "sk-test") -> Any:
    received = await ask(sandbox, method="GET", path=f"/api/v1/task/{id}", key=None, headers={"x-api-key": key})
    return received.json


async def finished(sandbox: Sandbox, content: Any = None, scenario: str = "ok") -> Any:
    """The ``data`` of a task that is done at its first poll."""
    created = await create(sandbox, content, f"{scenario};polls=0")
    return (await poll(sandbox, created["data"]["task_id"]))["data"]


async def size_of(sandbox: Sandbox, link: str) -> tuple[int, int]:
    """Width and height of the image behind a link of the sandbox."""
    assert link.startswith(f"{sandbox.url}/files/")
    png = (await ask(sandbox, method="GET", path=link.removeprefix(sandbox.url), key=None)).body
    return sides(png)


def sides(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
