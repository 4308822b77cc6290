"""SIGKILL and SIGTERM while something paid for is under way: after the restart it is bought no second time, and what
the upstream still has is not lost. The sandbox's bill judges.
"""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from gateway.sandbox import Sandbox
from tests.base_config import ALICE

from .running import PATIENCE, Gateway, command, new_client, rows, settings, write

GENERATIONS = "/v1/images/generations"
FLUX: dict[str, Any] = {"model": "flux-dev", "prompt": "a bear"}
RELAYED: dict[str, Any] = {"model": "gpt-4o-image", "prompt": "a bear"}
TASK: dict[str, Any] = {"model": "Qubico/flux1-dev", "task_type": "txt2img", "input": {"prompt": "a bear"}}
AGAIN = {"x-stainless-retry-count": "1"}
DEV, IMAGE = 15_000_000, 20_000_000


async def until(folder: Path, query: str, wanted: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while rows(folder, query) != [wanted]:
            await asyncio.sleep(0.01)


async def cut_off(
    folder: Path, sandbox: Sandbox, order: dict[str, Any], how: signal.Signals, path: str = GENERATIONS, tasks: int = 1
) -> httpx2.Response | None:
    """Order, wait until that is under way upstream, and end the gateway. Returns the answer, if there was one."""
    async with Gateway.serve(folder) as gateway, new_client() as client:
        asking = asyncio.gather(client.post(gateway.url + path, json=order), return_exceptions=True)
        await sandbox.until(lambda: bool(sandbox.requests))
        if tasks:
            await until(folder, "SELECT count(*) FROM tasks", tasks)
        await until(folder, "SELECT count(*) FROM jobs WHERE state = 'running'", 1)
        gateway.signal(how)
        assert await gateway.wait() == (-how if how is signal.SIGKILL else 0)
        [answer] = await asking
        return answer if isinstance(answer, httpx2.Response) else None


def resuming(sandbox: Sandbox, folder: Path, **over: Any) -> None:
    config = settings(sandbox, folder, **over)
    config["upstreams"]["piapi"]["tasks"] = {"poll": "50ms", "poll_max": "100ms"}
    config["images"] = {"fetch_hosts": ["127.0.0.1"], "fetch_private": True}
    write(folder, config)


async def check_books(folder: Path) -> None:
    verified = await command(folder, "ledger", "verify")
    assert verified.code == 0, verified.out + verified.err


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_task_is_followed_and_its_re_send_joins(how: signal.Signals, tmp_path: Path, sandbox: Sandbox) -> None:
    resuming(sandbox, tmp_path, drain="100ms")
    sandbox.set_default("slow;polls=30")
    cut = await cut_off(tmp_path, sandbox, FLUX, how)
    if how is signal.SIGTERM:
        assert cut is not None
        assert (cut.status_code, cut.headers["x-should-retry"]) == (503, "true")
    sandbox.set_default("ok")
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        answers = [await client.post(gateway.url + GENERATIONS, json=FLUX, headers=AGAIN) for _ in range(2)]
        for answer in answers:
            assert answer.status_code == 200, answer.text
            assert answer.headers["x-gateway-note"] == "joined"
            assert answer.headers["x-gateway-upstream"] == "piapi"
        assert answers[0].content == answers[1].content
        document = answers[0].json()
        assert len(document["data"]) == 1
        assert document["usage"]["cost"] == 0.015
        await check_books(tmp_path)
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
    assert [line.amount for line in sandbox.bill] == [DEV]
    charged = rows(
        tmp_path, "SELECT coalesce(c.charged, s.charged) FROM settlements s LEFT JOIN corrections c USING (id)"
    )
    assert sorted(charged) == [0, 0, DEV]


async def test_a_form_in_legs_streamed_and_by_base64(tmp_path: Path, sandbox: Sandbox) -> None:
    resuming(sandbox, tmp_path)
    sandbox.set_default("slow;polls=30")
    order = {**FLUX, "n": 3, "response_format": "b64_json"}
    await cut_off(tmp_path, sandbox, order, signal.SIGKILL, tasks=3)
    sandbox.set_default("ok")
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        answer = await client.post(gateway.url + GENERATIONS, json=order, headers=AGAIN)
        assert len([image for image in answer.json()["data"] if image["b64_json"]]) == 3
    assert [line.amount for line in sandbox.bill] == [DEV] * 3


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_that_orders_a_task(stream: bool, tmp_path: Path, sandbox: Sandbox) -> None:
    resuming(sandbox, tmp_path)
    sandbox.set_default("slow;polls=30")
    order = {"model": "flux-dev", "messages": [{"role": "user", "content": "a bear"}], "stream": stream}
    await cut_off(tmp_path, sandbox, order, signal.SIGKILL, path="/v1/chat/completions")
    sandbox.set_default("ok")
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        answer = await client.post(f"{gateway.url}/v1/chat/completions", json=order, headers=AGAIN)
        assert answer.headers["x-gateway-note"].endswith("joined")
        assert "![" in answer.text
        assert answer.text.rstrip().endswith("data: [DONE]") is stream
    assert [line.amount for line in sandbox.bill] == [DEV]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "order", "last"),
    [
        ("/v1/responses", {"input": "a bear"}, "response.completed"),
        ("/v1/messages", {"max_tokens": 99, "messages": [{"role": "user", "content": "a bear"}]}, "message_stop"),
    ],
    ids=["responses", "messages"],
)
async def test_a_task_that_another_api_ordered_is_told_in_its_words(
    path: str, order: dict[str, Any], last: str, stream: bool, tmp_path: Path, sandbox: Sandbox
) -> None:
    resuming(sandbox, tmp_path)
    sandbox.set_default("slow;polls=30")
    order = {"model": "flux-dev", "stream": stream, **order}
    await cut_off(tmp_path, sandbox, order, signal.SIGKILL, path=path)
    sandbox.set_default("ok")
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        resumed = await client.post(gateway.url + path, json=order, headers=AGAIN)
        assert resumed.headers["x-gateway-note"] == "joined"
        assert len(sandbox.bill) == 1
        usual = await client.post(gateway.url + path, json=order)
        if stream:
            names = [[line for line in one.text.splitlines() if line.startswith("event: ")] for one in (resumed, usual)]
            assert names[0] == names[1]
            assert names[0][-1] == f"event: {last}"
            assert resumed.text.count("![") == usual.text.count("![") > 0
        else:
            assert resumed.json().keys() == usual.json().keys()
            assert resumed.json()["usage"] == usual.json()["usage"]
            assert "![" in resumed.text
        await check_books(tmp_path)


