"""PiAPI's own task API: which upstreams a task may go to, what it may cost, and that its client is answered at once."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from gateway.core.errors import GatewayError
from gateway.core.types import VirtualKey
from gateway.endpoints.tasks import CreateTask, TaskOperation
from tests.exchange.fakes import Client
from tests.exchange.scripted import Response, now, play
from tests.exchange.stage import BACKUP, CENT, CHAT, HOST, PIAPI, Stage, paid
from tests.images.orders import tools
from tests.jobs.memory import waiting_on

from .gateway import admission, sent

ORDER = {"model": "gpt-4o", "task_type": "txt2img", "input": {"prompt": "a bear", "batch_size": 2}}
"""The stage's only route is called gpt-4o; here it leads to a task."""

TASK = paid("task")


def told(status: str) -> bytes:
    return orjson.dumps({"code": 200, "data": {"task_id": "task-1", "status": status}, "message": "success"})


def page(status: str, at: float = 0.0) -> Response:
    return Response([(at, told(status))], end=at, headers=((b"content-type", b"application/json"),))


async def created(stage: Stage, order: dict[str, Any], upstreams: tuple[Any, ...] = (BACKUP, PIAPI)) -> Client:
    """What the client is told of its order."""
    door, _ = admission(stage)
    stage.set(upstreams={upstream.name: upstream for upstream in upstreams})
    await CreateTask(door, waiting_on(stage.services))(sent(body=orjson.dumps(order)), stage.client)
    return stage.client


def test_the_client_has_its_answer_while_the_task_is_followed() -> None:
    async def story() -> None:
        stage = Stage(page("pending"), page("processing"), page("failed"), targets=[TASK])
        client = await created(stage, ORDER)
        assert (now(), client.status, client.body) == (0, 200, told("pending"))
        assert len(stage.services.gate) == 1
        await asyncio.sleep(60)
        assert [asked["method"] for asked in stage.pool.asked] == ["POST", "GET", "GET"]
        assert stage.ledger.outcomes == ["task_failed"]
        stage.is_empty()

    play(story)


def test_what_is_sent_is_the_clients_own_json_with_the_upstreams_name_of_the_model() -> None:
    async def story() -> None:
        stage = Stage(page("failed"), targets=[TASK])
        await created(stage, ORDER)
        [asked] = stage.pool.asked
        assert orjson.loads(asked["body"]) == {**ORDER, "model": TASK.model}

    play(story)


def test_an_error_is_awaited() -> None:
    async def story() -> None:
        refusal = orjson.dumps({"code": 400, "message": "invalid model", "data": None})
        answer = Response([(3, refusal)], end=3, status=400, headers=((b"content-type", b"application/json"),))
        stage = Stage(answer, targets=[TASK])
        client = await created(stage, ORDER)
        assert (now(), client.status) == (3, 400)
        await asyncio.sleep(0)
        assert len(stage.services.gate) == 0

    play(story)


class TestWhereATaskMayGo:
    def test_a_model_of_piapis_that_the_catalogue_does_not_know_goes_there_without_a_price(self) -> None:
        async def story() -> None:
            stage = Stage(page("failed"), targets=[TASK])
            await created(stage, {**ORDER, "model": "kling"})
            assert stage.asked == ["api.piapi.ai"]
            assert stage.ledger.intents[0].model == "kling"
            assert orjson.loads(stage.pool.asked[0]["body"])["model"] == "kling"

        play(story)

    def test_a_model_that_makes_no_tasks_is_not_there(self) -> None:
        async def story() -> None:
            await self.refused(Stage(targets=[CHAT]), ORDER, 404, "model_not_found")

        play(story)

    def test_an_unknown_model_is_not_there_without_an_upstream_of_piapis(self) -> None:
        async def story() -> None:
            await self.refused(Stage(targets=[TASK]), {**ORDER, "model": "kling"}, 404, "model_not_found", (BACKUP,))

        play(story)

    def test_a_model_that_the_key_may_not_use_is_refused(self) -> None:
        async def story() -> None:
            stage = Stage(targets=[TASK], key=VirtualKey("alice", models=("flux",)))
            for model in ("gpt-4o", "kling"):
                await self.refused(stage, {**ORDER, "model": model}, 403, "model_not_allowed")

        play(story)

    @staticmethod
    async def refused(
        stage: Stage, order: dict[str, Any], status: int, code: str, upstreams: tuple[Any, ...] = (BACKUP, PIAPI)
    ) -> None:
        with pytest.raises(GatewayError) as error:
            await created(stage, order, upstreams)
        assert (error.value.status, error.value.code, stage.asked) == (status, code, [])


def test_an_order_may_cost_what_its_images_cost() -> None:
    operation = TaskOperation(ORDER, 3, tools(), size=100)
    assert operation.cost_bound(TASK, exact=True) == operation.stake(TASK) == 6 * CENT
    assert operation.parts == (operation,)
    assert operation.converse_with(TASK, HOST).estimate().images == 3
