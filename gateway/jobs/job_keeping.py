"""Jobs on their way to the store: their states and answers, and who is told of an end once it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.core.errors import GatewayError
from gateway.exchange.services import Services
from gateway.exchange.stand_in import PiecesGone
from gateway.jobs.answers import AnswerFiles
from gateway.jobs.job import Job, lasting_pieces
from gateway.jobs.job_errors import error_json, not_bought
from gateway.stores.job_records import JobRecords, StoredJob, StoredResult

WRITE_AGAIN = 1.0
"""Seconds until what a shared store did not take is written again: other gateways go by what it says."""

_IMAGES = "/v1/images/"

Told = Callable[[Job], Awaitable[None]]


class JobKeeping:
    """``on_end``: is told of a job that has ended, once its end is in the store. ``on_kept``: of every job that was
    written, and is to be written no more for now. ``insists``: what the store does not take is written again.
    ``admit``: writes one for which something is about to be bought; False if that may not be.
    """

    def __init__(self, services: Services, records: JobRecords, files: AnswerFiles, *, insists: bool = False) -> None:
        self._services = services
        self._records = records
        self._files = files
        self.insists = insists
        self._changed: set[str] = set()
        self._writing: dict[str, asyncio.Task[None]] = {}
        self.on_end: Told = _nothing
        self.on_kept: Callable[[Job], None] = lambda _: None
        self.admit: Callable[[StoredJob], Awaitable[bool]] = self._keep

    def soon(self, job: Job) -> None:
        """Write it, as it is then."""
        self._changed.add(job.id)
        if job.id not in self._writing:
            self._writing[job.id] = self._services.tasks.spawn(self._write(job), "job-kept")

    async def now(self, job: Job) -> None:
        """Return once the store has it as it is, without an answer: something is about to be bought for it. Raises
        errors.ledger_unavailable(), and ``not_bought`` if another gateway has taken it over.
        """
        if not await self.admit(job.stored(None)):
            raise not_bought()

    async def _keep(self, job: StoredJob) -> bool:
        await self._records.keep(job)
        return True

    async def settled(self, job: Job) -> None:
        """Return once what waits of this job is written, or could not be."""
        if (writing := self._writing.get(job.id)) is not None:
            await asyncio.wait({writing})

    async def written(self) -> None:
        """Return once what waits is written, or could not be."""
        while self._writing:
            await asyncio.wait({*self._writing.values()})

    async def _write(self, job: Job) -> None:
        failed = False
        try:
            while job.id in self._changed:
                self._changed.discard(job.id)
                if job.forgotten:
                    await self._announce(job)
                    return
                failed = not await self._write_once(job, told=failed)
        finally:
            self._writing.pop(job.id, None)

    async def _write_once(self, job: Job, *, told: bool) -> bool:
        """Whether the store took it. ``told``: the log says already that it does not."""
        try:
            result = await self._result(job)
            error = None if job.error is None else error_json(job.error)
            await self._records.keep(job.stored(error), result)
            await self._announce(job)
        except (GatewayError, OSError) as trouble:
            if not told:
                self._services.log.error("job_not_kept", job=job.id, message=str(trouble))
            if self.insists and not self._services.gate.draining and not is_being_cancelled():
                await asyncio.sleep(WRITE_AGAIN)
                self._changed.add(job.id)
            return False
        if job.id not in self._changed:
            if job.over and (result is not None or job.error is not None):
                job.client = None
            self.on_kept(job)
        return True

    async def _announce(self, job: Job) -> None:
        if job.over and not job.announced:
            job.announced = True
            await self.on_end(job)

    async def _result(self, job: Job) -> StoredResult | None:
        """The answer as it is kept; None if there is none, or it is kept already."""
        client = job.client
        ending = None if client is None else client.ending
        if ending is None or ending.error is not None or job.state == "cancelled":
            return None
        try:
            body = lasting(job) if job.stream else ending.body
        except PiecesGone:
            return None
        return await self._files.keep(job.id, ending.status, ending.headers, body or b"")


def is_being_cancelled() -> bool:
    """Whether the task that runs was cancelled: a driver may have told that as an error of its own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def lasting(job: Job) -> bytes:
    """Of a stream that is over, what a client gets that comes late. Raises PiecesGone."""
    assert job.client is not None
    return b"".join(lasting_pieces(job.client.pieces.kept(), pictures=job.route.startswith(_IMAGES)))


async def _nothing(_: Job) -> None:
    """None wants to know."""
