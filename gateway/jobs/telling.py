"""What is told of a job: to its client (``/v1/jobs``), and to the webhooks that wait for its end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC
from typing import Any

import orjson

from gateway.core.errors import ClientError, GatewayError, StoreError
from gateway.core.headers import Headers
from gateway.core.jobs.job_state import JobState
from gateway.core.pricing.calendar import iso_time
from gateway.jobs.deliveries import Deliveries
from gateway.jobs.job import Job
from gateway.jobs.job_errors import outcome_unknown
from gateway.jobs.jobs import Jobs
from gateway.runtime.ports import Clock
from gateway.server.client import Client
from gateway.wire.job_object import JobFacts, JobStatus, job_message, job_object, message_type

STATUS: dict[JobState, JobStatus] = {
    "reserved": "queued",
    "running": "in_progress",
    "completed": "completed",
    "failed": "failed",
    "unknown": "failed",
    "cancelled": "cancelled",
}
"""A job's state, in the words that clients are told."""

JOBS_PATH = "/v1/jobs"

ACCEPTED = 202

OVERDUE_EVERY = 60.0
"""Seconds between two looks for messages that none has told."""

_DATA = b"data: "
_NS = 1_000_000_000


class JobTelling:
    """Makes what is told, and lets webhooks know."""

    def __init__(self, jobs: Jobs, deliveries: Deliveries, clock: Clock) -> None:
        self._jobs = jobs
        self._clock = clock
        self.deliveries = deliveries
        jobs.on_admitted, jobs.keeping.on_end = self._admitted, self._ended

    async def facts(self, job: Job, *, result: bool = True) -> JobFacts:
        """What a client is told of a job now. ``result``: with its answer; an error says that it cannot be had."""
        status, error, body = _status(job), job.error, None
        if job.state == "unknown" and error is None:
            error = outcome_unknown()
        if result and (status == "completed" or (status == "failed" and error is None)):
            try:
                body = _document(job, (await self._jobs.answer(job)).body)
            except GatewayError as gone:
                error = gone
        return JobFacts(
            id=job.id,
            status=status,
            created_ns=job.created_ns,
            model=job.model,
            progress=self._progress(job),
            cost_usd=_cost(job),
            result=body,
            error=None if error is None or not job.over else _error(error),
        )

    async def answer(self, client: Client, job: Job, status: int, headers: Headers = ()) -> None:
        """Answer with the job. A 202 says where it is to be found, and that it is what was preferred."""
        own = [(b"x-gateway-job", job.id.encode()), (b"cache-control", b"no-store")]
        if status == ACCEPTED:
            own += [(b"location", f"{JOBS_PATH}/{job.id}".encode()), (b"preference-applied", b"respond-async")]
        if job.expected and not job.over:
            own.append((b"x-gateway-expected-seconds", b"%.4g" % job.expected))
        await client.respond(status, (*headers, *own), job_object(await self.facts(job)))

    async def expect(self, job: Job, webhook: str) -> None:
        """A webhook waits for the end of a job that another request began. Raises ledger_unavailable."""
        if webhook in job.webhooks:
            return
        job.webhooks.add(webhook)
        if job.exchange or job.foreign:
            await self.deliveries.expect(webhook, job.id, job.key)
            await self._jobs.refreshed(job)
        if job.over:
            await self._ended(job)

    async def restore(self) -> None:
        """Take up which webhooks wait, and tell them of jobs that ended while this was not noticed.

        Raises StoreError.
        """
        for delivery in await self.deliveries.expected():
            job = await self._jobs.find(delivery.key, delivery.job)
            if job is None:
                await self.deliveries.forgotten(delivery)
                continue
            job.webhooks.add(delivery.webhook)
            if job.over:
                await self._ended(job)

    async def watch(self) -> None:
        """Tell of jobs that ended at gateways which could not tell of it any more; for ever."""
        while True:
            await asyncio.sleep(OVERDUE_EVERY)
            with suppress(GatewayError, StoreError):
                await self.restore()

    async def _admitted(self, job: Job) -> None:
        for webhook in sorted(job.webhooks):
            await self.deliveries.expect(webhook, job.id, job.key)

    async def _ended(self, job: Job) -> None:
        if not job.webhooks and not await self.deliveries.awaited(job.id):
            return
        facts = await self.facts(job)
        message = job_message(facts, iso_time(self._clock.wall_ns(), UTC))
        await self.deliveries.job_ended(job.id, message_type(facts.status), message)

    def _progress(self, job: Job) -> float:
        if job.over or not job.expected:
            return 0.0
        return (self._clock.wall_ns() - job.created_ns) / _NS / job.expected


def job_not_found(param: str = "job_id") -> ClientError:
    """404, the same for one that does not exist and for another key's."""
    return ClientError(
        404,
        "invalid_request_error",
        "job_not_found",
        "There is no such job: this key has none of this id here, or it is kept no longer.",
        param=param,
    )


def _status(job: Job) -> JobStatus:
    """In the words that clients are told. As long as nothing was sent for it, it waits for its turn and can still be
    cancelled.
    """
    return "queued" if job.cancellable else STATUS[job.state]


def _cost(job: Job) -> float | None:
    """What its key is charged: known once it has ended, if at all."""
    if not job.over or job.state == "unknown":
        return None
    if job.cost is None:
        return None if job.purchased else 0.0
    return float(job.cost)


def _error(error: GatewayError) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(error.body())["error"]
    return found


def _document(job: Job, body: bytes | None) -> bytes | None:
    """The answer as one document; of a stream, an array of its events."""
    if body is None or not job.stream:
        return body
    events = [line.removeprefix(_DATA) for line in body.splitlines() if line.startswith(_DATA)]
    return b'{"events":[' + b",".join(event for event in events if event.startswith(b"{")) + b"]}"
