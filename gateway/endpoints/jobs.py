"""``/v1/jobs``: the paid work of a virtual key, that runs or has ended.

``GET /v1/jobs?limit=&after=``, the newest first; ``GET /v1/jobs/{job_id}``, with ``wait=30`` once it has ended or after
so many seconds; ``DELETE`` cancels what costs nothing yet, and forgets the rest. Another key's job is not there.
"""

from __future__ import annotations

import asyncio

from gateway.endpoints.admission import Admission
from gateway.jobs.job import Job
from gateway.jobs.telling import JOBS_PATH, job_not_found
from gateway.jobs.waiting import Waiting
from gateway.server.client import Client
from gateway.server.dispatch import OwnRoutes
from gateway.server.query import query_of
from gateway.server.request import Request
from gateway.wire.field_checks import wrong_value
from gateway.wire.job_object import job_deleted, job_page

JOB_PATH = JOBS_PATH + "/{job_id}"

PAGE, MOST_OF_A_PAGE = 20, 100

LONGEST_WAIT = 60.0
"""Seconds that one request waits at most, however long it asks for: what is between need not stand more."""

_LOOK_EVERY = 1.0
"""Seconds between two looks whether the gateway is being stopped."""

_NO_ATTEMPT = ((b"x-gateway-attempts", b"0"),)


class JobRoutes:
    """The handlers of these routes."""

    def __init__(self, admission: Admission, waiting: Waiting) -> None:
        self._admission = admission
        self._jobs = waiting.jobs
        self._telling = waiting.telling

    @property
    def routes(self) -> OwnRoutes:
        return {JOBS_PATH: {"GET": self.page}, JOB_PATH: {"GET": self.retrieve, "DELETE": self.delete}}

    async def page(self, request: Request, client: Client) -> None:
        """A page of the key's jobs, without their results."""
        key = self._admission.authenticate(request).name
        query = query_of(request)
        limit = _limit(query.get("limit"))
        after = query.get("after")
        if after is not None and ((known := await self._jobs.find(key, after)) is None or not known.exchange):
            raise job_not_found("after")
        jobs = await self._jobs.page(key, limit + 1, after)
        page = [await self._telling.facts(job, result=False) for job in jobs[:limit]]
        await client.respond(200, _NO_ATTEMPT, job_page(page, more=len(jobs) > limit))

    async def retrieve(self, request: Request, client: Client) -> None:
        """The job, with its result once it has one."""
        job = await self._asked(request)
        await self._jobs.ask_after(job)
        await self._wait(job, client, _seconds(query_of(request).get("wait")))
        await self._telling.answer(client, job, 200, _NO_ATTEMPT)

    async def delete(self, request: Request, client: Client) -> None:
        """Cancel the job if nothing was sent for it yet, else forget it: what is under way is paid for and goes on."""
        job = await self._asked(request)
        if await self._jobs.cancel(job):
            await self._telling.answer(client, job, 200, _NO_ATTEMPT)
        else:
            await client.respond(200, _NO_ATTEMPT, job_deleted(job.id))

    async def _asked(self, request: Request) -> Job:
        key = self._admission.authenticate(request).name
        job = await self._jobs.find(key, request.params["job_id"])
        if job is None or not job.exchange:
            raise job_not_found()
        request.model = job.model
        return job

    async def _wait(self, job: Job, client: Client, seconds: float) -> None:
        """Return once the job has ended, after so long, or when there is no more use in it."""
        if job.over or not seconds:
            return
        gate, loop = self._admission.services.gate, client.loop
        deadline = loop.time() + seconds
        left = asyncio.Event()
        client.watch(left.set)
        ending = self._admission.services.tasks.spawn(job.finished.wait(), "job-wait")
        leaving = self._admission.services.tasks.spawn(left.wait(), "job-wait")
        try:
            while not (ending.done() or leaving.done() or gate.draining) and (rest := deadline - loop.time()) > 0:
                waits = {ending, leaving}
                await asyncio.wait(waits, timeout=min(rest, _LOOK_EVERY), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
            leaving.cancel()


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= number <= MOST_OF_A_PAGE:
        raise wrong_value("limit", f"it must be at least 1 and at most {MOST_OF_A_PAGE}")
    return number


def _seconds(text: str | None) -> float:
    """How long to wait: seconds, with or without their ``s``; no more than is allowed."""
    if text is None:
        return 0.0
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise wrong_value("wait", "it must be a number of seconds")
    return min(seconds, LONGEST_WAIT)
