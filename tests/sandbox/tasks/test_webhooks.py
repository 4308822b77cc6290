"""Webhooks of tasks: sent once when the task is done, and never to another machine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.sandbox import Sandbox
from tests.sandbox.client import ask


def task(endpoint: str, secret: str = "shh") -> dict[str, Any]:
    webhook = {"endpoint": endpoint, "secret": secret}
    return {
        "model": "Qubico/flux1-dev",
        "task_type": "txt2img",
        "input": {"prompt": "a fox"},
        "config": {"webhook_config": webhook},
    }


@pytest.mark.parametrize("scenario", ["ok;ready=0.01", "task_failed;ready=0.01"])
async def test_a_task_that_is_done_says_so(sandbox: Sandbox, scenario: str) -> None:
    async with Sandbox() as receiver:
        created = await ask(sandbox, task(f"{receiver.url}/hook?x=1"), scenario, path="/api/v1/task")
        id = created.json["data"]["task_id"]
        await sandbox.until(lambda: bool(sandbox.webhooks))

        (request,) = receiver.requests
        assert (request.method, request.request.target) == ("POST", "/hook?x=1")
        assert request.get(b"x-webhook-secret") == b"shh"
        assert request.get(b"x-sandbox") == b"1"
        assert sorted(request.json) == ["data", "timestamp"]
        assert request.json["data"]["task_id"] == id
        assert request.json["data"]["status"] in ("Completed", "Failed")
        assert receiver.protocol_errors == []
        assert [(call.task_id, call.status) for call in sandbox.webhooks] == [(id, 401)]


async def test_one_that_is_done_when_asked_for_says_so_too(sandbox: Sandbox) -> None:
    async with Sandbox() as receiver:
        created = await ask(sandbox, task(f"{receiver.url}/hook", ""), "ok;polls=0", path="/api/v1/task")
        for _ in range(2):
            await ask(sandbox, method="GET", path=f"/api/v1/task/{created.json['data']['task_id']}")
        await sandbox.until(lambda: bool(sandbox.webhooks))

        assert [request.get(b"x-webhook-secret") for request in receiver.requests] == [None]


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://127.0.0.1/hook",
        "http://192.0.2.1/hook",
        "http://example.com/hook",
        "http://127.0.0.1:0/hook",
        "http://127.0.0.1:99999/hook",
        "http://127.0.0.1/h ook",
        "http:///hook",
        "hook",
        "http://[::1",
    ],
)
async def test_it_calls_no_other_machine(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    async def never(*_: object) -> int:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("gateway.sandbox.tasks.webhooks._post", never)
    await ask(sandbox, task(endpoint), "ok;bought=1", path="/api/v1/task")
    await sandbox.until(lambda: bool(sandbox.webhooks))

    assert [call.status for call in sandbox.webhooks] == [None]


async def test_a_receiver_that_fails_changes_nothing(sandbox: Sandbox) -> None:
    async with Sandbox(scenario="garbage") as receiver:
        for endpoint in (f"{receiver.url}/hook", f"{receiver.url}"):
            await ask(sandbox, task(endpoint, "a\r\nb: c"), "ok;bought=1", path="/api/v1/task")
        await sandbox.until(lambda: len(sandbox.webhooks) == 2)
        assert [request.path for request in receiver.requests] == ["/hook", "/"]
        assert receiver.requests[0].get(b"b") is None
    await ask(sandbox, task(f"{receiver.url}/hook"), "ok;bought=1", path="/api/v1/task")
    await sandbox.until(lambda: len(sandbox.webhooks) == 3)

    assert [call.status for call in sandbox.webhooks] == [None, None, None]
    assert len(sandbox.bill) == 3


async def test_a_task_without_a_webhook_makes_no_call(sandbox: Sandbox) -> None:
    configs: list[Any] = [{}, {"webhook_config": {}}, {"webhook_config": "none"}, {"webhook_config": {"endpoint": 5}}]
    for config in configs:
        body = {**task(""), "config": config}
        assert (await ask(sandbox, body, "ok;bought=1", path="/api/v1/task")).status == 200

    assert len(sandbox.bill) == 4
    assert sandbox.webhooks == []


async def test_closing_gives_up_what_is_under_way() -> None:
    before = asyncio.all_tasks()
    async with Sandbox(scenario="stall_head") as receiver:
        async with Sandbox() as sandbox:
            await ask(sandbox, task(f"{receiver.url}/hook"), "ok;bought=1", path="/api/v1/task")
            await receiver.until(lambda: receiver.in_flight == 1)
        assert sandbox.webhooks == []
        await receiver.until_idle()

    assert asyncio.all_tasks() == before
