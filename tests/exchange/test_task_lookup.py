"""A task is asked about with the key that made it, at one host of its upstream after the other."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from gateway.core.errors import UpstreamFault
from gateway.core.types import Upstream
from gateway.exchange.task_lookup import WITHIN, TaskReading
from gateway.stores.records import TaskRecord
from tests.exchange.scripted import Response, now, play
from tests.exchange.stage import PIAPI, REFUSED, Stage, paid

RECORD = TaskRecord("task-1", "piapi", "first", "exchange-1", "alice", "flux-dev", 0)
JSON = ((b"content-type", b"application/json"),)
FOUND = orjson.dumps({"code": 200, "data": {"task_id": "task-1", "status": "pending"}, "message": "success"})
UPSTREAMS = {"piapi": PIAPI}


def page(body: bytes = FOUND, status: int = 200) -> Response:
    return Response([(0, body)], end=0, status=status, headers=JSON)


def stage(*answers: object) -> Stage:
    return Stage(*answers, targets=[paid("task")])  # type: ignore[arg-type]


def test_the_client_is_told_what_the_upstream_says() -> None:
    async def story() -> None:
        gateway = stage(page())
        reading = TaskReading(gateway.services)
        assert await reading.ask(UPSTREAMS, RECORD) == (200, FOUND)
        [asked] = gateway.pool.asked
        assert (asked["method"], asked["path"], asked["host"]) == ("GET", "/api/v1/task/task-1", "api.piapi.ai")
        assert asked["headers"][b"x-api-key"] == b"the-key-itself"
        assert reading.attempts == 1
        assert gateway.figure("gateway_upstream_attempts_total", outcome="ok") == 1

    play(story)


def test_another_host_is_asked_when_one_cannot_be_reached() -> None:
    async def story() -> None:
        gateway = stage(REFUSED, page())
        reading = TaskReading(gateway.services)
        assert await reading.ask(UPSTREAMS, RECORD) == (200, FOUND)
        assert gateway.asked == ["api.piapi.ai", "proxy.piapi.ai"]
        assert reading.attempts == 2
        assert gateway.figure("gateway_upstream_attempts_total", outcome="connect_refused") == 1

    play(story)


def test_that_there_is_no_such_task_is_an_answer() -> None:
    async def story() -> None:
        missing = orjson.dumps({"code": 404, "message": "task not found", "data": None})
        gateway = stage(page(missing, 404))
        assert await TaskReading(gateway.services).ask(UPSTREAMS, RECORD) == (404, missing)
        assert len(gateway.asked) == 1

    play(story)


def test_it_is_a_fault_when_no_host_answers() -> None:
    async def story() -> None:
        gateway = stage(REFUSED, REFUSED)
        with pytest.raises(UpstreamFault) as fault:
            await TaskReading(gateway.services).ask(UPSTREAMS, RECORD)
        assert fault.value.status == 502
        assert len(gateway.asked) == 2

    play(story)


def test_all_hosts_together_have_half_a_minute() -> None:
    async def story() -> None:
        gateway = stage()
        gateway.pool.head_after = 1e9
        with pytest.raises(UpstreamFault):
            await TaskReading(gateway.services).ask(UPSTREAMS, RECORD)
        assert now() == WITHIN

    play(story)


@pytest.mark.parametrize(
    "upstreams", [{}, {"piapi": replace(PIAPI, credentials=())}], ids=["no such upstream", "no such key"]
)
def test_a_key_that_is_no_longer_configured_asks_nothing(upstreams: dict[str, Upstream]) -> None:
    async def story() -> None:
        gateway = stage()
        with pytest.raises(UpstreamFault, match="no longer configured") as fault:
            await TaskReading(gateway.services).ask(upstreams, RECORD)
        assert (fault.value.code, gateway.asked) == ("upstream_auth_failed", [])

    play(story)


def test_reading_costs_the_account_nothing() -> None:
    """No intent, no settlement, no task of its own in the account's line."""

    async def story() -> None:
        gateway = stage(page())
        gateway.task_limit = 1
        await TaskReading(gateway.services).ask(UPSTREAMS, RECORD)
        assert (gateway.ledger.intents, gateway.ledger.settlements) == ([], [])

    play(story)
