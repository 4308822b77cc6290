"""SIGKILL while a response is made: the next start says that it failed, and a relayed one is found where it is kept."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.sandbox import Sandbox

from .running import PATIENCE, Gateway, new_client, rows, settings, write

RESPONSES = "/v1/responses"
ASKED = {"model": "gpt-4o", "input": "Hello"}


async def first_id(answer: httpx2.Response) -> str:
    """The id in the first event of a stream."""
    text = ""
    async for piece in answer.aiter_text():
        text += piece
        if "output_text.delta" in text:
            break
    line = next(line for line in text.split("\n") if line.startswith("data: "))
    return str(json.loads(line.removeprefix("data: "))["response"]["id"])


async def until_kept(folder: Path, id: str) -> None:
    """Return once the store has the response."""
    async with asyncio.timeout(PATIENCE):
        while not rows(folder, f"SELECT id FROM responses WHERE id = '{id}'"):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("in_background", [False, True], ids=["waited for", "in the background"])
async def test_what_was_being_told_has_failed(tmp_path: Path, sandbox: Sandbox, in_background: bool) -> None:
    sandbox.set_default("endless;delay=5")
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        body = {**ASKED, "stream": True, "background": in_background}
        async with client.stream("POST", gateway.url + RESPONSES, json=body) as answer:
            id = await first_id(answer)
            running = (await client.get(f"{gateway.url}{RESPONSES}/{id}")).json()
            assert running["status"] == "in_progress"
            await until_kept(tmp_path, id)
            gateway.signal(signal.SIGKILL)
            assert await gateway.wait() == -signal.SIGKILL
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        found = (await client.get(f"{gateway.url}{RESPONSES}/{id}")).json()
        assert (found["id"], found["status"], found["error"]["code"]) == (id, "failed", "server_error")
        assert not [item for item in found["output"] if item["status"] == "in_progress"]
        again = await client.get(f"{gateway.url}{RESPONSES}/{id}?stream=true")
        assert again.status_code == (200 if in_background else 400)
        if in_background:
            events: list[Any] = [
                json.loads(line.removeprefix("data: ")) for line in again.text.split("\n") if line.startswith("data: ")
            ]
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
            assert events[-1]["type"] == "response.failed"
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0


async def test_where_a_relayed_answer_is_kept_is_still_known(tmp_path: Path, sandbox: Sandbox) -> None:
    models = {"gpt-4o": {"targets": [{"upstream": "backup", "operation": "responses"}]}}
    write(tmp_path, settings(sandbox, tmp_path, models=models))
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        made = (await client.post(gateway.url + RESPONSES, json=ASKED)).json()
        async with asyncio.timeout(PATIENCE):
            while not rows(tmp_path, "SELECT id FROM response_places"):
                await asyncio.sleep(0.01)
        gateway.signal(signal.SIGKILL)
        assert await gateway.wait() == -signal.SIGKILL
    async with Gateway.serve(tmp_path) as gateway, new_client() as client:
        assert (await client.get(f"{gateway.url}{RESPONSES}/{made['id']}")).json()["id"] == made["id"]
        body = {**ASKED, "previous_response_id": made["id"]}
        answer = await client.post(gateway.url + RESPONSES, json=body)
        assert answer.status_code == 200, answer.text
        gateway.signal(signal.SIGTERM)
        assert await gateway.wait() == 0
