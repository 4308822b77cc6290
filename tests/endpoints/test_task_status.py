"""A task's state is for the key that made it: for every other it does not exist."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.types import VirtualKey
from gateway.endpoints.task_status import TASK_STATUS_PATH, read_task_routes
from gateway.stores.records import TaskRecord
from tests.exchange.scripted import Response as UpstreamAnswer
from tests.exchange.scripted import play
from tests.exchange.stage import ALICE, PIAPI, REFUSED, Stage, paid

from .gateway import Keys, admission, ask, handlers, sent

FOUND = b'{"code":200,"data":{"task_id":"task-1","status":"pending"},"message":"success"}'
OF_ALICE = TaskRecord("task-1", "piapi", "first", "exchange-1", "alice", "gpt-4o", 0)


class Tasks:
    """A ledger that knows Alice's task."""

    async def find_task(self, task_id: str) -> TaskRecord | None:
        return OF_ALICE if task_id == "task-1" else None


def found() -> UpstreamAnswer:
    return UpstreamAnswer([(0, FOUND)], end=0, headers=((b"content-type", b"application/json"),))


async def asked(*answers: Any, name: str = "alice", task: str = "task-1", key: VirtualKey = ALICE) -> tuple[Any, Stage]:
    stage = Stage(*answers, targets=[paid("task")], key=key)
    stage.services.ledger = Tasks()  # type: ignore[assignment]
    stage.set(upstreams={"piapi": PIAPI})
    door, _ = admission(stage, Keys(key, VirtualKey("bob")))
    routes = read_task_routes(door)
    assert list(routes) == [TASK_STATUS_PATH]
    return await ask(handlers(routes)[0], sent(name, id=task)), stage


def test_the_owner_gets_the_upstreams_own_words() -> None:
    async def story() -> None:
        answer, _ = await asked(REFUSED, found())
        assert (answer.status_code, answer.body) == (200, FOUND)
        assert answer.headers["x-gateway-upstream"] == "piapi"
        assert answer.headers["x-gateway-attempts"] == "2"

    play(story)


@pytest.mark.parametrize(
    ("name", "task", "status", "code"),
    [
        ("bob", "task-1", 404, "task_not_found"),
        ("alice", "task-2", 404, "task_not_found"),
        ("mallory", "task-1", 401, "invalid_api_key"),
    ],
    ids=["another's task", "no task", "no key"],
)
def test_no_other_key_learns_that_it_exists(name: str, task: str, status: int, code: str) -> None:
    async def story() -> None:
        answer, stage = await asked(found(), name=name, task=task)
        assert (answer.status_code, json.loads(answer.body)["error"]["code"]) == (status, code)
        assert stage.asked == []
        assert "x-gateway-upstream" not in answer.headers

    play(story)


def test_it_counts_against_the_keys_limits() -> None:
    async def story() -> None:
        answer, stage = await asked(found(), key=VirtualKey("alice", parallel=0))
        assert (answer.status_code, stage.asked) == (429, [])

    play(story)


def test_that_no_host_answers_is_told_as_an_error_that_names_the_upstream() -> None:
    async def story() -> None:
        answer, _ = await asked(REFUSED, REFUSED)
        assert answer.status_code == 502
        assert answer.headers["x-gateway-upstream"] == "piapi"
        assert answer.headers["x-gateway-attempts"] == "2"
        assert "x-should-retry" in answer.headers

    play(story)
