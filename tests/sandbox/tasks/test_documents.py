"""Documents of tasks: every vocabulary and shape."""

from __future__ import annotations

import base64

import pytest

from gateway.sandbox import Sandbox
from tests.sandbox.task_client import SCHNELL, TASK, create, finished, poll, sides, size_of


async def test_every_odd_word_is_seen(sandbox: Sandbox) -> None:
    id = (await create(sandbox, scenario="task_odd"))["data"]["task_id"]
    words = [(await poll(sandbox, id))["data"]["status"] for _ in range(6)]

    assert words == ["staged", "warming up", "RETRY", " Processing", "processing\t", " COMPLETED "]


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
    running, done = [(await poll(sandbox, id))["data"] for _ in range(2)]
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
