"""Responses in the background that buy pictures are jobs: a re-send of their POST joins, and what was bought by a task
is brought to its end over a restart. So is what the response store has of answers that clients waited for.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from .harness import ALICE, Answer, RawClient, Rig, eventually
from .image_orders import GENERATIONS
from .moments import start

RESPONSES = "/v1/responses"
AGAIN = {"x-stainless-retry-count": "1"}
WORDS = "hello from a confidential prompt"
DEV = 15_000_000
TOOL: dict[str, Any] = {"type": "image_generation", "model": "gpt-image-2", "size": "1024x1024", "quality": "low"}
BY_TASK: dict[str, Any] = {"type": "image_generation", "model": "flux-dev"}


def order(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "input": WORDS, "tools": [TOOL], "background": True, **fields}


async def send(rig: Rig, body: dict[str, Any], headers: dict[str, str] | None = None, path: str = RESPONSES) -> Answer:
    async with rig.client() as client:
        await client.ask(json.dumps(body).encode(), headers=headers, target=path)
        return await client.broken_or_whole(await client.head())


async def found(rig: Rig, id: str, query: str = "") -> Answer:
    client = await RawClient.connect(rig.gateway.main_url)
    try:
        return await client.request("GET", f"{RESPONSES}/{id}{query}", b"", f"authorization: Bearer {ALICE}")
    finally:
        await client.close()


async def completed(rig: Rig, id: str) -> dict[str, Any]:
    """The response, once it has ended."""
    last: dict[str, Any] = {}

    async def over() -> bool:
        last.update((await found(rig, id)).json())
        return last["status"] not in ("queued", "in_progress")

    await eventually(over, "its end")
    assert last["status"] == "completed", last
    return last


async def kept(rig: Rig, job: str | None) -> None:
    """Wait until the store has how the job ended, and nothing more will be written of it."""
    states = "SELECT state FROM jobs WHERE id = ?"

    def ended() -> bool:
        with closing(sqlite3.connect(rig.folder / "gateway.db")) as store:
            return store.execute(states, (job,)).fetchone() == ("completed",)

    await eventually(lambda: not rig.gateway.services.gate and ended(), "its end in the store")
    await rig.gateway._waiting.jobs.written()


def change(rig: Rig, statement: str) -> None:
    with closing(sqlite3.connect(rig.folder / "gateway.db")) as store, store:
        store.execute(statement)


class TestInTheBackground:
    async def test_a_re_send_of_the_post_joins(self, rig: Rig) -> None:
        rig.sandbox.script("ok;calls=1", role="api")
        first = await send(rig, order())
        again = await send(rig, order(), AGAIN)
        assert first.body == again.body
        assert first.json()["status"] == "queued"
        assert (first.header("x-gateway-note"), again.header("x-gateway-note")) == (None, "joined")
        assert first.header("x-gateway-job") == again.header("x-gateway-job") != None  # noqa: E711
        response = await completed(rig, first.json()["id"])
        assert response["output"][0]["result"]
        late = await send(rig, order(), AGAIN)
        assert late.body == first.body
        assert len(rig.sandbox.bill) == 2, "the chat and its picture"
        assert [row.charged > 0 for row in await rig.at_least(4)] == [True, True, False, False]

    async def test_without_a_mark_it_is_another(self, rig: Rig) -> None:
        rig.sandbox.script("ok;calls=1", role="api")
        first = await send(rig, order())
        await completed(rig, first.json()["id"])
        rig.sandbox.script("ok;calls=1", role="api")
        other = await send(rig, order())
        await completed(rig, other.json()["id"])
        assert other.json()["id"] != first.json()["id"]
        assert len(rig.sandbox.bill) == 4

    async def test_its_events_are_joined_too(self, rig: Rig) -> None:
        rig.sandbox.script("ok;calls=1", role="api")
        rig.sandbox.script("stall_head;seconds=0.2", role="api")
        first = start(send(rig, order(stream=True)))
        await rig.sandbox.until(lambda: len(rig.sandbox.requests) == 2)
        again = await send(rig, order(stream=True), AGAIN)
        whole = await first
        assert again.events == whole.events
        assert b"response.completed" in whole.events[-1]
        assert len(rig.sandbox.bill) == 2

    async def test_one_that_leaves_at_once_leaves_it_running(self, rig: Rig) -> None:
        rig.sandbox.script("ok;calls=1", role="api")
        rig.sandbox.script("stall_head;seconds=0.2", role="api")
        async with rig.client() as client:
            await client.ask(json.dumps(order(stream=True)).encode(), target=RESPONSES)
            await rig.sandbox.until(lambda: len(rig.sandbox.requests) == 1)
            await client.leave()
        again = await send(rig, order(stream=True), AGAIN)
        assert b"response.completed" in again.events[-1]
        assert len(rig.sandbox.bill) == 2

    async def test_one_that_bought_nothing_is_begun_anew(self, rig: Rig) -> None:
        rig.sandbox.script("unprocessable", role="api", times=1)
        first = await send(rig, order())

        async def failed() -> bool:
            return bool((await found(rig, first.json()["id"])).json()["status"] == "failed")

        await eventually(failed, "its failure")
        await eventually(lambda: not rig.gateway.services.gate, "its end")
        again = await send(rig, order(), AGAIN)
        assert again.header("x-gateway-note") is None
        assert again.json()["id"] != first.json()["id"]
        await completed(rig, again.json()["id"])

    async def test_one_that_is_cancelled_buys_no_picture(self, rig: Rig) -> None:
        rig.sandbox.script("ok;calls=1;delay=50", role="api")
        queued = (await send(rig, order())).json()
        await rig.openai().responses.cancel(queued["id"])
        await eventually(lambda: not rig.gateway.services.gate, "its end")
        assert [request.path for request in rig.sandbox.requests] == ["/v1/chat/completions"]
        assert (await found(rig, queued["id"])).json()["status"] == "cancelled"

    async def test_a_webhook_and_the_jobs_routes_tell_of_it(self, rig: Rig) -> None:
        rig.sandbox.script("ok;calls=1", role="api")
        first = await send(rig, order())
        await completed(rig, first.json()["id"])
        client = await RawClient.connect(rig.gateway.main_url)
        job = first.header("x-gateway-job")
        answer = await client.request("GET", f"/v1/jobs/{job}?wait=20", b"", f"authorization: Bearer {ALICE}")
        await client.close()
        assert answer.json()["status"] == "completed"
        assert answer.json()["result"]["id"] == first.json()["id"]


class TestOverARestart:
    @pytest.mark.parametrize("background", [True, False], ids=["in the background", "waited for"])
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    async def test_a_picture_that_was_ordered_by_a_task_is_brought(
        self, stream: bool, background: bool, rig: Rig
    ) -> None:
        rig.sandbox.script("ok;calls=1", role="api")
        rig.sandbox.script("slow;polls=30", times=None)
        body = order(tools=[BY_TASK], stream=stream, background=background)
        first = start(send(rig, body))
        await eventually(lambda: len(rig.tasks()) == 1, "a task")
        rig.gateway.cut_off()
        told = await first
        await rig.restart()
        again = await send(rig, body, AGAIN)
        assert (again.status, again.header("x-gateway-note")) == (200, "joined")
        if stream:
            assert again.complete
            id = json.loads(again.events[-1].split(b"data: ")[1])["response"]["id"]
        else:
            id = again.json()["id"]
        if background and not stream:
            assert told.body == again.body
        response = await completed(rig, id)
        [item] = response["output"]
        assert (item["type"], item["status"], item["action"]) == ("image_generation_call", "completed", "generate")
        assert item["result"]
        assert response["usage"]["cost"] > 0.015
        assert len(rig.tasks()) == 1
        assert [line.amount for line in rig.sandbox.bill].count(DEV) == 1
        assert len(rig.sandbox.bill) == 2
        if background and stream:
            events = (await found(rig, id, "?stream=true")).events
            assert b"response.completed" in events[-1]
            numbers = [json.loads(event.split(b"data: ")[1])["sequence_number"] for event in events]
            assert numbers == list(range(len(events)))

    async def test_a_picture_of_a_relay_is_marked_as_unknown_and_not_bought_again(self, rig: Rig) -> None:
        rig.sandbox.script("ok;calls=2", role="api")
        first = await send(rig, order(tools=[BY_TASK]))
        await completed(rig, first.json()["id"])
        job = first.header("x-gateway-job")
        await kept(rig, job)
        await rig.gateway._responses.written()
        # as if it had been killed with the second picture under way, and nothing known of that
        with closing(sqlite3.connect(rig.folder / "gateway.db")) as store, store:
            [memory] = store.execute("SELECT client_order FROM jobs WHERE id = ?", (job,)).fetchone()
            known = json.loads(memory)
            assert len(known["pictures"]) == 2
            known["pictures"]["1"]["exchange"] = "of-none"
            known["response"]["output"] = [{**item, "status": "in_progress"} for item in known["response"]["output"]]
            changed = (json.dumps(known).encode(), job)
            store.execute("UPDATE jobs SET state = 'running', ended_ns = NULL, client_order = ? WHERE id = ?", changed)
            response = json.dumps({**known["response"], "status": "in_progress"}).encode()
            store.execute("UPDATE responses SET answer = ?", (response,))
        await rig.restart()
        response_now = await completed(rig, first.json()["id"])
        assert [item["status"] for item in response_now["output"]] == ["completed", "failed"]
        assert len(rig.tasks()) == 2

    @pytest.mark.parametrize("background", [True, False], ids=["in the background", "waited for"])
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    async def test_an_answer_of_a_picture_model_is_in_the_store(self, stream: bool, background: bool, rig: Rig) -> None:
        rig.sandbox.script("slow;polls=30", times=None)
        body = {"model": "flux-dev", "input": WORDS, "stream": stream, "background": background}
        first = start(send(rig, body))
        await eventually(lambda: len(rig.tasks()) == 1, "a task")
        rig.gateway.cut_off()
        await first
        await rig.restart()
        again = await send(rig, body, AGAIN)
        assert (again.status, again.header("x-gateway-note")) == (200, "joined")
        id = json.loads(again.events[-1].split(b"data: ")[1])["response"]["id"] if stream else again.json()["id"]
        response = await completed(rig, id)
        assert "![" in response["output"][0]["content"][0]["text"]
        assert rig.sandbox.billed == DEV
        rig.sandbox.set_default("ok")
        next_one = await rig.openai().responses.create(model="gpt-4o", input="and now?", previous_response_id=id)
        assert next_one.status == "completed"
        said = [message["role"] for message in rig.sandbox.requests[-1].json["messages"]]
        assert said == ["user", "assistant", "user"]

    async def test_what_came_to_nothing_is_not_kept(self, rig: Rig) -> None:
        rig.sandbox.script("task_failed;polls=1;method=POST", times=None)
        answer = await send(rig, {"model": "flux-dev", "input": WORDS})
        assert answer.status >= 400

        def kept() -> int:
            with closing(sqlite3.connect(rig.folder / "gateway.db")) as store:
                return int(store.execute("SELECT count(*) FROM responses").fetchone()[0])

        await eventually(lambda: kept() == 0, "it goes again")


class TestUnknown:
    FLUX = {"model": "flux-dev", "prompt": WORDS}  # noqa: RUF012

    async def left_unknown(self, rig: Rig) -> str:
        first = await send(rig, self.FLUX, path=GENERATIONS)
        job = first.header("x-gateway-job")
        await kept(rig, job)
        change(rig, f"UPDATE jobs SET state = 'unknown', purchased = 0, headers = NULL, body = NULL WHERE id = '{job}'")
        await rig.restart()
        assert job is not None
        return job

    async def test_a_job_whose_task_is_there_after_all_is_given(self, rig: Rig) -> None:
        await self.left_unknown(rig)
        again = await send(rig, self.FLUX, AGAIN, GENERATIONS)
        assert (again.status, again.header("x-gateway-note")) == (200, "joined")
        assert len(again.json()["data"]) == 1
        assert len(rig.tasks()) == 1
        assert rig.sandbox.billed == DEV

    async def test_also_to_who_asks_for_the_job(self, rig: Rig) -> None:
        job = await self.left_unknown(rig)
        client = await RawClient.connect(rig.gateway.main_url)
        answer = await client.request("GET", f"/v1/jobs/{job}?wait=20", b"", f"authorization: Bearer {ALICE}")
        await client.close()
        assert answer.json()["status"] == "completed"
        assert len(answer.json()["result"]["data"]) == 1

    async def test_two_who_ask_at_once_get_the_same(self, rig: Rig) -> None:
        await self.left_unknown(rig)
        answers = await asyncio.gather(*(send(rig, self.FLUX, AGAIN, GENERATIONS) for _ in range(2)))
        assert {answer.status for answer in answers} == {200}
        assert len({answer.body for answer in answers}) == 1
        assert len(rig.tasks()) == 1

    async def test_one_whose_task_is_not_known_stays_unknown_and_is_told_once(self, rig: Rig) -> None:
        await self.left_unknown(rig)
        rig.for_all_roles("overloaded")
        again = await send(rig, self.FLUX, AGAIN, GENERATIONS)
        assert (again.status, again.header("x-should-retry")) == (504, "false")
