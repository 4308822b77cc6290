"""``GET /api/v1/task/{id}``: a task's state, asked of PiAPI with the upstream key that made it, for the virtual key
that made it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.core.errors import ClientError, GatewayError
from gateway.core.headers import Headers
from gateway.core.types import Upstream
from gateway.endpoints.admission import Admission
from gateway.exchange.task_lookup import TaskReading
from gateway.server.headers import error_headers
from gateway.server.request_facts import RequestFacts, facts_of
from gateway.stores.records import TaskRecord

TASK_STATUS_PATH = "/api/v1/task/{id}"


def read_task_routes(admission: Admission, upstreams: Callable[[], Mapping[str, Upstream]]) -> list[Route]:
    """The one route.

    ``upstreams``: returns those of the configuration in force.
    """

    async def read_task(request: Request) -> Response:
        facts = facts_of(request.scope)
        reading = _Reading(admission, facts)
        try:
            key = admission.authenticate(request.scope)
            record = await admission.services.ledger.find_task(request.path_params["id"])
            if record is None or record.key != key.name:
                raise _unknown_task()
            with admission.limited(key):
                status, body = await reading.ask(upstreams(), record)
        except GatewayError as error:
            facts.error = error
            headers = [pair for pair in error_headers(error, "") if pair[0] not in (b"x-request-id", b"content-type")]
            return reading.response(error.status, error.body(), headers)
        return reading.response(status, body, [])

    return [Route(TASK_STATUS_PATH, read_task, methods=["GET"])]


class _Reading:
    """The reading of a task for one request, and how it is answered."""

    def __init__(self, admission: Admission, facts: RequestFacts) -> None:
        self._reading = TaskReading(admission.services)
        self._facts = facts

    async def ask(self, upstreams: Mapping[str, Upstream], record: TaskRecord) -> tuple[int, bytes]:
        """The upstream's own answer: status and body. Raises UpstreamFault when no host answers."""
        self._facts.model, self._facts.upstream = record.model, record.upstream
        return await self._reading.ask(upstreams, record)

    def response(self, status: int, body: bytes, headers: Headers) -> Response:
        """The answer, with headers that say how it came about."""
        upstream = self._facts.upstream
        labels = [(b"x-gateway-attempts", b"%d" % self._reading.attempts)]
        if upstream is not None:
            labels.append((b"x-gateway-upstream", upstream.encode()))
        answer = Response(body, status_code=status, media_type="application/json")
        answer.raw_headers.extend((*labels, *headers))
        return answer


def _unknown_task() -> ClientError:
    """404, the same for a task that does not exist and for another key's."""
    return ClientError(404, "invalid_request_error", "task_not_found", "There is no such task.", param="id")
