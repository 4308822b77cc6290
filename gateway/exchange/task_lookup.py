"""Asking an upstream about what it has, such as a task: with the key that made it, by whichever host answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from gateway.core.errors import UpstreamFault
from gateway.core.outcomes.table import client_error
from gateway.core.routing.health import Ticket
from gateway.core.routing.route_table import AttemptPlan
from gateway.core.types import CostClass, Credential, Endpoint, Outcome, Target, Upstream
from gateway.exchange.attempt import Attempt
from gateway.exchange.services import Services
from gateway.exchange.timers import Waits
from gateway.stores.records import TaskRecord
from gateway.translate.commands import Conversation
from gateway.translate.context import AttemptContext
from gateway.translate.task_relay import TaskRead

WITHIN = 30.0
"""Seconds for all of an upstream's hosts together."""


class Reading:
    """One question that costs nothing, put to one host after the other. ``attempts``: how many hosts were asked."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.attempts = 0

    async def put(
        self,
        target: Target,
        credential: Credential,
        question: Callable[[AttemptContext], Conversation],
        *,
        listener: ReadAnswer | None = None,
        within: float = WITHIN,
    ) -> tuple[int, bytes]:
        """The status and the JSON that the upstream answers, without what is ours; of a stream none.

        ``question``: the conversation with one host, which responds with the answer. ``listener``: takes the answer,
        which may be a stream. Raises UpstreamFault when no host answers, or a stream breaks off.
        """
        deadline = asyncio.get_running_loop().time() + within
        outcome: Outcome | None = None
        for endpoint in target.upstream.endpoints:
            self.attempts += 1
            answer = listener or ReadAnswer()
            outcome = await self._attempt(target, endpoint, credential, question, answer, deadline)
            self._services.metrics.attempt(target.upstream.name, endpoint.url, outcome.slug)
            if answer.given is not None:
                return answer.given
            if answer.started:
                if outcome.ok:
                    return 200, b""
                break
        assert outcome is not None  # an upstream has at least one endpoint
        raise client_error(outcome, CostClass.READ, model=target.model)

    async def _attempt(
        self,
        target: Target,
        endpoint: Endpoint,
        credential: Credential,
        question: Callable[[AttemptContext], Conversation],
        answer: ReadAnswer,
        deadline: float,
    ) -> Outcome:
        services = self._services
        ticket = Ticket(endpoint, target.model, 0.0)
        context = AttemptContext(
            target,
            endpoint,
            wall_seconds=services.clock.wall_ns() / 1_000_000_000,
            redact=services.log.redactor.words,
            redact_document=services.log.redactor.data,
        )
        attempt = Attempt(
            AttemptPlan(target, endpoint, credential, False, self.attempts, 0, False, ticket),
            question(context),
            services,
            caller=answer,
            waits=Waits(asyncio.get_running_loop(), services.clock),
            deadline=deadline,
        )
        return await attempt.run()


class TaskReading(Reading):
    """A question about a task."""

    async def ask(self, upstreams: Mapping[str, Upstream], record: TaskRecord) -> tuple[int, bytes]:
        """The status and the JSON that the upstream answers about the task, without what is ours.

        ``upstreams``: of the configuration now in force. Raises UpstreamFault when no host answers, or the key is gone.
        """
        upstream = upstreams.get(record.upstream)
        keys = upstream.credentials if upstream is not None else ()
        credential = next((one for one in keys if one.name == record.credential), None)
        if upstream is None or credential is None:
            message = "The upstream key that made this task is no longer configured."
            raise UpstreamFault(502, "upstream_error", "upstream_auth_failed", message)
        target = Target(upstream, record.model, "task")
        return await self.put(target, credential, partial(TaskRead, record.task_id))


class ReadAnswer:
    """Keeps what the conversation responds; the conversation asks for nothing else.

    ``started``: bytes of a stream have come.
    """

    def __init__(self) -> None:
        self.started = False
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

    def charge(self) -> str | None:
        raise NotImplementedError

    async def rest(self, seconds: float, wakeup: str | None) -> None:
        raise NotImplementedError
