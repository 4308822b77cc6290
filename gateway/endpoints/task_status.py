"""``GET /api/v1/task/{id}``: a task's state, asked of PiAPI with the upstream key that made it, for the virtual key
that made it.
"""

from __future__ import annotations

from gateway.core.errors import ClientError, GatewayError
from gateway.core.headers import Headers
from gateway.endpoints.admission import Admission
from gateway.exchange.task_lookup import TaskReading
from gateway.server.client import Client
from gateway.server.dispatch import OwnRoutes
from gateway.server.request import Request

TASK_STATUS_PATH = "/api/v1/task/{id}"


def read_task_routes(admission: Admission) -> OwnRoutes:
    """The one route."""

    async def read_task(request: Request, client: Client) -> None:
        reading = TaskReading(admission.services)
        try:
            key = admission.authenticate(request)
            record = await admission.services.ledger.find_task(request.params["id"])
            if record is None or record.key != key.name:
                raise _unknown_task()
            async with admission.limited(key):
                request.model, request.upstream = record.model, record.upstream
                status, body = await reading.ask(admission.services.snapshot.upstreams, record)
        except GatewayError as error:
            request.error = error
            await client.error(error, _labels(request, reading))
            return
        await client.respond(status, _labels(request, reading), body)

    return {TASK_STATUS_PATH: {"GET": read_task}}


def _labels(request: Request, reading: TaskReading) -> Headers:
    """The headers that say how the answer came about."""
    attempts = (b"x-gateway-attempts", b"%d" % reading.attempts)
    return (attempts,) if request.upstream is None else (attempts, (b"x-gateway-upstream", request.upstream.encode()))


def _unknown_task() -> ClientError:
    """404, the same for a task that does not exist and for another key's."""
    return ClientError(404, "invalid_request_error", "task_not_found", "There is no such task.", param="id")
