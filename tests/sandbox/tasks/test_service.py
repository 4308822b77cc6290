"""Tasks from pending to done: their billing, their limits, and whose they are."""

from __future__ import annotations

import asyncio

import pytest

from gateway.sandbox import Sandbox
from tests.sandbox.client import ask
from tests.sandbox.task_client import SCHNELL, TASK, create, finished, poll, size_of


@pytest.mark.parametrize(
    ("vocabulary", "statuses"),
    [
        ("docs", ["Pending", "Pending", "Processing", "Processing", "Completed"]),
        ("lower", ["pending", "pending", "processing", "processing", "completed"]),
        ("legacy", ["pending", "pending", "processing\t", "processing\t", "success"]),
        ("odd", ["", "staged", "RETRY", " Processing", " COMPLETED "]),
    ],
)
async def test_a_task_goes_its_way(sandbox: Sandbox, vocabulary: str, statuses: list[str]) -> None:
    created = await create(sandbox, scenario=f"ok;polls=3;vocabulary={vocabulary}")
    id = created["data"]["task_id"]
    seen = [created["data"], *[(await poll(sandbox, id))["data"] for _ in range(4)]]

    assert created["code"] == 200
    assert [data["status"] for data in seen] == statuses
    assert [data["output"] is None for data in seen] == [True, True, True, True, False]
    assert seen[0]["meta"]["started_at"] == "0001-01-01T00:00:00Z"
    assert seen[-1]["meta"]["usage"]["consume"] == 150_000
    await poll(sandbox, id)
    assert [(line.number, line.images, line.amount) for line in sandbox.bill] == [(0, 1, 15_000_000)]
    assert await size_of(sandbox, seen[-1]["output"]["image_url"]) == (256, 128)


async def test_a_batch_has_several_images(sandbox: Sandbox) -> None:
    data = await finished(sandbox, SCHNELL)

    assert len(set(data["output"]["image_urls"])) == 3
    assert data["meta"]["usage"]["consume"] == 60_000
    assert [(line.images, line.amount) for line in sandbox.bill] == [(3, 6_000_000)]


@pytest.mark.parametrize(("scenario", "reason"), [("task_failed", "task failed"), ("task_nsfw", "NSFW content")])
async def test_a_failed_task_costs_nothing(sandbox: Sandbox, scenario: str, reason: str) -> None:
    data = await finished(sandbox, scenario=scenario)

    assert (data["status"], data["output"]) == ("Failed", None)
    assert data["error"]["code"] == 10000
    assert reason in data["error"]["message"]
    assert data["meta"]["usage"]["consume"] == 0
    assert sandbox.bill == []


async def test_a_task_that_fails_after_five_polls(sandbox: Sandbox) -> None:
    id = (await create(sandbox, scenario="task_failed;polls=5"))["data"]["task_id"]
    statuses = [(await poll(sandbox, id))["data"]["status"] for _ in range(6)]

    assert statuses == ["Pending", "Pending", "Processing", "Processing", "Processing", "Failed"]


async def test_a_task_that_is_never_done(sandbox: Sandbox) -> None:
    for scenario in ("task_never;polls=1", "task_never;ready=0.01"):
        id = (await create(sandbox, scenario=scenario))["data"]["task_id"]
        await asyncio.sleep(0.02)
        assert [(await poll(sandbox, id))["data"]["status"] for _ in range(3)][-1] == "Processing"

    assert sandbox.tasks.running("sk-test") == 2
    assert sandbox.bill == []


async def test_a_task_that_is_done_without_an_image(sandbox: Sandbox) -> None:
    data = await finished(sandbox, scenario="ok;task=empty")

    assert (data["status"], data["output"]["image_url"]) == ("Completed", "")
    assert [(line.images, line.amount) for line in sandbox.bill] == [(0, 15_000_000)]


async def test_a_creation_that_names_no_task(sandbox: Sandbox) -> None:
    created = await create(sandbox, scenario="task_nameless")

    assert (created["code"], created["data"]["task_id"]) == (200, "")
    assert [line.amount for line in sandbox.bill] == [15_000_000], "the work is done all the same"


