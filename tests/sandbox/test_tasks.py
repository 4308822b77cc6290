"""PiAPI's own routes: Flux tasks from pending to done, and the account page."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.sandbox import Sandbox

from .client import ask

TASK = {"model": "Qubico/flux1-dev", "task_type": "txt2img", "input": {"prompt": "a fox", "width": 256, "height": 128}}


async def create(sandbox: Sandbox, content: Any = None, scenario: str | None = None) -> Any:
    return (await ask(sandbox, content or TASK, scenario, path="/api/v1/task")).json


async def look(sandbox: Sandbox, id: str, key: str = "sk-test") -> Any:
    received = await ask(sandbox, method="GET", path=f"/api/v1/task/{id}", key=None, headers={"x-api-key": key})
    return received.json


@pytest.mark.parametrize(
    ("vocabulary", "statuses"),
    [
        ("docs", ["Pending", "Pending", "Processing", "Processing", "Completed"]),
        ("lower", ["pending", "pending", "processing", "processing", "completed"]),
        ("legacy", ["pending", "pending", "processing\t", "processing\t", "success"]),
    ],
)
async def test_a_task_goes_its_way(sandbox: Sandbox, vocabulary: str, statuses: list[str]) -> None:
    created = await create(sandbox, scenario=f"ok;polls=3;vocabulary={vocabulary}")
    id = created["data"]["task_id"]
    seen = [created["data"], *[(await look(sandbox, id))["data"] for _ in range(4)]]

    assert created["code"] == 200
    assert [data["status"] for data in seen] == statuses
    assert [data["output"] is None for data in seen] == [True, True, True, True, False]
    assert seen[0]["meta"]["started_at"] == "0001-01-01T00:00:00Z"
    assert seen[-1]["meta"]["usage"]["consume"] == 150_000
    assert sandbox.bill[0].amount == 15_000_000
    await look(sandbox, id)
    assert len(sandbox.bill) == 1, "billed once, however often it is asked for"

    link = seen[-1]["output"]["image_url"].removeprefix(sandbox.url)
    png = (await ask(sandbox, method="GET", path=link, key=None)).body
    assert png[16:24] == (256).to_bytes(4, "big") + (128).to_bytes(4, "big")


async def test_a_batch_has_several_pictures(sandbox: Sandbox) -> None:
    task = {**TASK, "model": "Qubico/flux1-schnell", "input": {"prompt": "x", "batch_size": 3}}
    id = (await create(sandbox, task, "ok;polls=0"))["data"]["task_id"]

    assert len(set((await look(sandbox, id))["data"]["output"]["image_urls"])) == 3
    assert sandbox.billed == 4_500_000


async def test_a_failed_task_costs_nothing(sandbox: Sandbox) -> None:
    id = (await create(sandbox, scenario="task_failed;polls=0"))["data"]["task_id"]
    data = (await look(sandbox, id))["data"]

    assert data["status"] == "Failed"
    assert data["error"]["code"] == 10000
    assert sandbox.bill == []


async def test_a_task_belongs_to_its_key(sandbox: Sandbox) -> None:
    id = (await create(sandbox))["data"]["task_id"]

    assert (await look(sandbox, id, key="sk-other"))["code"] == 404
    assert (await look(sandbox, "never-made"))["code"] == 404


@pytest.mark.parametrize(
    "content", [{**TASK, "model": "nope"}, {**TASK, "input": None}, {"model": TASK["model"], "input": {}}]
)
async def test_a_wrong_task_is_refused_under_http_200(sandbox: Sandbox, content: Any) -> None:
    received = await ask(sandbox, content, path="/api/v1/task")

    assert (received.status, received.json["code"], received.json["data"]) == (200, 400, None)


async def test_the_account_page(sandbox: Sandbox) -> None:
    async def account(key: str | None, role: str = "api") -> Any:
        return await ask(sandbox, method="GET", path="/account/info", key=key, role=role)

    rich, broke = (await account("sk-test")).json["data"], (await account("sk-sandbox-broke", "proxy")).json["data"]
    assert rich["max_concurrent_task_count"] == 5
    assert rich["equivalent_in_usd"] == pytest.approx(12.3456789)
    assert (broke["plan"], broke["equivalent_in_usd"]) == ("Creator", 0)
    assert (await account(None)).status == 401
    assert (await account("sk-sandbox-invalid")).status == 401
    assert (await account("sk-test", "backup")).status == 404


async def test_routes_that_are_not_there(sandbox: Sandbox) -> None:
    assert (await ask(sandbox, {}, path="/v1/nothing")).status == 404
    assert (await ask(sandbox, method="GET", path="/v1/nothing")).status == 404
    assert (await ask(sandbox, method="GET", path="/v1/models/nothing")).status == 404
    assert (await ask(sandbox, method="DELETE", path="/v1/models")).status == 405
    assert (await ask(sandbox, key=None)).status == 401
    assert (await ask(sandbox, b"{")).status == 400
    assert (await ask(sandbox, b"{", path="/api/v1/task")).status == 400
    assert (await ask(sandbox, b"{", path="/v1/images/generations")).status == 400
    assert (await ask(sandbox, {"prompt": "x"}, path="/v1/images/edits")).status == 400
