"""Follows tasks that were made for a job, and makes the answer of what they brought. Nothing is bought for that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.core.errors import GatewayError, ResultUnavailable, UpstreamFault
from gateway.core.headers import Headers
from gateway.core.outcomes.table import client_error
from gateway.core.routing.health import Ticket
from gateway.core.routing.route_table import AttemptPlan
from gateway.core.types import ASYNCHRONOUS, CostClass, Credential, Outcome, Phase, Target
from gateway.exchange.attempt import Attempt
from gateway.exchange.reconciler import Reconciler
from gateway.exchange.services import Services
from gateway.exchange.stand_in import Ending
from gateway.exchange.task_lookup import TaskReading
from gateway.exchange.timers import Waits
from gateway.images.resumed import Brings, ResumedOrder
from gateway.jobs.job import Job, JobClient
from gateway.jobs.job_errors import outcome_unknown
from gateway.runtime.off_loop import off_loop
from gateway.stores.records import TaskRecord

ASK_AGAIN = 5.0
"""Seconds until an upstream is asked again after a task that it did not tell of."""


@dataclass(frozen=True, slots=True)
class Bought:
    """What a job has bought by tasks. ``order``: what is remembered of it. ``exchange``: by which it was bought.
    ``charge``: what its key is charged, in US dollars, once that is known.
    """

    route: str
    order: bytes
    exchange: str
    tasks: Sequence[TaskRecord]
    charge: Callable[[], str | None]


class TaskFollower:
    """``reconciler``: corrects what the books have of what is followed."""

    def __init__(self, services: Services, reconciler: Reconciler) -> None:
        self._services = services
        self._reconciler = reconciler

    async def is_known(self, record: TaskRecord) -> bool:
        """Whether the upstream tells of the task now."""
        try:
            status, _ = await TaskReading(self._services).ask(self._services.snapshot.upstreams, record)
        except UpstreamFault:
            return False
        return status == 200

    async def read(self, record: TaskRecord) -> Ending:
        """A task that a client ordered itself, as the upstream tells of it now: its client wanted its id."""
        upstream, loop = self._services.snapshot.upstreams.get(record.upstream), asyncio.get_running_loop()
        deadline = loop.time() + (0.0 if upstream is None else upstream.tasks.deadline)
        while loop.time() < deadline:
            try:
                status, body = await TaskReading(self._services).ask(self._services.snapshot.upstreams, record)
            except UpstreamFault as fault:
                if fault.code == "upstream_auth_failed":
                    return Ending(504, error=outcome_unknown())
            else:
                if status == 200:
                    return Ending(200, _made_by(record, 1), body)
            await asyncio.sleep(ASK_AGAIN)
        return Ending(504, error=outcome_unknown())

    async def bring(self, job: Job, client: JobClient, bought: Bought) -> tuple[Ending, ResumedOrder]:
        """Follow the tasks to their ends, and make the answer of the pictures of those that were done: whole, or the
        end of a stream, without what its clients are told that it costs.
        """
        order = ResumedOrder.read(bought.order, bought.route, self._services.snapshot.image_orders.tools)
        client.host = order.host
        brought = await asyncio.gather(*(self._follow(job, client, order, bought, task) for task in bought.tasks))
        try:
            await self._reconciler.look_at(bought.exchange)
        except GatewayError as trouble:
            self._services.log.warning("reconciling", exchange=bought.exchange, code=trouble.code)
        served = [talk for talk, outcome in brought if talk is not None and outcome.ok]
        headers = _made_by(bought.tasks[0], len(bought.tasks))
        if not served:
            return Ending(504, headers, error=_why(job, [outcome for _, outcome in brought])), order
        charged = bought.charge()
        body = await off_loop(order.conclude, served, lambda: charged)
        return Ending(200, headers, body), order

    async def _follow(
        self, job: Job, client: JobClient, order: ResumedOrder, bought: Bought, record: TaskRecord
    ) -> tuple[Brings | None, Outcome]:
        """Follow one task; how that ended, and the conversation that has its pictures."""
        place = self._place(record)
        if place is None:
            return None, Outcome("task_poll", Phase.UNKNOWN, detail="the upstream key that made the task is gone")
        target, credential = place
        endpoint = target.upstream.endpoints[0]
        services, loop = self._services, client.loop
        conversation = order.conversation(record.task_id, target, endpoint)
        conversation.asked_with = credential.name
        plan = AttemptPlan(target, endpoint, credential, False, 1, 0, False, Ticket(endpoint, target.model, 0.0))
        attempt = Attempt(
            plan,
            conversation,
            services,
            caller=_Caller(services, job.key, client, bought.charge),
            waits=Waits(loop, services.clock),
            deadline=loop.time() + target.upstream.tasks.deadline,
        )
        outcome = await attempt.run()
        services.metrics.attempt(target.upstream.name, endpoint.url, outcome.slug)
        return conversation, outcome

    def _place(self, record: TaskRecord) -> tuple[Target, Credential] | None:
        """What the task was sent to, and the key that made it; None if either is no longer configured."""
        snapshot = self._services.snapshot
        upstream = snapshot.upstreams.get(record.upstream)
        if upstream is None:
            return None
        credential = next((one for one in upstream.credentials if one.name == record.credential), None)
        route = snapshot.routes.find(record.model)
        targets = () if route is None else route.targets
        tasks = (one for one in targets if one.operation in ASYNCHRONOUS and one.upstream.name == record.upstream)
        target = next(tasks, Target(upstream, record.model, "task"))
        return None if credential is None else (target, credential)


class _Caller:
    """Whose attempt the following of a task is. Implements ``exchange.attempt.Caller``."""

    def __init__(self, services: Services, key: str, client: JobClient, charge: Callable[[], str | None]) -> None:
        self._services = services
        self._key = key
        self._client = client
        self._charge = charge
        self._allowance = services.images.allowance()

    @property
    def started(self) -> bool:
        return self._client.started

    async def emit(self, data: bytes, meaningful: bool) -> None:
        self._client.add(data)

    def emit_now(self, data: bytes) -> bool:
        self._client.add(data)
        return True

    async def fetch(self, url: str) -> bytes:
        return await self._services.images.fetch(url, self._allowance)

    async def keep(self, data: bytes) -> str:
        try:
            return await self._services.images.keep(data, self._client.host, self._key)
        except ResultUnavailable as trouble:
            self._services.log.error("image_not_kept", request_id=self._client.request_id, problem=str(trouble))
            raise

    async def record(self, task_id: str) -> None:
        """It is in the books already."""

    async def respond(self, status: int, body: bytes) -> None:
        raise NotImplementedError

    def charge(self) -> str | None:
        return self._charge()

    async def rest(self, seconds: float, wakeup: str | None) -> None:
        await asyncio.sleep(seconds)


def _why(job: Job, outcomes: Sequence[Outcome]) -> GatewayError:
    """What the clients of a job are told that brought nothing. One that failed cost nothing."""
    bought = next((one for one in outcomes if one.slug == "asset_unavailable"), None)
    failed = next((one for one in outcomes if one.phase is Phase.REJECTED), None)
    if bought is not None:
        return client_error(bought, CostClass.PAID, model=job.model)
    if failed is not None and all(one.phase is Phase.REJECTED for one in outcomes):
        return client_error(failed, CostClass.PAID, model=job.model)
    return outcome_unknown()


def _made_by(record: TaskRecord, attempts: int) -> Headers:
    return (b"x-gateway-upstream", record.upstream.encode()), (b"x-gateway-attempts", b"%d" % attempts)
