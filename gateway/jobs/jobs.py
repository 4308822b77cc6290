"""All jobs of a gateway: which a re-send joins, what runs, and what is known of those that ended.

What runs, and the facts of what ended, are in memory; the truth is in the store, where a job stands before anything is
bought for it. Where several gateways share the store, that one decides what is joined (sharing.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from typing import Any

from gateway.core.errors import GatewayError, StoreError
from gateway.core.exchange_record import ExchangeRecord
from gateway.core.jobs.job_state import end_state
from gateway.core.jobs.joining import job_to_join
from gateway.core.pricing.prices import format_usd
from gateway.exchange.exchange import Exchange
from gateway.exchange.services import Services
from gateway.exchange.stand_in import Ending
from gateway.jobs.answers import AnswerFiles, answer_gone, headers_of
from gateway.jobs.job import Asked, Job, JobClient, new_job_id, taken_up
from gateway.jobs.job_index import JobIndex
from gateway.jobs.job_keeping import JobKeeping, lasting
from gateway.server.request import STATUS_CLIENT_GONE
from gateway.stores.job_records import JobRecords, Traces, Unfinished

SWEEP_EVERY = 60.0
"""Seconds between two looks for jobs that are kept no longer, at most."""

COST = b"x-gateway-cost-usd"

_NS = 1_000_000_000


class Jobs:
    """``records``: the store's. ``files``: the large answers. ``on_admitted``: is told of a job before anything is
    bought for it, and may refuse it. ``on_doubt``: is given a job of unknown outcome of which a client asks, and runs
    it again if its task is found. ``on_left``: is given those that another gateway left under way. ``keeping``: writes
    them. ``insists``: others go by what the store says, so it must have all of it.
    """

    def __init__(self, services: Services, records: JobRecords, files: AnswerFiles, *, insists: bool = False) -> None:
        self._services = services
        self._records = records
        self._files = files
        self._index = JobIndex()
        self._insists = insists
        self.keeping = JobKeeping(services, records, files, insists=insists)
        self.on_admitted: Callable[[Job], Awaitable[None]] = _nothing
        self.on_doubt: Callable[[Job], Awaitable[None]] = _nothing
        self.on_left: Callable[[Sequence[tuple[Job, Unfinished]]], Awaitable[None]] = _nothing

    # What clients ask

    async def join(self, asked: Asked, request_id: str) -> Job | None:
        """The job that a request joins, and is to be ``left``; None if it is to be begun. One that has ended unknown
        tells so, once.

        Raises ``idempotency_key_reused``.
        """
        return self._to_join(asked)

    async def begin(
        self, asked: Asked, request_id: str, host: str | None, *, stream: bool, order: bytes = b"{}"
    ) -> tuple[Job, bool]:
        """A new job, for which an exchange is to be run; or one that the request joins after all, as an equal one has
        come meanwhile, and True. ``request_id``, ``host``: of the request that begins it.
        """
        if (found := self._to_join(asked)) is not None:
            return found, True
        job = self._new(asked, request_id, host, stream=stream, order=order)
        self._index.add(job)
        return job, False

    def _to_join(self, asked: Asked) -> Job | None:
        """Between this and the index nothing may be awaited, or two re-sends that come at once would both buy."""
        marks, settings = asked.marks, self._services.snapshot
        if not marks:
            return None
        jobs = self._index.like(asked.key, asked.fingerprint, marks)
        join_ns, keep_ns = int(settings.jobs_join * _NS), int(settings.jobs_keep * _NS)
        now_ns = self._services.clock.wall_ns()
        return job_to_join(jobs, asked.fingerprint, marks, now_ns, join_ns=join_ns, keep_ns=keep_ns)

    def _new(self, asked: Asked, request_id: str, host: str | None, *, stream: bool, order: bytes) -> Job:
        client = JobClient(request_id, asyncio.get_running_loop(), host=host)
        client.follows = stream
        return Job(
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

    async def find(self, key: str, id: str) -> Job | None:
        """The key's job of that id, if it is known."""
        job = self._index.get(id)
        return job if job is not None and job.key == key else None

    def of_key(self, key: str) -> list[Job]:
        """The key's jobs that are known here, the newest first."""
        return self._index.of_key(key)

    async def page(self, key: str, limit: int, after: str | None) -> list[Job]:
        """At most ``limit`` of the key's jobs that were let in, the newest first, behind the one called ``after``."""
        jobs = [job for job in self._index.of_key(key) if job.exchange]
        place = next((place + 1 for place, job in enumerate(jobs) if job.id == after), 0)
        return jobs[place : place + limit]

    def left(self, job: Job, request_id: str, *, answered: bool) -> None:
        """A request that joined it waits no longer."""

    async def refreshed(self, job: Job) -> None:
        """Return once it is known here how it stands elsewhere."""

    async def cancel(self, job: Job) -> bool:
        """Cancel the job if nothing was sent for it yet; else forget it, and False. Raises as ``forget`` does."""
        if job.cancellable:
            job.give_up()
            return True
        await self.forget(job)
        return False

    async def reclaim(self, job: Job) -> bool:
        """Whether this gateway may run a job of unknown outcome again."""
        return True

    @property
    def running(self) -> int:
        """Jobs that have not ended."""
        return len(self._index.running)

    async def answer(self, job: Job) -> Ending:
        """How a job that has ended was answered; of a stream, the body is what a client gets that comes late.

        Raises GatewayError if its answer cannot be had any more.
        """
        if job.client is not None and (ending := job.client.ending) is not None:
            if not job.stream or ending.error is not None:
                return ending
            return Ending(ending.status, ending.headers, lasting(job))
        if job.error is not None:
            return Ending(job.error.status, (), None, job.error)
        try:
            result = await self._records.result(job.id)
        except StoreError:
            raise answer_gone() from None
        if result is None:
            raise answer_gone()
        return Ending(result.status, headers_of(result), await self._files.read(result))

    async def ask_after(self, job: Job) -> None:
        """A client asks of a job. One of unknown outcome runs again if an upstream knows of its task after all."""
        if job.state == "unknown":
            await self.on_doubt(job)

    def tell_unknown(self, job: Job) -> None:
        """Its client is told that what became of it is not known: a further re-send may buy."""
        if not job.told:
            job.told = True
            self.keeping.soon(job)

    def changed(self, job: Job) -> None:
        """What the store has of it is to be written anew."""
        if job.exchange:
            self.keeping.soon(job)

    async def forget(self, job: Job) -> None:
        """Forget a job, its answer included; one that is under way goes on, and none hears of it any more.

        Raises errors.ledger_unavailable().
        """
        job.forgotten = True
        await self.keeping.settled(job)
        place = await self._records.forget(job.key, job.id)
        self._index.drop(job)
        await self._files.remove([] if place is None else [place])

    # Its life

    async def open(self) -> list[tuple[Job, Unfinished]]:
        """Take up what an earlier process left. Returns the jobs that were under way, to be brought to their end.

        Raises StoreError.
        """
        for stored in await self._records.since(self._kept_since()):
            self._index.add(taken_up(stored))
        unfinished = await self._records.unfinished()
        found = [(self._index.get(one.job.id), one) for one in unfinished]
        return [(job, one) for job, one in found if job is not None]

    async def is_answered(self, job: Job) -> bool:
        """Whether the store has an answer to it, though it has not ended. Raises StoreError."""
        return await self._records.result(job.id) is not None

    async def traces(self, exchanges: Sequence[str]) -> Sequence[Traces]:
        """What the books know of each of these exchanges. Raises StoreError."""
        return await self._records.traces(exchanges)

    def stand_in(self, job: Job, host: str | None) -> JobClient:
        """Make one for the clients of a job that is taken up, unless some wait for it already."""
        if job.client is not None and job.client.ending is None:
            return job.client
        job.client = JobClient(job.request_id, asyncio.get_running_loop(), host=host)
        return job.client

    def runs_again(self, job: Job, *, elsewhere: bool = False) -> None:
        """It is under way again, after a restart or where it was taken for unknown."""
        if job.over:
            job.finished, job.error, job.ended_ns, job.announced = asyncio.Event(), None, None, False
        job.become("running")
        if not elsewhere:
            self._index.running.add(job.id)
            self._services.metrics.job("resumed")

    def resolved(self, exchange: str, charged: int) -> None:
        """An exchange of unknown outcome turned out to be charged so much, in nano-dollars."""
        for job in self._index.of_exchange(exchange):
            if exchange == job.exchange:
                job.cost = format_usd(charged)
                self.keeping.soon(job)
            else:
                job.pieces[exchange] = charged

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
        for job in [job for job in self._index if job.ended_ns is not None and job.ended_ns < before]:
            self._index.drop(job)
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
        await self.keeping.written()

    async def hand_over(self) -> None:
        """This gateway ends: what is under way is left to the next that comes. Never raises."""

    def end(self, job: Job, ending: Ending, *, purchased: bool, unknown: bool = False) -> None:
        """A job that was taken up has ended like this. ``unknown``: it cannot be known what became of it."""
        job.error, job.purchased = ending.error, purchased
        job.become(end_state(completed=ending.error is None, unknown=unknown, bought=True, gone=False))
        job.ended_ns = self._services.clock.wall_ns()
        self._is_over(job)
        if job.client is not None:
            job.client.end(ending)
        self.keeping.soon(job)

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
        job.become("running", told=False)
        await self.keeping.now(job)
        job.begun.set()  # a client that hears of it may ask any gateway for it at once
        await self.on_admitted(job)

    def _answered(self, job: Job) -> None:
        """Its clients are answered; a task may still be followed."""
        if not job.over:
            self.keeping.soon(job)

    def _ended(self, job: Job, exchange: Exchange) -> None:
        client, record = job.client, exchange.account.record
        assert client is not None
        job.refusal = exchange.refusal
        ending = client.ending
        if ending is None:  # it was given up, or a mistake of ours
            ending = Ending(STATUS_CLIENT_GONE, error=None)
        job.sent = job.stop = None
        error, job.cost = ending.error, _told_cost(ending) or record.cost
        for one in (error, job.trouble):
            if one is not None:  # it is kept for long: what it refers to is not
                one.__context__ = one.with_traceback(None).__cause__ = None
        trouble = error or job.trouble
        cut = trouble is not None and trouble.code == "server_shutting_down"
        if cut and (job.pieces or any(attempt.task_id for attempt in record.attempts)):
            job.owner_left = True
            self.keeping.soon(job)  # it goes on after the restart
            client.end(ending)
            return
        completed = trouble is None and client.ending is not None
        spent = record.state == "settled" and (record.charged > 0 or record.upstream_cost > 0)
        unknown = record.state == "unknown" and exchange.sent and not completed
        gone = job.state == "cancelled" or client.ending is None
        job.error, job.purchased = error, completed or spent
        job.become(end_state(completed=completed, unknown=unknown, bought=exchange.sent, gone=gone))
        job.ended_ns = self._services.clock.wall_ns()
        self._is_over(job)
        client.end(ending)
        if job.exchange or self._insists:
            self.keeping.soon(job)
        else:  # it was never let in: there is nothing to join
            self._index.drop(job)

    def _is_over(self, job: Job) -> None:
        """It has ended: count it."""
        self._index.running.discard(job.id)
        if job.state != "reserved" and job.state != "running":
            self._services.metrics.job(job.state)


async def _nothing(_: object) -> None:
    """None wants to know."""


def _told_cost(ending: Ending) -> str | None:
    """What its clients are told that all of it costs, which may be more than its first exchange."""
    return next((value.decode() for name, value in ending.headers if name == COST), None)
