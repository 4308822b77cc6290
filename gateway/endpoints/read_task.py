"""``GET /api/v1/task/{id}``: a task's state, asked of PiAPI with the key that made it, for whoever made it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.attempt import Attempt
from gateway.core.health import Passage
from gateway.core.outcomes import client_error
from gateway.core.routing import Go
from gateway.core.types import CostClass, Credential, Outcome, Target, Upstream
from gateway.endpoints.admission import Door
from gateway.endpoints.refusal import Refusal
from gateway.errors import ClientError, UpstreamFault
from gateway.interruption import Interrupter
from gateway.stores.base import TaskRecord
from gateway.translate.task_relay import TaskRead

PATH = "/api/v1/task/{id}"

WITHIN = 30.0
"""Seconds for all of an upstream's hosts together."""


def read_task_routes(door: Door, upstreams: Callable[[], Mapping[str, Upstream]]) -> list[Route]:
    """``upstreams``: of the configuration now in force."""

    async def read_task(request: Request) -> Response:
        with Refusal(door.services, PATH) as refusal:
            key = refusal.key = door.authenticate(request.scope)
            record = await door.services.ledger.find_task(request.path_params["id"])
            if record is None or record.key != key.name:
                raise _unknown_task()
            refusal.model = record.model
            status, body = await _ask(door, upstreams(), record)
        refusal.count(status)
        return Response(body, status_code=status, media_type="application/json")

    return [Route(PATH, read_task, methods=["GET"])]


async def _ask(door: Door, upstreams: Mapping[str, Upstream], record: TaskRecord) -> tuple[int, bytes]:
    """The upstream's own words. Raises UpstreamFault when no host answers."""
    upstream = upstreams.get(record.upstream)
    keys = upstream.credentials if upstream is not None else ()
    credential = next((one for one in keys if one.name == record.credential), None)
    if upstream is None or credential is None:
        message = "The upstream key that made this task is no longer configured."
        raise UpstreamFault(502, "upstream_error", "upstream_auth_failed", message)
    target = Target(upstream, record.model, "task")
    outcome: Outcome | None = None
    for number in range(len(upstream.endpoints)):
        answer = _Answer()
        outcome = await _attempt(door, target, credential, number, record.task_id, answer)
        if answer.given is not None:
            return answer.given
    assert outcome is not None  # an upstream has at least one endpoint
    raise client_error(outcome, CostClass.READ, model=record.model)


async def _attempt(
    door: Door, target: Target, credential: Credential, number: int, task_id: str, answer: _Answer
) -> Outcome:
    services = door.services
    endpoint = target.upstream.endpoints[number]
    passage = Passage(endpoint, target.model, 0.0)
    attempt = Attempt(
        Go(target, endpoint, credential, False, number + 1, 0, False, passage),
        TaskRead(
            task_id,
            target,
            endpoint,
            wall_seconds=services.clock.wall_ns() / 1_000_000_000,
            redact=services.log.redactor.data,
        ),
        pool=services.pool,
        sink=answer,
        interrupter=Interrupter(),
        deadline=asyncio.get_running_loop().time() + WITHIN,
        clock=services.clock,
        tasks=services.tasks,
        errands=answer,
    )
    return await attempt.run()


class _Answer:
    """Takes what the conversation responds; it asks for nothing else."""

    started = False

    def __init__(self) -> None:
        self.given: tuple[int, bytes] | None = None

    async def respond(self, status: int, body: bytes) -> None:
        self.given = (status, body)

    async def emit(self, data: bytes, meaningful: bool) -> None:
        raise NotImplementedError

    def emit_now(self, data: bytes) -> bool:
        return False

    async def fetch(self, url: str) -> bytes:
        raise NotImplementedError

    async def keep(self, data: bytes) -> str:
        raise NotImplementedError

    async def record(self, task_id: str) -> None:
        raise NotImplementedError

    async def rest(self, seconds: float, hint: str | None) -> None:
        raise NotImplementedError


def _unknown_task() -> ClientError:
    """The same for a task that does not exist and for somebody else's."""
    return ClientError(404, "invalid_request_error", "task_not_found", "There is no such task.", param="id")
