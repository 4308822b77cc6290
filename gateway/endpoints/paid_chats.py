"""Chats by which something is ordered that is paid for: an image, as a rule. They run in jobs, as other orders do."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from gateway.core.jobs.fingerprint import fingerprint
from gateway.core.types import CostClass, Route, VirtualKey
from gateway.endpoints.admission import Admission, marks_of
from gateway.endpoints.job_wishes import wishes_of
from gateway.exchange.exchange import Exchange, Operation
from gateway.images.operation import ImageOperation
from gateway.images.resumed import remembered
from gateway.jobs.job import Asked
from gateway.jobs.waiting import Waiting
from gateway.runtime.off_loop import off_loop
from gateway.server.client import Client
from gateway.server.request import Request

NO_ORDER = b"{}"
"""What is remembered of an order that no task can be made for."""


@dataclass(frozen=True, slots=True)
class PaidChat:
    """What a chat is known by. ``body``: as its client sent it. ``slow``: whether others would wait while it is read.

    ``images``: the same order for images, if targets that only make images may serve it. ``api``: what is remembered of
    an answer of another API.
    """

    model: str
    body: Mapping[str, Any]
    slow: bool = False
    images: ImageOperation | None = None
    api: Mapping[str, Any] | None = None


def is_paid(route: Route) -> bool:
    """Whether what the first target of a route is asked for is paid for apiece."""
    return bool(route.targets) and route.targets[0].cost_class is CostClass.PAID


class PaidChats:
    """Runs chats in jobs, and lets their clients wait for these."""

    def __init__(self, admission: Admission, waiting: Waiting) -> None:
        self._services = admission.services
        self._waiting = waiting

    async def answer(
        self,
        request: Request,
        client: Client,
        operation: Operation,
        route: Route,
        key: VirtualKey,
        chat: PaidChat,
    ) -> None:
        """Answer a chat: by a job that is joined, or by one of its own."""
        jobs, marks = self._waiting.jobs, marks_of(request)
        wishes = wishes_of(request, self._waiting.telling.deliveries)
        if chat.slow:
            print_ = await off_loop(fingerprint, operation.route, chat.body)
        else:
            print_ = fingerprint(operation.route, chat.body)
        asked = Asked(key.name, key.team, operation.route, chat.model, print_, marks)
        order = NO_ORDER if chat.images is None else remembered(chat.images, request.host, chat.api)
        job, joined = await jobs.begin(asked, request.id, request.host, stream=operation.stream, order=order)
        if not joined:
            assert job.client is not None
            job.webhooks |= wishes.webhooks
            job.client.trace = request.trace
            exchange = Exchange(
                self._services,
                operation,
                route,
                key,
                job.client,
                sdk_retry=marks.again,
                asked=chat.model,
                job=job,
            )
            jobs.run(job, exchange, nullcontext())
        await self._waiting.answer(request, client, job, key, joined=joined, wishes=wishes)
