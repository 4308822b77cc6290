"""PiAPI's own routes: tasks from pending to done, in every vocabulary and shape, and the account page."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from gateway.sandbox import Sandbox
from tests.sandbox.client import ask

TASK = {"model": "Qubico/flux1-dev", "task_type": "txt2img", "input": {"prompt": "a fox", "width": 256, "height": 128}}
SCHNELL = {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": "x", "batch_size": 3}}


async def create(sandbox: Sandbox, content: Any = None, scenario: str | None = None, **options: Any) -> Any:
    return (await ask(sandbox, content or TASK, scenario, path="/api/v1/task", **options)).json


async def look(sandbox: Sandbox, id: str, key: str = "sk-test") -> Any:
    received = await ask(sandbox, method="GET", path=f"/api/v1/task/{id}", key=None, headers={"x-api-key": key})
    return received.json


async def finished(sandbox: Sandbox, content: Any = None, scenario: str = "ok") -> Any:
    """The ``data`` of a task that is done when it is first asked for."""
    created = await create(sandbox, content, f"{scenario};polls=0")
    return (await look(sandbox, created["data"]["task_id"]))["data"]


async def size_of(sandbox: Sandbox, link: str) -> tuple[int, int]:
    """Width and height of the image behind a link of the sandbox."""
    assert link.startswith(f"{sandbox.url}/files/")
    png = (await ask(sandbox, method="GET", path=link.removeprefix(sandbox.url), key=None)).body
    return sides(png)


def sides(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


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
    seen = [created["data"], *[(await look(sandbox, id))["data"] for _ in range(4)]]

    assert created["code"] == 200
    assert [data["status"] for data in seen] == statuses
    assert [data["output"] is None for data in seen] == [True, True, True, True, False]
    assert seen[0]["meta"]["started_at"] == "0001-01-01T00:00:00Z"
    assert seen[-1]["meta"]["usage"]["consume"] == 150_000
    await look(sandbox, id)
    assert [(line.number, line.images, line.amount) for line in sandbox.bill] == [(0, 1, 15_000_000)]
    assert await size_of(sandbox, seen[-1]["output"]["image_url"]) == (256, 128)


async def test_every_odd_word_is_seen(sandbox: Sandbox) -> None:
    id = (await create(sandbox, scenario="task_odd"))["data"]["task_id"]
    words = [(await look(sandbox, id))["data"]["status"] for _ in range(6)]

    assert words == ["staged", "warming up", "RETRY", " Processing", "processing\t", " COMPLETED "]


async def test_a_batch_has_several_images(sandbox: Sandbox) -> None:
    data = await finished(sandbox, SCHNELL)

    assert len(set(data["output"]["image_urls"])) == 3
    assert data["meta"]["usage"]["consume"] == 60_000
    assert [(line.images, line.amount) for line in sandbox.bill] == [(3, 6_000_000)]


async def test_the_shapes_of_an_output(sandbox: Sandbox) -> None:
    outputs = {shape: (await finished(sandbox, SCHNELL, f"ok;shape={shape}")) for shape in ("url", "urls", "images")}
    links = outputs["url"]["output"]["image_urls"]

    assert outputs["url"]["output"] == {"image_url": links[0], "image_urls": links, "image_base64": ""}
    assert outputs["urls"]["output"] == {"image_urls": links}
    assert outputs["images"]["output"] == {"images": [{"url": link} for link in links]}
    encoded = (await finished(sandbox, TASK, "ok;shape=base64"))["output"]
    assert encoded["image_url"] == ""
    assert sides(base64.b64decode(encoded["image_base64"])) == (256, 128)


async def test_the_legacy_shape(sandbox: Sandbox) -> None:
    id = (await create(sandbox, scenario="ok;shape=legacy;vocabulary=legacy;polls=1"))["data"]["task_id"]
    running, done = [(await look(sandbox, id))["data"] for _ in range(2)]
    failed = await finished(sandbox, scenario="task_failed;shape=legacy")

    assert (running["status"], running["task_result"]["used_credits"]) == ("processing\t", 0)
    assert running["task_result"]["task_output"] == {"image_url": "", "image_base64": ""}
    assert (done["status"], done["task_result"]["used_credits"]) == ("success", 150_000)
    assert await size_of(sandbox, done["task_result"]["task_output"]["image_url"]) == (256, 128)
    assert done["task_info"]["task_input"] == TASK["input"]
    assert failed["task_result"]["error_messages"] == ["task failed"]


async def test_an_envelope_without_a_code(sandbox: Sandbox) -> None:
    created = await create(sandbox, scenario="ok;shape=data")

    assert sorted(created) == ["data", "timestamp"]
    assert created["data"]["status"] == "Pending"


@pytest.mark.parametrize(
    ("consume", "told", "amount"), [(-1, 150_000, 15_000_000), (0, None, 15_000_000), (70_000, 70_000, 7_000_000)]
)
async def test_what_a_task_says_it_took(sandbox: Sandbox, consume: int, told: int | None, amount: int) -> None:
    data = await finished(sandbox, scenario=f"ok;consume={consume}")
    legacy = await finished(sandbox, scenario=f"ok;consume={consume};shape=legacy")

    assert (data["meta"].get("usage") or {}).get("consume") == told
    assert legacy["task_result"].get("used_credits") == told
    assert [line.amount for line in sandbox.bill] == [amount, amount]


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
    statuses = [(await look(sandbox, id))["data"]["status"] for _ in range(6)]

    assert statuses == ["Pending", "Pending", "Processing", "Processing", "Processing", "Failed"]


async def test_a_task_that_is_never_done(sandbox: Sandbox) -> None:
    for scenario in ("task_never;polls=1", "task_never;ready=0.01"):
        id = (await create(sandbox, scenario=scenario))["data"]["task_id"]
        await asyncio.sleep(0.02)
        assert [(await look(sandbox, id))["data"]["status"] for _ in range(3)][-1] == "Processing"

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
    early = (await look(sandbox, id))["data"]["status"]
    await sandbox.until(lambda: bool(sandbox.bill))

    assert early in ("Pending", "Processing")
    assert (await look(sandbox, id))["data"]["status"] == "Completed"
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
    await look(sandbox, first)
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
    await look(sandbox, first)
    again = await ask(sandbox, TASK, path="/api/v1/task")

    assert account["max_concurrent_task_count"] == 2
    assert (refused.status, refused.json["message"]) == (429, "too many requests")
    assert again.status == 200


async def test_only_so_many_tasks_are_remembered(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.sandbox.tasks.service._KEPT", 1)
    first = (await create(sandbox, scenario="ok;ready=60"))["data"]["task_id"]
    second = (await create(sandbox, scenario="ok;polls=0"))["data"]["task_id"]

    assert (await look(sandbox, first))["code"] == 404
    assert (await look(sandbox, second))["code"] == 200


async def test_links_can_lead_elsewhere(sandbox: Sandbox) -> None:
    data = await finished(sandbox, scenario="ok;site=https://img.example.com")

    assert data["output"]["image_url"].startswith("https://img.example.com/files/gen-")


async def test_a_task_belongs_to_its_key(sandbox: Sandbox) -> None:
    id = (await create(sandbox))["data"]["task_id"]

    assert (await look(sandbox, id, key="sk-other"))["code"] == 404
    assert (await look(sandbox, "never-made"))["code"] == 404


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


async def test_what_is_bought_is_drawn_from_the_account_of_its_key(sandbox: Sandbox) -> None:
    async def account(key: str) -> Any:
        return (await ask(sandbox, method="GET", path="/account/info", key=key)).json["data"]

    before = await account("sk-test")
    await finished(sandbox)
    await ask(sandbox, {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]})
    await ask(sandbox, {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}, role="backup")
    after, other = await account("sk-test"), await account("sk-other")

    task, chat, _ = (line.amount for line in sandbox.bill)
    points = -(-(task + chat) // 100)
    assert before["credit_pack_info"]["available_credits"] - after["credit_pack_info"]["available_credits"] == points
    assert round((before["equivalent_in_usd"] - after["equivalent_in_usd"]) * 10_000_000) == points
    assert other["wallet"] == before["wallet"]
    assert other["id"] != before["id"]


async def test_routes_that_are_not_there(sandbox: Sandbox) -> None:
    assert (await ask(sandbox, {}, path="/v1/nothing")).status == 404
    assert (await ask(sandbox, method="GET", path="/v1/nothing")).status == 404
    assert (await ask(sandbox, method="GET", path="/v1/models/nothing")).status == 404
    assert (await ask(sandbox, method="DELETE", path="/v1/models")).status == 405
    assert (await ask(sandbox, key=None)).status == 401
    assert (await ask(sandbox, b"{")).status == 400
    assert (await ask(sandbox, b"{", path="/api/v1/task")).status == 400
