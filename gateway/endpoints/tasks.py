"""PiAPI's own task API with pooled keys: ``POST /api/v1/task``; the status route is in endpoints/task_status.py.

A create is an exchange like any other, which runs until the task has ended and its cost is known. A task belongs to the
virtual key that made it, and is read with the upstream key that made it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import orjson

from gateway.core.errors import model_not_allowed, model_not_found
from gateway.core.images.task_model import price_each, priced
from gateway.core.jobs.fingerprint import fingerprint
from gateway.core.pricing.cost_bound import RequestedWork, cost_bound
from gateway.core.pricing.prices import image_stake
from gateway.core.routing.durations import OrderShape
from gateway.core.routing.endings import ended_error
from gateway.core.routing.refused_wishes import OwnWishes, no_wishes
from gateway.core.routing.route_table import allowed
from gateway.core.types import NO_WISHES, Endpoint, Route, Target, VirtualKey, Wish
from gateway.endpoints.admission import Admission, marks_of
from gateway.endpoints.job_wishes import wishes_of
from gateway.endpoints.json_body import read_long
from gateway.endpoints.ownership import check_task, refuse_foreign_ids
from gateway.endpoints.preference import preferred
from gateway.exchange.exchange import Exchange
from gateway.images.operation import ImageTools
from gateway.jobs.job import Asked
from gateway.jobs.waiting import Waiting
from gateway.server.body import read_body
from gateway.server.client import Client
from gateway.server.request import Request
from gateway.translate.commands import Conversation
from gateway.translate.task_relay import TaskRelay
from gateway.wire.client_json import loads_object
from gateway.wire.named_ids import ids_in_fields
from gateway.wire.task_amounts import most_times
from gateway.wire.task_request import MOST_OF_A_TASK, checked_task, images_of_task
from gateway.wire.tokens import rough_tokens

TASKS_PATH = "/api/v1/task"

_COUNTED = ("batch_size",)
"""What ``images_of_task`` has counted."""


@dataclass(frozen=True, slots=True)
class TaskOperation:
    """A task as a client wrote it.

    ``images``: how many it asks for, by its own ``batch_size``.
    ``times``: how many times their price it may come to, by options that are not known here.
    ``size``: bytes of the request.
    """

    body: Mapping[str, Any]
    images: int
    tools: ImageTools
    size: int
    times: int = 1
    route: str = TASKS_PATH
    stream: bool = False
    prepares: bool = False
    bare: bool = False
    notes: tuple[str, ...] = ()
    supports: frozenset[str] = frozenset({"task"})

    async def prepare(self) -> None:
        """Do nothing: the task is passed on as it came."""

    @property
    def parts(self) -> tuple[TaskOperation]:
        return (self,)

    def converse_with(self, target: Target, endpoint: Endpoint, without: frozenset[Wish] = NO_WISHES) -> TaskRelay:
        tools = self.tools
        return TaskRelay(
            orjson.dumps({**self.body, "model": target.model}),
            tools.context(target, endpoint, self.shape(target)),
            images=self.images,
            points_per_usd=tools.points_per_usd,
            jitter=tools.jitter,
        )

    def conclude(self, conversations: Sequence[Conversation], charge: Callable[[], str | None]) -> bytes | None:
        """None: the client has had its answer."""
        return None

    def wishes(self, target: Target) -> OwnWishes:
        return no_wishes(target)

    def shape(self, target: Target) -> OrderShape:
        sides = [self.body["input"].get(side) for side in ("width", "height")]
        size = "x".join(map(str, sides)) if all(type(one) is int for one in sides) else None
        return OrderShape.of(size, self.body["task_type"], self.images)

    def stake(self, target: Target) -> int | None:
        return image_stake(target.price, self.images, operation="task", quality=None, size=None)

    def cost_bound(self, target: Target, *, exact: bool) -> int | None:
        return cost_bound((target,), RequestedWork(subrequests=(self.images * self.times,)))

    def cost_reason(self, target: Target) -> str:
        return ""

    def rough_input_tokens(self) -> int:
        return rough_tokens(self.size)


def _parse(raw: bytes) -> tuple[dict[str, Any], bytes]:
    """A task as its client wrote it, and the fingerprint of that."""
    given = loads_object(raw)
    return checked_task(given), fingerprint(TASKS_PATH, given)


class CreateTask:
    """The handler of the POST."""

    def __init__(self, admission: Admission, waiting: Waiting) -> None:
        self._admission = admission
        self._waiting = waiting

    async def __call__(self, request: Request, client: Client) -> None:
        admission, services, jobs = self._admission, self._admission.services, self._waiting.jobs
        key = admission.authenticate(request)
        marks, wishes = marks_of(request), wishes_of(request, self._waiting.telling.deliveries)
        raw = await read_body(request, services.snapshot.body_limit, budget=services.bodies, owner=key.name)
        body, print_ = await read_long(services, key.name, raw, _parse)
        key = admission.recheck(request, key)
        model = request.model = body["model"]
        asked = Asked(key.name, key.team, TASKS_PATH, model, print_, marks)
        job = await jobs.join(asked, request.id)
        joined = job is not None
        if job is None:
            await check_task(body["input"], key, services)
            refuse_foreign_ids(ids_in_fields(body["input"]))
            route = self._route(model, body["task_type"], key)
            images, times, route = self._priced(preferred(request, route), body)
            operation = TaskOperation(body, images, services.snapshot.image_orders.tools, len(raw), times)
            job, joined = await jobs.begin(asked, request.id, request.host, stream=False)
            if not joined:
                assert job.client is not None
                job.webhooks |= wishes.webhooks
                job.client.trace = request.trace
                # The client has its answer as soon as there is a task; the exchange follows that beyond.
                exchange = Exchange(
                    services, operation, route, key, job.client, sdk_retry=marks.again, asked=model, job=job
                )
                jobs.run(job, exchange, nullcontext())
        await self._waiting.answer(request, client, job, key, joined=joined, wishes=wishes)

    def _priced(self, route: Route, body: Mapping[str, Any]) -> tuple[int, int, Route]:
        """How many pictures a task makes, how many times their price it may cost, and its route at the price of one.

        PiAPI's models that are not described here have their own fields, and no price.
        """
        routes, task_type, given = self._admission.services.snapshot.routes, body["task_type"], body["input"]
        facts = next((one.tasks[task_type] for one in route.targets if task_type in one.tasks), None)
        if facts is None:
            images = images_of_task(given) if routes.find(body["model"]) is not None else 1
            return images, most_times(given, _COUNTED), route
        each = price_each(facts, given)
        targets = tuple(priced(one, each) for one in route.targets if task_type in one.tasks)
        images = images_of_task(given, facts.count, MOST_OF_A_TASK) if facts.count else 1
        return images, most_times(given, facts.fields), replace(route, targets=targets)

    def _route(self, model: str, task_type: str, key: VirtualKey) -> Route:
        """The catalogue's route; for a model the catalogue does not have, PiAPI itself, without a price."""
        services = self._admission.services
        routes = services.snapshot.routes
        found = routes.find(model) or routes.of_task(model, task_type)
        if found is None or model in {target.model for target in found.targets}:
            may = allowed(key.models, model) or (found is not None and allowed(key.models, found.model))
        else:
            may = routes.may_use(key.models, model, found)
        if not may:
            raise model_not_allowed(model)
        if found is not None:
            if (ended := ended_error(found, model)) is not None:
                raise ended
            targets = tuple(target for target in found.targets if target.operation == "task")
            if found.targets and not targets:
                raise model_not_found(model)
            return replace(found, targets=targets)
        upstreams = [one for one in services.snapshot.upstreams.values() if one.dialect == "piapi" and one.credentials]
        if not upstreams:
            raise model_not_found(model)
        return Route(model, tuple(Target(upstream, model, "task", None) for upstream in upstreams))
