"""What becomes of jobs that an earlier process left under way.

The upstream knows what it was asked for by a task, also after a kill: such a job is followed to its end, and its
answer made as it would have been. Nothing is bought for that. Of a relay or a chat it cannot be known whether it was
bought: who asks again is told so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

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
from gateway.jobs.jobs import Jobs
from gateway.runtime.off_loop import off_loop
from gateway.stores.job_records import Unfinished
from gateway.stores.records import TaskRecord

ASK_AGAIN = 5.0
"""Seconds until an upstream is asked again after a task that it did not tell of."""

_TASKS = "/api/v1/task"


class Resuming:
    """Brings the jobs of an earlier process to their end. ``reconciler``: corrects what the books have of them."""

    def __init__(self, services: Services, jobs: Jobs, reconciler: Reconciler) -> None:
        self._services = services
        self._jobs = jobs
        self._reconciler = reconciler

    async def begin(self) -> None:
        """Take all of them up, before any client is served. Raises StoreError."""
        resumed = unknown = 0
        for job, left in await self._jobs.open():
            if await self._jobs.is_answered(job):
                self._jobs.end(job, Ending(200), purchased=True)
            elif left.state == "released":
                self._jobs.end(job, Ending(503, error=_not_bought()), purchased=False)
            elif not left.tasks:
                unknown += 1
                self._jobs.end(job, Ending(504, error=outcome_unknown()), purchased=False, unknown=True)
            else:
                resumed += 1
                self._resume(job, left)
        if resumed or unknown:
            self._services.log.info("jobs_taken_up", resumed=resumed, unknown=unknown)

    def _resume(self, job: Job, left: Unfinished) -> None:
        client = self._jobs.stand_in(job, None)
        client.follows = job.stream
        job.become("running")
        self._services.metrics.job("resumed")
        work = self._read_task(job, left.tasks[0]) if job.route == _TASKS else self._bring(job, client, left.tasks)
        job.running = self._services.tasks.spawn(self._run(job, work), "job-resumed")

    async def _run(self, job: Job, work: Awaitable[Ending]) -> None:
        try:
            ending = await work
        except (KeyError, TypeError, ValueError) as trouble:
            self._services.log.error("job_not_resumed", job=job.id, message=repr(trouble))
            ending = Ending(504, error=outcome_unknown())
        unknown = ending.error is not None and ending.error.code == "upstream_outcome_unknown"
        purchased = ending.error is None or ending.error.code == "result_unavailable"
        self._jobs.end(job, ending, purchased=purchased, unknown=unknown)
        self._services.log.info("job_resumed", job=job.id, key=job.key, model=job.model, state=job.state)

    # A task that a client ordered itself

    async def _read_task(self, job: Job, record: TaskRecord) -> Ending:
        """The task as the upstream tells of it now: its client wanted its id."""
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

    # Pictures

    async def _bring(self, job: Job, client: JobClient, tasks: Sequence[TaskRecord]) -> Ending:
        """Follow the tasks to their ends, and make the answer of the pictures of those that were done."""
        order = ResumedOrder.read(job.order, job.route, self._services.snapshot.image_orders.tools)
        client.host = order.host
        brought = await asyncio.gather(*(self._follow(job, client, order, task) for task in tasks))
        try:
            await self._reconciler.look_at(job.exchange)
        except GatewayError as trouble:
            self._services.log.warning("reconciling", exchange=job.exchange, code=trouble.code)
        served = [talk for talk, outcome in brought if talk is not None and outcome.ok]
        headers = _made_by(tasks[0], len(tasks))
        if not served:
            return Ending(504, headers, error=_why(job, [outcome for _, outcome in brought]))
        cost = job.cost
        body = await off_loop(order.conclude, served, lambda: cost)
        if body is not None and job.stream:
            client.add(body)
            body = None
        told: Headers = () if cost is None else ((b"x-gateway-cost-usd", cost.encode()),)
        return Ending(200, (*headers, *told), body)

    async def _follow(
        self, job: Job, client: JobClient, order: ResumedOrder, record: TaskRecord
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
            caller=_Caller(services, job, client),
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

    def __init__(self, services: Services, job: Job, client: JobClient) -> None:
        self._services = services
        self._job = job
        self._client = client
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
            return await self._services.images.keep(data, self._client.host, self._job.key)
        except ResultUnavailable as trouble:
            self._services.log.error("image_not_kept", request_id=self._client.request_id, problem=str(trouble))
            raise

    async def record(self, task_id: str) -> None:
        """It is in the books already."""

    async def respond(self, status: int, body: bytes) -> None:
        raise NotImplementedError

    def charge(self) -> str | None:
        return self._job.cost

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


def _not_bought() -> GatewayError:
    return UpstreamFault(
        503,
        "service_unavailable_error",
        "server_shutting_down",
        "The gateway was stopped before this request was bought.",
    )
