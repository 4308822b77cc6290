"""All jobs of a gateway: which a re-send joins, what runs, and what is known of those that ended.

What runs, and the facts of what ended, are in memory; the truth is in the store, where a job stands before anything is
bought for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractContextManager
from typing import Any

from gateway.core.errors import GatewayError, StoreError
from gateway.core.exchange_record import ExchangeRecord
from gateway.core.jobs.job_state import end_state
from gateway.core.jobs.joining import job_to_join
from gateway.core.pricing.prices import format_usd
from gateway.exchange.exchange import Exchange
from gateway.exchange.services import Services
from gateway.exchange.stand_in import Ending, PiecesGone
from gateway.jobs.answers import AnswerFiles, answer_gone, headers_of
from gateway.jobs.job import Asked, Job, JobClient, lasting_pieces, new_job_id, taken_up
from gateway.jobs.job_errors import error_json
from gateway.server.request import STATUS_CLIENT_GONE
from gateway.stores.job_records import JobRecords, StoredResult, Unfinished

MOST_KNOWN = 100_000
"""Jobs that ended and are known; of more, the oldest are forgotten."""

SWEEP_EVERY = 60.0
"""Seconds between two looks for jobs that are kept no longer, at most."""

COST = b"x-gateway-cost-usd"

_NS = 1_000_000_000
_IMAGES = "/v1/images/"


class Jobs:
    """``records``: the store's. ``files``: the large answers. ``on_admitted``: is told of a job before anything is
    bought for it, and may refuse it; ``on_end``: of one that has ended, once its end is in the store.
    """

    def __init__(self, services: Services, records: JobRecords, files: AnswerFiles) -> None:
        self._services = services
        self._records = records
        self._files = files
        self._known: dict[str, Job] = {}
        self._of_key: dict[str, dict[bytes, list[Job]]] = {}
        self._running: set[str] = set()
        self._writing: dict[str, asyncio.Task[None]] = {}
        self.on_admitted: Callable[[Job], Awaitable[None]] = _nothing
        self.on_end: Callable[[Job], Awaitable[None]] = _nothing
        self._changed: set[str] = set()

    # What clients ask

    def join(self, asked: Asked) -> Job | None:
        """The job that a request joins; None if it is to be begun. One that has ended unknown tells so, once.

        Raises ``idempotency_key_reused``.
        """
        if not asked.marks:
            return None
        settings = self._services.snapshot
        mine = self._of_key.get(asked.key, {})
        marks = asked.marks
        names = (asked.fingerprint,) if marks.idempotency is None else (marks.idempotency,)
        jobs = [job for name in names for job in mine.get(name, ())]
        join_ns, keep_ns = int(settings.jobs_join * _NS), int(settings.jobs_keep * _NS)
        return job_to_join(
            jobs, asked.fingerprint, marks, self._services.clock.wall_ns(), join_ns=join_ns, keep_ns=keep_ns
        )

    def begin(self, asked: Asked, request_id: str, host: str | None, *, stream: bool, order: bytes = b"{}") -> Job:
        """A new job, for which an exchange is to be run. ``request_id``, ``host``: of the request that begins it.

        Between ``join`` and this nothing may be awaited, or two re-sends that come at once would both buy.
        """
        client = JobClient(request_id, asyncio.get_running_loop(), host=host)
        client.follows = stream
        job = Job(
            id=new_job_id(),
            key=asked.key,
            team=asked.team,
            route=asked.route,
            model=asked.model,
            fingerprint=asked.fingerprint,
            idempotency=asked.marks.idempotency,
            request_id=request_id,
            stream=stream,
            created_ns=self._services.clock.wall_ns(),
            order=order,
            client=client,
            write=self._admitted,
        )
        self._remember(job)
        return job

    def run(
        self,
        job: Job,
        exchange: Exchange,
        holding: AbstractContextManager[object],
        work: Coroutine[Any, Any, None] | None = None,
    ) -> None:
        """Let the job's exchange run. ``holding``: what is held until it has ended. ``work``: runs it, and what follows
        it; None where nothing does.
        """
        assert job.client is not None
        job.sent = lambda: exchange.sent
        job.running = self._services.tasks.spawn(self._run(job, exchange, holding, work or exchange.run()), "job")
        job.client.on_end(lambda: self._answered(job))

    def find(self, key: str, id: str) -> Job | None:
        """The key's job of that id, if it is known."""
        job = self._known.get(id)
        return job if job is not None and job.key == key else None

    def of_key(self, key: str) -> list[Job]:
        """The key's jobs that are known, the newest first."""
        return sorted((job for job in self._known.values() if job.key == key), key=lambda job: -job.created_ns)

    @property
    def running(self) -> int:
        """Jobs that have not ended."""
        return len(self._running)

    async def answer(self, job: Job) -> Ending:
        """How a job that has ended was answered; of a stream, the body is what a client gets that comes late.

        Raises GatewayError if its answer cannot be had any more.
        """
        if job.client is not None and (ending := job.client.ending) is not None:
            if not job.stream or ending.error is not None:
                return ending
            return Ending(ending.status, ending.headers, _lasting(job))
        if job.error is not None:
            return Ending(job.error.status, (), None, job.error)
        try:
            result = await self._records.result(job.id)
        except StoreError:
            raise answer_gone() from None
        if result is None:
            raise answer_gone()
        return Ending(result.status, headers_of(result), await self._files.read(result))

    def tell_unknown(self, job: Job) -> None:
        """Its client is told that what became of it is not known: a further re-send may buy."""
        if not job.told:
            job.told = True
            self._write_soon(job)

    def changed(self, job: Job) -> None:
        """What the store has of it is to be written anew."""
        if job.exchange:
            self._write_soon(job)

    async def forget(self, job: Job) -> None:
        """Forget a job, its answer included; one that is under way goes on, and none hears of it any more.

        Raises errors.ledger_unavailable().
        """
        job.forgotten = True
        if (writing := self._writing.get(job.id)) is not None:
            await asyncio.wait({writing})
        place = await self._records.forget(job.key, job.id)
        self._drop(job)
        await self._files.remove([] if place is None else [place])

    # Its life

    async def open(self) -> list[tuple[Job, Unfinished]]:
        """Take up what an earlier process left. Returns the jobs that were under way, to be brought to their end.

        Raises StoreError.
        """
        for stored in await self._records.since(self._kept_since()):
            self._remember(taken_up(stored))
        unfinished = await self._records.unfinished()
        return [(self._known[one.job.id], one) for one in unfinished if one.job.id in self._known]

    async def is_answered(self, job: Job) -> bool:
        """Whether the store has an answer to it, though it has not ended. Raises StoreError."""
        return await self._records.result(job.id) is not None

    def stand_in(self, job: Job, host: str | None) -> JobClient:
        """Make one for the clients of a job that is taken up."""
        job.client = JobClient(job.request_id, asyncio.get_running_loop(), host=host)
        return job.client

    def resolved(self, exchange: str, charged: int) -> None:
        """An exchange of unknown outcome turned out to be charged so much, in nano-dollars."""
        for job in [one for one in self._known.values() if one.exchange == exchange]:
            job.cost = format_usd(charged)
            self._write_soon(job)

    async def watch(self) -> None:
        """Let go of what is kept no longer, every now and then; for ever."""
        try:
            await self._files.tidy(await self._records.places(), self._kept_since())
        except (StoreError, OSError) as error:
            self._services.log.error("jobs_not_read", message=str(error))
        while True:
            await self.sweep()
            keep = self._services.snapshot.jobs_keep
            await asyncio.sleep(max(1.0, min(SWEEP_EVERY, keep / 10)))

    async def sweep(self) -> None:
        """Forget what is kept no longer."""
        before = self._kept_since()
        for job in [job for job in self._known.values() if job.ended_ns is not None and job.ended_ns < before]:
            self._drop(job)
        try:
            await self._files.remove(await self._records.sweep(before))
        except (GatewayError, OSError) as error:
            self._services.log.error("jobs_not_aged_out", message=str(error))

    def _kept_since(self) -> int:
        """When a job ended that is kept until now, in Unix nanoseconds."""
        settings = self._services.snapshot
        return self._services.clock.wall_ns() - int(max(settings.jobs_keep, settings.jobs_join) * _NS)

    async def written(self) -> None:
        """Return once what waits is written, or could not be."""
        while self._writing:
            await asyncio.wait({*self._writing.values()})

    def end(self, job: Job, ending: Ending, *, purchased: bool, unknown: bool = False) -> None:
        """A job that was taken up has ended like this. ``unknown``: it cannot be known what became of it."""
        job.error, job.purchased = ending.error, purchased
        job.become(end_state(completed=ending.error is None, unknown=unknown, bought=True, gone=False))
        job.ended_ns = self._services.clock.wall_ns()
        self._is_over(job)
        if job.client is not None:
            job.client.end(ending)
        self._write_soon(job)

    async def _run(
        self,
        job: Job,
        exchange: Exchange,
        holding: AbstractContextManager[object],
        work: Coroutine[Any, Any, None],
    ) -> None:
        try:
            with holding:
                await work
        finally:
            self._ended(job, exchange)

    async def _admitted(self, job: Job, record: ExchangeRecord) -> None:
        job.exchange, job.expected = record.id, record.expected
        job.become("running")
        await self._records.keep(job.stored(None))
        await self.on_admitted(job)

    def _answered(self, job: Job) -> None:
        """Its clients are answered; a task may still be followed."""
        if not job.over:
            self._write_soon(job)

    def _ended(self, job: Job, exchange: Exchange) -> None:
        client, record = job.client, exchange.account.record
        assert client is not None
        job.refusal = exchange.refusal
        ending = client.ending
        if ending is None:  # it was given up, or a mistake of ours
            ending = Ending(STATUS_CLIENT_GONE, error=None)
        job.sent = None
        error, job.cost = ending.error, _told_cost(ending) or record.cost
        if error is not None:  # it is kept for long: what it refers to is not
            error.__context__ = error.with_traceback(None).__cause__ = None
        cut = error is not None and error.code == "server_shutting_down"
        if cut and any(attempt.task_id for attempt in record.attempts):
            job.owner_left = True
            self._write_soon(job)  # it goes on after the restart
            client.end(ending)
            return
        completed = error is None and client.ending is not None
        spent = record.state == "settled" and (record.charged > 0 or record.upstream_cost > 0)
        unknown = record.state == "unknown" and exchange.sent and not completed
        gone = job.state == "cancelled" or client.ending is None
        job.error, job.purchased = error, completed or spent
        job.become(end_state(completed=completed, unknown=unknown, bought=exchange.sent, gone=gone))
        job.ended_ns = self._services.clock.wall_ns()
        self._is_over(job)
        client.end(ending)
        if job.exchange:
            self._write_soon(job)
        else:  # it was never let in: there is nothing to join
            self._drop(job)

    # The store

    def _write_soon(self, job: Job) -> None:
        self._changed.add(job.id)
        if job.id not in self._writing:
            self._writing[job.id] = self._services.tasks.spawn(self._write(job), "job-kept")

    async def _write(self, job: Job) -> None:
        try:
            while job.id in self._changed:
                self._changed.discard(job.id)
                if job.forgotten:
                    await self._announce(job)
                    return
                result = await self._result(job)
                error = None if job.error is None else error_json(job.error)
                await self._records.keep(job.stored(error), result)
                await self._announce(job)
                if job.over and job.id not in self._changed:
                    job.client = None if result is not None or job.error is not None else job.client
        except (GatewayError, OSError) as trouble:
            self._services.log.error("job_not_kept", job=job.id, message=str(trouble))
        finally:
            self._writing.pop(job.id, None)

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
            body = _lasting(job) if job.stream else ending.body
        except PiecesGone:
            return None
        return await self._files.keep(job.id, ending.status, ending.headers, body or b"")

    # The index

    def _remember(self, job: Job) -> None:
        self._known[job.id] = job
        if not job.over:
            self._running.add(job.id)
        mine = self._of_key.setdefault(job.key, {})
        for name in _names(job):
            mine.setdefault(name, []).append(job)
        if len(self._known) > MOST_KNOWN:
            oldest = next((one for one in self._known.values() if one.over), None)
            if oldest is not None:
                self._drop(oldest)

    def _is_over(self, job: Job) -> None:
        """It has ended: count it."""
        self._running.discard(job.id)
        if job.state in ("completed", "failed", "unknown", "cancelled"):
            self._services.metrics.job(job.state)

    def _drop(self, job: Job) -> None:
        self._running.discard(job.id)
        if self._known.pop(job.id, None) is None:
            return
        mine = self._of_key[job.key]
        for name in _names(job):
            jobs = mine[name]
            jobs.remove(job)
            if not jobs:
                del mine[name]
        if not mine:
            del self._of_key[job.key]


async def _nothing(_: Job) -> None:
    """None wants to know."""


def _names(job: Job) -> Iterable[bytes]:
    """What it is found by: its fingerprint, and its Idempotency-Key's digest."""
    return (job.fingerprint,) if job.idempotency is None else (job.fingerprint, job.idempotency)


def _lasting(job: Job) -> bytes:
    """Of a stream that is over, what a client gets that comes late. Raises PiecesGone."""
    assert job.client is not None
    return b"".join(lasting_pieces(job.client.pieces.kept(), pictures=job.route.startswith(_IMAGES)))


def _told_cost(ending: Ending) -> str | None:
    """What its clients are told that all of it costs, which may be more than its first exchange."""
    return next((value.decode() for name, value in ending.headers if name == COST), None)