async def test_of_two_equal_orders_each_re_send_gets_its_own_over_a_kill(tmp_path: Path, sandbox: Sandbox) -> None:
    resuming(sandbox, tmp_path)
    sandbox.set_default("slow;polls=8")
    async with Gateway.serve(tmp_path) as gateway:
        for number in (1, 2):
            async with new_client() as client:
                asking = asyncio.gather(client.post(gateway.url + GENERATIONS, json=FLUX), return_exceptions=True)
                await until(tmp_path, "SELECT count(*) FROM tasks", number)
                asking.cancel()
            await until(tmp_path, 'SELECT count(*) FROM jobs WHERE "left" = 1', number)
        async with new_client() as client:
            first = await client.post(gateway.url + GENERATIONS, json=FLUX, headers=AGAIN)
        taken = first.headers["x-gateway-job"]
        await until(tmp_path, f"SELECT count(*) FROM jobs WHERE id = '{taken}' AND \"left\" = 0", 1)
        gateway.signal(signal.SIGKILL)
        await gateway.wait()
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        second = await client.post(gateway.url + GENERATIONS, json=FLUX, headers=AGAIN)
    assert {first.status_code, second.status_code} == {200}
    assert first.headers["x-gateway-job"] != second.headers["x-gateway-job"]
    assert len(sandbox.bill) == 2


@pytest.mark.parametrize(
    ("order", "path"),
    [
        (RELAYED, GENERATIONS),
        ({"model": "gpt-4o-image", "messages": [{"role": "user", "content": "a bear"}]}, "/v1/chat/completions"),
    ],
    ids=["pictures", "chat"],
)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_relay_is_unknown_to_the_first_who_asks_again(
    how: signal.Signals, order: dict[str, Any], path: str, tmp_path: Path, sandbox: Sandbox
) -> None:
    resuming(sandbox, tmp_path, drain="100ms")
    sandbox.set_default("stall_head;seconds=60")
    cut = await cut_off(tmp_path, sandbox, order, how, path=path, tasks=0)
    assert cut is None or (cut.status_code, cut.headers["x-should-retry"]) == (503, "false")
    sandbox.set_default("ok")
    asked = len(sandbox.requests)
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        first = await client.post(gateway.url + path, json=order, headers=AGAIN)
        assert (first.status_code, first.headers["x-should-retry"]) == (504, "false")
        assert first.json()["error"]["code"] == "upstream_outcome_unknown"
        assert first.headers["x-gateway-job"].startswith("job_")
        assert len(sandbox.requests) == asked
        second = await client.post(gateway.url + path, json=order, headers=AGAIN)
        assert second.status_code == 200
        await check_books(tmp_path)
    assert rows(tmp_path, "SELECT count(*) FROM intents WHERE paid_by IS NOT NULL") == [1]


async def test_a_task_of_the_clients_own_is_given_by_the_same_id(tmp_path: Path, sandbox: Sandbox) -> None:
    resuming(sandbox, tmp_path)
    sandbox.set_default("slow;polls=30")
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        first = await client.post(f"{gateway.url}/api/v1/task", json=TASK)
        gateway.signal(signal.SIGKILL)
        await gateway.wait()
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        again = await client.post(f"{gateway.url}/api/v1/task", json=TASK, headers=AGAIN)
        assert again.json()["data"]["task_id"] == first.json()["data"]["task_id"]
        assert again.headers["x-gateway-note"] == "joined"
    assert rows(tmp_path, "SELECT count(*) FROM tasks") == [1]


async def test_the_official_sdk_gets_its_picture_over_a_kill(tmp_path: Path, sandbox: Sandbox) -> None:
    """Its own re-send, after its own time-out: it notices the kill only by what its connection says."""
    resuming(sandbox, tmp_path, listen="127.0.0.1:0")
    sandbox.set_default("slow;polls=60")
    async with Gateway.serve(tmp_path) as gateway:
        port = gateway.url.rpartition(":")[2]
        config_now = json.loads((tmp_path / "config.yaml").read_text())
        write(tmp_path, {**config_now, "listen": f"127.0.0.1:{port}"})
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=ALICE, max_retries=8) as sdk:
            asking = asyncio.gather(sdk.images.generate(model="flux-dev", prompt="a bear"))
            await until(tmp_path, "SELECT count(*) FROM tasks", 1)
            gateway.signal(signal.SIGKILL)
            await gateway.wait()
            async with Gateway.serve(tmp_path):
                [made] = await asking
                assert made.data
    assert [line.amount for line in sandbox.bill] == [DEV]
