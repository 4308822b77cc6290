"""What becomes of jobs that were left under way: by an earlier process, or by another gateway that is dead.

The upstream knows what it was asked for by a task, also after a kill: such a job is followed to its end, and its
answer made as it would have been. Nothing is bought for that. Of a relay or a chat it cannot be known whether it was
bought: who asks again is told so. A response of which some pictures are followed has the others marked as failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

import orjson

from gateway.core.errors import ClientError, GatewayError, StoreError
from gateway.core.headers import Headers
from gateway.core.pricing.prices import format_usd
from gateway.exchange.reconciler import Reconciler
from gateway.exchange.services import Services
from gateway.exchange.stand_in import Ending
from gateway.jobs.following import Bought, TaskFollower
from gateway.jobs.job import Job, JobClient
from gateway.jobs.job_errors import not_bought, outcome_unknown
from gateway.jobs.jobs import COST, Jobs
from gateway.jobs.response_memory import is_behind, pictures_in, response_in
from gateway.responses.kept import KeptResponses
from gateway.runtime.off_loop import off_loop
from gateway.stores.job_records import Traces, Unfinished
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.responses.answer import as_stored, error_object, made_picture_item
from gateway.wire.responses.pictures import PicturesTotal, made_item
from gateway.wire.responses.presenter import told_in_short

_TASKS = "/api/v1/task"
_GENERATIONS = "/v1/images/generations"


class Resuming:
    """Brings jobs to their end that were left. ``reconciler``: corrects what the books have of them. ``responses``:
    where those lie that such jobs make.
    """

    def __init__(self, services: Services, jobs: Jobs, reconciler: Reconciler, responses: KeptResponses) -> None:
        self._services = services
        self._jobs = jobs
        self._responses = responses
        self._follower = TaskFollower(services, reconciler)
        jobs.on_doubt, jobs.on_left = self._look_again, self.take_up

    async def begin(self) -> None:
        """Take up all that an earlier process left, before any client is served. Raises StoreError."""
        await self.take_up(await self._jobs.open())

    async def take_up(self, found: Sequence[tuple[Job, Unfinished]]) -> None:
        """Take these up. Raises StoreError."""
        resumed = unknown = 0
        for job, left in found:
            pictures = await self._pictures(job)
            answered = await self._jobs.is_answered(job)
            if answered and not is_behind(job.order):
                self._jobs.end(job, Ending(200), purchased=True)
            elif not pictures and (left.state == "released" or not job.exchange):
                self._jobs.end(job, Ending(503, error=not_bought()), purchased=False)
            elif not left.tasks and not any(traces.tasks for traces in pictures.values()):
                unknown += 1
                self._jobs.end(job, Ending(504, error=outcome_unknown()), purchased=False, unknown=True)
            else:
                resumed += 1
                self._resume(job, left.tasks, pictures, answered=answered)
        if resumed or unknown:
            self._services.log.info("jobs_taken_up", resumed=resumed, unknown=unknown)

    async def _pictures(self, job: Job) -> Mapping[int, Traces]:
        """What the books know of the pictures of the response that the job makes, by their places."""
        known = pictures_in(job.order)
        exchanges = [picture["exchange"] for picture in known.values()]
        job.pieces = dict.fromkeys(exchanges)
        return dict(zip(known, await self._jobs.traces(exchanges), strict=True)) if exchanges else {}

    async def _look_again(self, job: Job) -> None:
        """A client asks of a job of unknown outcome: it runs again if one of its tasks is known to its upstream."""
        if job.running is not None and not job.running.done():
            return
        try:
            [traces] = await self._jobs.traces([job.exchange])
            pictures = await self._pictures(job)
        except StoreError:
            return
        tasks = [*traces.tasks, *(task for piece in pictures.values() for task in piece.tasks)]
        for task in tasks:
            if await self._follower.is_known(task) and job.state == "unknown" and await self._jobs.reclaim(job):
                self._resume(job, traces.tasks, pictures, answered=await self._jobs.is_answered(job))
                return

    def _resume(self, job: Job, tasks: Sequence[Any], pictures: Mapping[int, Traces], *, answered: bool) -> None:
        client = JobClient(job.request_id, asyncio.get_running_loop()) if answered else self._jobs.stand_in(job, None)
        client.follows = job.stream
        self._jobs.runs_again(job)
        if job.route == _TASKS:
            work = self._follower.read(tasks[0])
        elif pictures:
            work = self._bring_pictures(job, client, pictures)
        else:
            work = self._bring(job, client, tasks)
        job.running = self._services.tasks.spawn(self._run(job, work), "job-resumed")

    async def _run(self, job: Job, work: Awaitable[Ending]) -> None:
        id = response_in(job.order)
        self._responses.under_way.add(id)
        try:
            ending = await work
        except (KeyError, TypeError, ValueError) as trouble:
            self._services.log.error("job_not_resumed", job=job.id, message=repr(trouble))
            ending = Ending(504, error=outcome_unknown())
        finally:
            self._responses.under_way.discard(id)
        unknown = ending.error is not None and ending.error.code == "upstream_outcome_unknown"
        purchased = ending.error is None or ending.error.code == "result_unavailable"
        self._jobs.end(job, ending, purchased=purchased, unknown=unknown)
        self._services.log.info("job_resumed", job=job.id, key=job.key, model=job.model, state=job.state)

    # Pictures that were ordered as such, or by a chat

    async def _bring(self, job: Job, client: JobClient, tasks: Sequence[Any]) -> Ending:
        bought = Bought(job.route, job.order, job.exchange, tasks, lambda: job.cost)
        ending, order = await self._follower.bring(job, client, bought)
        if order.answer is not None and (response := order.answer.response) is not None:
            await self._keep(job, response)
        if ending.error is not None:
            return ending
        if ending.body is not None and job.stream:
            client.add(ending.body)
            ending = Ending(200, ending.headers)
        return Ending(200, (*ending.headers, *_cost_header(job.cost)), ending.body)

    # Pictures that a response ordered

    async def _bring_pictures(self, job: Job, client: JobClient, pictures: Mapping[int, Traces]) -> Ending:
        """Bring what can be had of them, and end the response."""
        known = orjson.loads(job.order)
        response, total = known["response"], PicturesTotal()
        kept = await self._kept(job, response["id"])
        headers: Headers = ()
        for place, memory in pictures_in(job.order).items():
            item = kept.get(place)
            if item is None or not item.get("result"):
                item, headers = await self._picture(job, client, memory, pictures[place], total, headers)
            else:
                total.add(None, None)
            response["output"][place] = {**response["output"][place], **item}
        output = [_not_made(item) for item in response["output"]]
        chat = None if known["cost"] is None else AnswerCost(known["cost"]["usd"])
        cost, usage = total.with_chat(chat), response["usage"]
        if cost is not None and usage is not None:
            usage = cost.in_usage(usage)
        done = {"status": "completed", "completed_at": self._services.clock.wall_ns() // 1_000_000_000}
        response = {**response, **done, "output": output, "usage": usage, **total.more}
        body = await off_loop(as_stored, response)
        await self._keep(job, response)
        job.cost = None if cost is None else cost.usd
        told = (*headers, *_cost_header(job.cost))
        if job.stream:
            client.add(told_in_short(response))
            return Ending(200, told)
        return Ending(200, told, body)

    async def _picture(
        self,
        job: Job,
        client: JobClient,
        memory: Mapping[str, Any],
        traces: Traces,
        total: PicturesTotal,
        headers: Headers,
    ) -> tuple[dict[str, Any], Headers]:
        """What the item of one picture says at its end."""
        exchange, action = memory["exchange"], {"action": memory["action"]}
        error: GatewayError = outcome_unknown() if traces.state not in ("released", "") else not_bought()
        if traces.tasks:
            sink = JobClient(job.request_id, client.loop)
            order, route = orjson.dumps({**memory["order"], "stream": False}), _GENERATIONS
            bought = Bought(route, order, exchange, traces.tasks, lambda: _charged(job, exchange))
            ending, _ = await self._follower.bring(job, sink, bought)
            headers = ending.headers
            document = orjson.loads(ending.body) if ending.body else {}
            if ending.error is None and (made := made_item(document)) is not None:
                total.add(_charged(job, exchange), document.get("usage"))
                return {**made, "status": "completed", **action}, headers
            error = ending.error or error
        return {"status": "failed", "error": error_object(error), **action}, headers

    async def _kept(self, job: Job, id: str) -> Mapping[int, dict[str, Any]]:
        """The items of the response as the store has it, by their places."""
        try:
            record = await self._responses.find(job.key, id)
        except GatewayError:
            return {}
        return dict(enumerate(orjson.loads(record.answer)["output"]))

    async def _keep(self, job: Job, response: Mapping[str, Any]) -> None:
        """Keep how a response ended, if it is one that is kept."""
        try:
            await self._responses.end(job.key, response)
        except ClientError:
            return  # it was not to be kept
        except GatewayError as trouble:
            self._services.log.error("response_not_kept", job=job.id, code=trouble.code)


def _not_made(item: dict[str, Any]) -> dict[str, Any]:
    """A picture that was ordered, and for which nothing was bought yet."""
    if item.get("type") != "image_generation_call" or item.get("status") in ("completed", "failed"):
        return item
    return made_picture_item(item["id"], "failed", {"error": error_object(not_bought())})


def _charged(job: Job, exchange: str) -> str | None:
    charged = job.pieces.get(exchange)
    return None if charged is None else format_usd(charged)


def _cost_header(cost: str | None) -> Headers:
    return () if cost is None else ((COST, cost.encode()),)
