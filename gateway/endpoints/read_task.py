"""``GET /api/v1/task/{id}``: a task's state, asked of PiAPI with the key that made it, for whoever made it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.attempt import Attempt
from gateway.core.health import Passage
from gateway.core.outcomes import client_error
from gateway.core.routing import Go
from gateway.core.types import CostClass, Credential, Endpoint, Outcome, Target, Upstream
from gateway.endpoints.admission import Door
from gateway.endpoints.answers import Header, error_headers
from gateway.endpoints.refusal import Refusal
from gateway.errors import ClientError, GatewayError, UpstreamFault
from gateway.interruption import Interrupter
from gateway.stores.base import TaskRecord
from gateway.translate.task_relay import TaskRead

PATH = "/api/v1/task/{id}"

WITHIN = 30.0
"""Seconds for all of an upstream's hosts together."""


def read_task_routes(door: Door, upstreams: Callable[[], Mapping[str, Upstream]]) -> list[Route]:
    """``upstreams``: of the configuration now in force."""

    async def read_task(request: Request) -> Response:
        reading = _Reading(door)
        refusal = reading.refusal
        try:
            with refusal:
                key = refusal.key = door.authenticate(request.scope)
                record = await door.services.ledger.find_task(request.path_params["id"])
                if record is None or record.key != key.name:
                    raise _unknown_task()
                with door.limited(key):
                    status, body = await reading.ask(upstreams(), record)
            refusal.count(status)
        except GatewayError as error:
            headers = [pair for pair in error_headers(error, "") if pair[0] not in (b"x-request-id", b"content-type")]
            return reading.response(error.status, error.body(), headers)
        return reading.response(status, body, [])

    return [Route(PATH, read_task, methods=["GET"])]


class _Reading:
    """One request's: which hosts were asked, and what for."""

    def __init__(self, door: Door) -> None:
        self._services = door.services
        self._attempts = 0
        self.refusal = Refusal(door.services, PATH)

    async def ask(self, upstreams: Mapping[str, Upstream], record: TaskRecord) -> tuple[int, bytes]:
        """The upstream's own words. Raises UpstreamFault when no host answers."""
        self.refusal.model, self.refusal.upstream = record.model, record.upstream
        upstream = upstreams.get(record.upstream)
        keys = upstream.credentials if upstream is not None else ()
        credential = next((one for one in keys if one.name == record.credential), None)
        if upstream is None or credential is None:
            message = "The upstream key that made this task is no longer configured."
            raise UpstreamFault(502, "upstream_error", "upstream_auth_failed", message)
        target = Target(upstream, record.model, "task")
        deadline = asyncio.get_running_loop().time() + WITHIN
        outcome: Outcome | None = None
        for endpoint in upstream.endpoints:
            self._attempts += 1
            answer = _Answer()
            outcome = await self._attempt(target, endpoint, credential, record.task_id, answer, deadline)
            self._services.metrics.attempt(upstream.name, endpoint.url, outcome.slug)
            if answer.given is not None:
                return answer.given
        assert outcome is not None  # an upstream has at least one endpoint
        raise client_error(outcome, CostClass.READ, model=record.model)

    def response(self, status: int, body: bytes, headers: Sequence[Header]) -> Response:
        """An answer that says how it came about."""
        upstream = self.refusal.upstream
        labels = [(b"x-gateway-attempts", b"%d" % self._attempts)]
        if upstream is not None:
            labels.append((b"x-gateway-upstream", upstream.encode()))
        answer = Response(body, status_code=status, media_type="application/json")
        answer.raw_headers.extend((*labels, *headers))
        return answer

    async def _attempt(
        self,
        target: Target,
        endpoint: Endpoint,
        credential: Credential,
        task_id: str,
        answer: _Answer,
        deadline: float,
    ) -> Outcome:
        services = self._services
        passage = Passage(endpoint, target.model, 0.0)
        attempt = Attempt(
            Go(target, endpoint, credential, False, self._attempts, 0, False, passage),
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
            deadline=deadline,
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