@pytest.mark.parametrize("scenario", ["status;code=524", "reset_before_head", "cut", "cf_524"])
async def test_a_creation_whose_answer_is_lost(sandbox: Sandbox, scenario: str) -> None:
    await ask(sandbox, TASK, f"{scenario};bought=1", path="/api/v1/task")
    await sandbox.until_idle()

    assert [(line.number, line.images, line.amount) for line in sandbox.bill] == [(0, 1, 15_000_000)]
    assert sandbox.tasks.running("sk-test") == 0


async def test_a_lost_creation_that_would_have_failed_costs_nothing(sandbox: Sandbox) -> None:
    await ask(sandbox, TASK, "cf_524;bought=1;task=failed", path="/api/v1/task")
    await ask(sandbox, {**TASK, "model": "nope"}, "cf_524;bought=1", path="/api/v1/task")

    assert sandbox.bill == []


async def test_a_task_that_is_done_after_some_time(sandbox: Sandbox) -> None:
    id = (await create(sandbox, scenario="ok;ready=0.05;polls=0"))["data"]["task_id"]
    early = (await poll(sandbox, id))["data"]["status"]
    await sandbox.until(lambda: bool(sandbox.bill))

    assert early in ("Pending", "Processing")
    assert (await poll(sandbox, id))["data"]["status"] == "Completed"
    assert len(sandbox.bill) == 1


async def test_a_sandbox_closes_while_tasks_run() -> None:
    before = asyncio.all_tasks()
    async with Sandbox() as sandbox:
        await create(sandbox, scenario="ok;ready=0.01")
    await asyncio.sleep(0.02)

    assert sandbox.bill == []
    assert asyncio.all_tasks() == before


async def test_how_many_tasks_of_a_key_ran_at_once(sandbox: Sandbox) -> None:
    first = (await create(sandbox, scenario="ok;polls=0"))["data"]["task_id"]
    await create(sandbox, scenario="ok;polls=0")
    await create(sandbox, scenario="ok;polls=0", key="sk-other")
    await poll(sandbox, first)
    await create(sandbox, scenario="ok;polls=0")

    assert sandbox.tasks.most_at_once("sk-test") == 2
    assert sandbox.tasks.most_at_once("sk-other") == 1
    assert sandbox.tasks.most_at_once("sk-none") == 0
    assert sandbox.tasks.running("sk-test") == 2


async def test_one_task_too_many_is_refused_if_that_is_wanted(sandbox: Sandbox) -> None:
    sandbox.set_default("ok;enforce_concurrency=1;concurrency=2;polls=0")
    account = (await ask(sandbox, method="GET", path="/account/info")).json["data"]
    first = (await create(sandbox))["data"]["task_id"]
    await create(sandbox)
    refused = await ask(sandbox, TASK, path="/api/v1/task")
    await poll(sandbox, first)
    again = await ask(sandbox, TASK, path="/api/v1/task")

    assert account["max_concurrent_task_count"] == 2
    assert (refused.status, refused.json["message"]) == (429, "too many requests")
    assert again.status == 200


async def test_only_so_many_tasks_are_remembered(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.sandbox.tasks.service._KEPT", 1)
    first = (await create(sandbox, scenario="ok;ready=60"))["data"]["task_id"]
    second = (await create(sandbox, scenario="ok;polls=0"))["data"]["task_id"]

    assert (await poll(sandbox, first))["code"] == 404
    assert (await poll(sandbox, second))["code"] == 200


async def test_links_can_lead_elsewhere(sandbox: Sandbox) -> None:
    data = await finished(sandbox, scenario="ok;site=https://img.example.com")

    assert data["output"]["image_url"].startswith("https://img.example.com/files/gen-")


async def test_a_task_belongs_to_its_key(sandbox: Sandbox) -> None:
    id = (await create(sandbox))["data"]["task_id"]

    assert (await poll(sandbox, id, key="sk-other"))["code"] == 404
    assert (await poll(sandbox, "never-made"))["code"] == 404
