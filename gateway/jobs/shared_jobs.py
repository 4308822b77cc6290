"""Jobs of a gateway that shares its store with others: the store decides what is joined, and has what runs elsewhere.

In memory are the jobs that run here, and those of other gateways that a client of this one waits for: such a job is
followed, by what the others tell and by a look at the store every second, until it has ended there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

from gateway.core.errors import ClientError, GatewayError, StoreError, ledger_unavailable, server_shutting_down
from gateway.core.jobs.joining import job_to_join
from gateway.core.pricing.prices import format_usd
from gateway.exchange.services import Services
from gateway.exchange.stand_in import Ending
from gateway.jobs.answers import AnswerFiles, answer_gone
from gateway.jobs.job import Asked, Job, JobClient, taken_up
from gateway.jobs.job_keeping import WRITE_AGAIN, is_being_cancelled
from gateway.jobs.jobs import SWEEP_EVERY, Jobs
from gateway.shared_state.base import Message
from gateway.stores.fleet_records import KnownJob, Leases, Resend, SharedJobRecords
from gateway.stores.job_records import Unfinished

LOOK_EVERY = 1.0
"""Seconds between two looks at the store, where something is waited for: what gateways tell one another may be lost."""

ORPHANS_EVERY = 5.0
"""Seconds between two looks for jobs whose gateway is gone."""

CANCEL_WITHIN = 4.0
"""Seconds that another gateway has to cancel a job of its own."""

T = TypeVar("T")

_NS = 1_000_000_000


class SharedJobs(Jobs):
    """``records``: those of all gateways. ``leases``: who does what one does for all. ``surely_alive``: says whether no
    other gateway can have taken this one for dead.
    """

    def __init__(self, services: Services, records: SharedJobRecords, files: AnswerFiles, leases: Leases) -> None:
        super().__init__(services, records, files, insists=True)
        self._shared = records
        self._leases = leases
        self._followed: WeakValueDictionary[str, Job] = WeakValueDictionary()
        self._waiting_for_room: frozenset[str] = frozenset()
        self._news = asyncio.Event()
        self._looked_for_orphans = 0.0
        self.keeping.on_kept, self.keeping.admit = self._kept, records.admit
        self.surely_alive: Callable[[], bool] = lambda: False
        services.shared.listen("jobs", self._heard)

    # What clients ask

    async def join(self, asked: Asked, request_id: str) -> Job | None:
        if not asked.marks:
            return None
        known = await self._shared.join(_resend(asked, request_id), partial(self._chosen, asked))
        return None if known is None else await self._here(known)

    async def begin(
        self, asked: Asked, request_id: str, host: str | None, *, stream: bool, order: bytes = b"{}"
    ) -> tuple[Job, bool]:
        job = self._new(asked, request_id, host, stream=stream, order=order)
        try:
            if (known := await self._begun(asked, request_id, job)) is not None:
                return await self._here(known), True
        except ClientError:
            raise
        except BaseException:  # it may be in the store all the same, where re-sends would wait for it for ever
            self._later(partial(self._never_begun, job))
            raise
        job.confirm = self._confirmed
        self._index.add(job)
        self._news.set()
        return job, False

    async def _begun(self, asked: Asked, request_id: str, job: Job) -> KnownJob | None:
        """What the request joins; None if its own job is begun."""
        if asked.marks:
            return await self._shared.join(_resend(asked, request_id), partial(self._chosen, asked), job.stored(None))
        await self._shared.begin(job.stored(None))
        return None

    async def _never_begun(self, job: Job) -> None:
        """Have the store forget a job that it may have begun although it did not say so."""
        await self._shared.forget(job.key, job.id)

    async def _confirmed(self, job: Job) -> bool:
        """Whether it is still this gateway's, which may have stood still for longer than its lease."""
        if self.surely_alive():
            return True
        try:
            return await self._shared.admit(job.stored(None))
        except (GatewayError, StoreError):
            return False

    async def find(self, key: str, id: str) -> Job | None:
        job = self._index.get(id)
        if job is None:
            known = await self._read(self._shared.found(key, id))
            job = None if known is None else await self._here(known)
        return job if job is not None and job.key == key and not job.forgotten else None

    async def page(self, key: str, limit: int, after: str | None) -> list[Job]:
        stored = await self._read(self._shared.page(key, limit, after))
        return [self._index.get(one.id) or taken_up(one) for one in stored]

    def tell_unknown(self, job: Job) -> None:
        if not job.told:
            job.told = True
            self._later(partial(self._shared.tell, job.id))

    def changed(self, job: Job) -> None:
        if not job.foreign:
            super().changed(job)

    def left(self, job: Job, request_id: str, *, answered: bool) -> None:
        self._later(partial(self._shared.leave, job.id, request_id, answered=answered))

    async def cancel(self, job: Job) -> bool:
        if not job.foreign or job.over:
            return await super().cancel(job)
        await self._shared.ask_to_cancel(job.key, job.id)
        self._services.shared.tell("jobs", {"cancel": job.id})
        try:
            async with asyncio.timeout(CANCEL_WITHIN):
                await job.finished.wait()
        except TimeoutError:
            pass
        if job.state == "cancelled":
            return True
        await self.forget(job)
        return False

    async def refreshed(self, job: Job) -> None:
        if job.foreign and not job.over:
            await self._look_at([job])

    async def reclaim(self, job: Job) -> bool:
        if await self._shared.reclaim(job.id):
            job.foreign = False
            self._index.add(job)
            self._news.set()
            return True
        known = await self._read(self._shared.found(job.key, job.id))
        if known is not None and known.state == "running":
            self.runs_again(job, elsewhere=True)
            self._follow(job)
        return False

    def resolved(self, exchange: str, charged: int) -> None:
        super().resolved(exchange, charged)
        self._later(partial(self._shared.charge, exchange, format_usd(charged)))

    def _chosen(self, asked: Asked, jobs: Sequence[KnownJob]) -> KnownJob | None:
        settings = self._services.snapshot
        join_ns, keep_ns = int(settings.jobs_join * _NS), int(settings.jobs_keep * _NS)
        now_ns = self._services.clock.wall_ns()
        return job_to_join(jobs, asked.fingerprint, asked.marks, now_ns, join_ns=join_ns, keep_ns=keep_ns)

    async def _here(self, known: KnownJob) -> Job:
        """A job as it is here: the one that runs here, one that is followed, or what is known of it."""
        if (job := self._index.get(known.job.id)) is not None:
            return job
        if (job := self._followed.get(known.job.id)) is not None and not job.over:
            return job
        job = taken_up(known.job)
        job.foreign = True
        if known.queued and not job.over:
            job.state = "reserved"
        if not job.over:
            self._follow(job)
            self._take(job, known)
        return job

    # What other gateways do

    def _follow(self, job: Job) -> None:
        job.client = JobClient(job.request_id, asyncio.get_running_loop())
        job.client.follows = job.stream
        self._followed[job.id] = job
        self._news.set()

    def _heard(self, message: Message) -> None:
        """Another gateway tells of a job: one that has ended, or one to be cancelled."""
        if "cancel" in message or message.get("id") in self._followed or "orphans" in message:
            self._looked_for_orphans = 0.0 if "orphans" in message else self._looked_for_orphans
            self._news.set()

    def _kept(self, job: Job) -> None:
        """It is in the store as it is. What has ended is only there from now on."""
        if job.over:
            self._index.drop(job)
            self._services.shared.tell("jobs", {"id": job.id})

    async def watch_others(self) -> None:
        """Follow the jobs of others, and do what others were asked for of those that run here; for ever."""
        told = False
        while True:
            idle = not self._followed and not self._index.running
            pause = ORPHANS_EVERY if idle else LOOK_EVERY
            try:
                async with asyncio.timeout(pause):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            try:
                await self._look()
            except (GatewayError, StoreError) as trouble:
                if not told:  # once for as long as that lasts
                    self._services.log.warning("jobs_not_read", message=str(trouble))
                told = True
                if is_being_cancelled():
                    return
                await asyncio.sleep(LOOK_EVERY)
            else:
                told = False

    async def _look(self) -> None:
        if followed := [job for job in self._followed.values() if not job.over]:
            await self._look_at(followed)
        if self._index.running:
            for id in await self._shared.to_cancel():
                if (job := self._index.get(id)) is not None and not job.over:
                    await super().cancel(job)
            await self._tell_who_waits()
        now = self._services.clock.monotonic()
        if now - self._looked_for_orphans >= ORPHANS_EVERY:
            self._looked_for_orphans = now
            await self._take_up(await self._shared.take_orphans())

    async def _look_at(self, jobs: Sequence[Job]) -> None:
        found = {known.job.id: known for known in await self._shared.known([job.id for job in jobs])}
        for job in jobs:
            if job.over or not job.foreign:
                continue
            if (known := found.get(job.id)) is None:
                self._end_elsewhere(job, Ending(502, error=answer_gone()))
                continue
            self._take(job, known)
            if known.state in ("completed", "failed", "unknown", "cancelled"):
                await self._ended_elsewhere(job)

    def _take(self, job: Job, known: KnownJob) -> None:
        """Take over what the store has of a job of another gateway; its state only as long as it has not ended."""
        now = taken_up(known.job)
        job.exchange, job.order, job.owner_left, job.told = now.exchange, now.order, now.owner_left, now.told
        job.ended_ns, job.purchased, job.cost, job.error = now.ended_ns, now.purchased, now.cost, now.error
        job.ended_as = known.state if now.over else None
        if known.state == "running" and not known.queued:
            job.become("running")

    async def _ended_elsewhere(self, job: Job) -> None:
        assert job.client is not None
        if job.ended_as == "cancelled":
            self._end_elsewhere(job, Ending(499))
            return
        try:
            ending = await self.answer(job)
        except GatewayError as error:
            ending = Ending(error.status, error=error)
        if ending.error is None and job.stream:
            job.client.add(ending.body or b"")
            ending = Ending(ending.status, ending.headers)
        self._end_elsewhere(job, ending)

    def _end_elsewhere(self, job: Job, ending: Ending) -> None:
        job.become(job.ended_as or "failed")
        if job.client is not None:
            job.client.end(ending)
        self._followed.pop(job.id, None)

    async def _tell_who_waits(self) -> None:
        """Others are to know of the jobs that still wait for their turn: these can be cancelled."""
        own = [job for id in self._index.running if (job := self._index.get(id)) is not None]
        waiting = frozenset(job.id for job in own if job.exchange and job.cancellable)
        if waiting != self._waiting_for_room:
            await self._shared.wait_for_room(waiting)
            self._waiting_for_room = waiting

    # Its life

    async def open(self) -> list[tuple[Job, Unfinished]]:
        """Nothing is of this gateway yet: what is of none is looked for as soon as it serves."""
        return []

    async def take_over(self, dead: str) -> None:
        """A gateway is dead: what it had under way is this one's from now on. Raises GatewayError, StoreError."""
        await self._take_up(await self._shared.take_over(dead))

    def send_away(self) -> None:
        """Tell those who wait for jobs of other gateways to come again: they reach another one."""
        for job in [*self._followed.values()]:
            if job.client is not None:
                job.client.end(Ending(503, error=server_shutting_down()))

    async def hand_over(self) -> None:
        """This gateway ends: what is under way may be taken by any other at once. Never raises."""
        try:
            await self._shared.hand_over()
        except (GatewayError, StoreError) as trouble:
            self._services.log.warning("jobs_not_handed_over", message=str(trouble))
        self._services.shared.tell("jobs", {"orphans": True})

    async def _take_up(self, found: Sequence[Unfinished]) -> None:
        jobs = []
        for one in found:
            job = self._followed.pop(one.job.id, None) or taken_up(one.job)
            job.foreign = False
            job.order, job.exchange = one.job.order, one.job.exchange
            self._index.add(job)
            jobs.append((job, one))
        for pair in jobs:
            self._later(partial(self.on_left, [pair]))

    async def sweep(self) -> None:
        if await self._leases.hold("jobs-age-out", 3 * SWEEP_EVERY):
            await super().sweep()

    async def _read(self, reading: Awaitable[T]) -> T:
        try:
            return await reading
        except StoreError as trouble:
            self._services.log.error("jobs_not_read", message=str(trouble))
            raise ledger_unavailable() from None

    def _later(self, write: Callable[[], Awaitable[None]]) -> None:
        self._services.tasks.spawn(self._until_written(write), "job-noted")

    async def _until_written(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write it, again and again for as long as the store is gone."""
        told = False
        while True:
            try:
                await write()
            except (GatewayError, StoreError) as trouble:
                if not told:
                    self._services.log.error("job_not_kept", message=str(trouble))
                told = True
                if is_being_cancelled():
                    return
                await asyncio.sleep(WRITE_AGAIN)
            else:
                return


def _resend(asked: Asked, request_id: str) -> Resend:
    return Resend(asked.key, asked.fingerprint, asked.marks.idempotency, request_id)
