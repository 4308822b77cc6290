"""A connection that waits for a job: it is given the job's answer, and may leave; the job goes on without it.

Every answer of a job names it (``x-gateway-job``). One that joined says so (``x-gateway-note: joined``), and has a row
of its own in the books, charged nothing, that names the row which paid.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.errors import GatewayError, gateway_overloaded, internal_error, server_shutting_down
from gateway.core.exchange_record import ExchangeRecord
from gateway.core.headers import NOTE, Headers, note_headers
from gateway.core.jobs.patience import Patience
from gateway.core.pricing.prices import format_usd
from gateway.core.types import VirtualKey
from gateway.exchange.services import Services
from gateway.exchange.stand_in import Ending, PiecesGone
from gateway.jobs.job import Job, JobClient, Waiter, is_comment, is_partial, pieces_for_joiner
from gateway.jobs.job_errors import job_cancelled, outcome_unknown, still_running
from gateway.jobs.jobs import COST, Jobs
from gateway.jobs.telling import ACCEPTED, JobTelling
from gateway.server.client import Client
from gateway.server.request import STATUS_CLIENT_GONE, Request

JOB = b"x-gateway-job"
JOINED = "joined"

MOST_WAITERS = 100
"""Connections that may wait for one job."""

ERROR_TIMEOUT = 5.0
"""Seconds a client has to take its error; one that does not read is cut off."""

_NOTHING = format_usd(0).encode()
_LIMITS = b"ratelimit"
_IMAGES = "/v1/images/"


PING = b": ping\n\n"
"""What a stream is sent where nothing else comes for as long as its client waits."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a client wishes of a job.

    ``patience``: how long it waits; None if it does not say. ``webhook``: the one that is told of the job's end; empty
    for none. ``asynchronous``: it prefers not to wait at all.
    """

    patience: Patience | None = None
    webhook: str = ""
    asynchronous: bool = False

    @property
    def webhooks(self) -> frozenset[str]:
        return frozenset({self.webhook} if self.webhook else ())


NO_WISHES = Wishes()


class Waiting:
    """Lets connections wait for jobs."""

    def __init__(self, services: Services, jobs: Jobs, telling: JobTelling) -> None:
        self._services = services
        self.jobs = jobs
        self.telling = telling

    async def answer(
        self,
        request: Request,
        client: Client,
        job: Job,
        key: VirtualKey,
        *,
        joined: bool,
        wishes: Wishes = NO_WISHES,
    ) -> None:
        """Give the client the job's answer, whenever that comes, or what it wishes for instead. ``joined``: the job is
        not its own.
        """
        if len(job.waiters) >= MOST_WAITERS:
            if joined:
                self.jobs.left(job, request.id, answered=False)
            raise gateway_overloaded()
        request.counted = True
        if joined:
            await self.jobs.ask_after(job)
        turn = _Turn(self._services, self, request, client, job, key, joined=joined, patience=wishes.patience)
        waiter = Waiter(joined)
        job.enter(waiter)
        if joined:
            self._services.metrics.job("joined")
            turn.trace()
        try:
            if wishes.webhook and joined:
                await self.telling.expect(job, wishes.webhook)
            if not (wishes.asynchronous and await turn.accept()):
                await turn.deliver()
        finally:
            job.leave(waiter, answered=turn.answered, again=turn.again)
            self.jobs.changed(job)
            if joined:
                self.jobs.left(job, request.id, answered=turn.answered)
                turn.told()
            else:
                request.error = job.refusal


class _Turn:
    """One connection's waiting for one job.

    ``patience``: how long it waits; None if it does not say. ``answered``: it was given the answer. ``again``: it was
    told to come again.
    """

    def __init__(
        self,
        services: Services,
        waiting: Waiting,
        request: Request,
        client: Client,
        job: Job,
        key: VirtualKey,
        *,
        joined: bool,
        patience: Patience | None,
    ) -> None:
        self._services = services
        self._jobs = waiting.jobs
        self._telling = waiting.telling
        self._request = request
        self._client = client
        self._job = job
        self._key = key
        self._joined = joined
        self._stand_in = job.client  # which the job lets go of once its answer is in the store
        self._record: ExchangeRecord | None = None
        self._error: GatewayError | None = None
        self._news = asyncio.Event()
        self._patience = patience
        self._deadline = self._time_to_answer()
        self.answered = self.again = False

    def trace(self) -> None:
        """Say in the request's trace, if it has one, whose work it waits for; ``_book`` says how that ended."""
        if (trace := self._request.trace) is not None:
            trace.joins(None if self._stand_in is None else self._stand_in.trace)
            trace.exchange_begins()

    async def accept(self) -> bool:
        """Tell the client that its job is begun, and not to wait: 202. False if it was refused, or ended without an
        answer: then the client is to be told that.
        """
        job = self._job
        job.detached = True
        await job.begun.wait()
        if job.over and job.state != "completed":
            return False
        await self._book(ACCEPTED)
        self.answered = True
        await self._telling.answer(self._client, job, ACCEPTED, note_headers((JOINED,) if self._joined else ()))
        return True

    async def deliver(self) -> None:
        """Give the client the answer, or tell it before its time is over that there will be one."""
        client, stand_in = self._client, self._stand_in
        client.watch(self._news.set)
        if stand_in is not None and stand_in.ending is None:
            heartbeat = self._services.snapshot.nonstream_heartbeat
            client.hold(stream=self._job.stream, heartbeat=heartbeat, headers=self._headers_now)
            stand_in.on_end(self._news.set)
            await (self._follow(stand_in) if self._job.stream else self._wait(lambda: stand_in.ending is not None))
        if client.gone or client.finished:
            return
        await (self._tell_to_come_again() if self.again else self._end())

    # While it goes on

    async def _wait(self, until: Callable[[], bool]) -> None:
        """Return once it holds, the client has left, or its time is over and it is to come ``again``."""
        while not self._client.gone and not until():
            self._news.clear()
            if not until() and not await self._heard(self._deadline):
                self.again = True
                return

    async def _heard(self, deadline: float | None) -> bool:
        """Return once there is news; False if there was none until then, by the loop's time."""
        if deadline is None:
            await self._news.wait()
            return True
        try:
            async with asyncio.timeout_at(deadline):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    def _time_to_answer(self) -> float | None:
        """When a client is to be answered that waits for the whole; None if it need not be: blanks keep it patient."""
        patience = self._patience
        if patience is None or self._services.snapshot.nonstream_heartbeat:
            return None
        since = self._client.loop.time() if patience.from_body else self._request.began
        return since + patience.answer_after

    async def _tell_to_come_again(self) -> None:
        """The client's time is nearly over: 504, which is no error of an upstream and counts as none."""
        job, services = self._job, self._services
        self._error = error = still_running(job.id)
        await self._book(error.status)
        listed = services.snapshot.routes.find(job.model)
        services.metrics.still_running(job.route, None if listed is None else listed.model, job.key, job.team)
        if not self._joined:  # the line of the request itself comes when its job has ended
            services.log.info("still_running", request_id=self._request.id, job=job.id, key=job.key, model=job.model)
        await self._send(error, () if job.exchange else ((JOB, job.id.encode()),))

    async def _follow(self, stand_in: JobClient) -> None:
        """Pass the events of a stream on as they come, to its end."""
        client, pieces = self._client, stand_in.pieces
        pictures = self._job.route.startswith(_IMAGES)
        within = None if self._patience is None else self._patience.answer_after
        place = 0
        leave = pieces.subscribe(lambda _: self._news.set(), self._news.set)
        try:
            if self._joined and pictures:
                due, place = pieces_for_joiner(pieces.kept(pieces.first), pictures=True), pieces.next
                await self._pass(due)
            while not client.gone:
                self._news.clear()
                over = pieces.over
                if due := pieces.kept(place):
                    place += len(due)
                    await self._pass(due)
                elif over:
                    return
                elif not await self._heard(None if within is None else client.loop.time() + within):
                    await client.emit(PING, meaningful=False)
        except PiecesGone:  # it reads so slowly that what it has not read is kept no longer
            client.abort()
        finally:
            leave()

    async def _pass(self, due: list[bytes]) -> None:
        for number, piece in enumerate(due):
            if self._joined and is_partial(piece) and number + 1 < len(due) and is_partial(due[number + 1]):
                continue  # the newer one says more
            comment = is_comment(piece)
            if not comment or self._client.started:
                await self._client.emit(piece, meaningful=not comment)
            if self._client.gone:
                return

    # Its end

    async def _end(self) -> None:
        """Give the client how the job ended."""
        client, job = self._client, self._job
        streamed = client.started and job.stream
        ending = await self._ending()
        client.release()
        headers = self._with_own(ending.headers)
        if ending.error is not None:
            await self._fail(self._for_client(ending.error), headers)
            return
        await self._book(ending.status)
        self.answered = True
        if streamed:
            await client.complete(None)
        elif job.stream:
            client.hold(stream=True, heartbeat=0.0, headers=lambda: headers)
            await client.emit(ending.body or b"", meaningful=True)
            await client.complete(None)
        else:
            await client.complete(ending.body or b"", headers, status=ending.status)
        self.answered = not client.gone

    async def _ending(self) -> Ending:
        """How the job ended. Raises what ended it without an answer."""
        ending = None if self._stand_in is None else self._stand_in.ending
        if self._job.state == "cancelled" or (ending is not None and ending.status == STATUS_CLIENT_GONE):
            await self._without_answer()
        if ending is not None and (ending.error is not None or self._client.started or not self._job.stream):
            return ending
        try:
            return await self._jobs.answer(self._job)
        except GatewayError as error:
            return Ending(error.status, (), None, error)

    async def _without_answer(self) -> None:
        """The job was cancelled, or a mistake of ours ended it: then that is raised here, too."""
        running = self._job.running
        if running is not None:
            await asyncio.wait({running})
            if not running.cancelled() and running.exception() is not None:
                self._error = internal_error()
                await self._book(self._error.status)
                running.result()
        raise job_cancelled() if self._job.state == "cancelled" else server_shutting_down()

    async def _fail(self, error: GatewayError, headers: Headers) -> None:
        job = self._job
        self._error = error
        await self._book(error.status)
        self.answered = True
        await self._send(error, headers)
        self.answered = not self._client.gone
        if self.answered and error.code == "upstream_outcome_unknown":  # one that did not hear it is told once more
            self._jobs.tell_unknown(job)

    async def _send(self, error: GatewayError, headers: Headers) -> None:
        try:
            async with asyncio.timeout(ERROR_TIMEOUT):
                await self._client.fail(error, headers)
        except TimeoutError:
            self._client.abort()

    def _for_client(self, error: GatewayError) -> GatewayError:
        """What ended a job whose task goes on after the restart can be asked for again: that buys nothing."""
        job = self._job
        if error.code == "server_shutting_down" and not job.over:
            return server_shutting_down()
        if self._joined and job.state == "unknown":
            return outcome_unknown()
        return error

    # What its answers say

    def _headers_now(self) -> Headers:
        return self._with_own(() if self._stand_in is None else self._stand_in.headers_now())

    def _with_own(self, headers: Headers) -> Headers:
        """The headers of the job's answer, as they are for this client."""
        job = self._job
        if job.exchange == "":
            return headers
        if not self._joined:
            return (*headers, (JOB, job.id.encode()))
        notes = [value.decode("ascii") for name, value in headers if name == NOTE]
        kept = [(name, value) for name, value in headers if name not in (NOTE, COST) and _LIMITS not in name]
        limits = self._services.limits.headers(self._key, self._client.loop.time())
        return (*kept, *limits, *note_headers((*notes, JOINED)), (COST, _NOTHING), (JOB, job.id.encode()))

    # What the books say of one that joined

    async def _book(self, status: int) -> None:
        """Write down the row of a request that joined, before it is answered."""
        if not self._joined or self._record is not None:
            return
        services, job, request = self._services, self._job, self._request
        found = services.snapshot.routes.find(job.model)
        record = self._record = ExchangeRecord(
            services.new_id(),
            key=job.key,
            team=job.team,
            route=job.route,
            model=job.model,
            request_id=request.id,
            at_ns=services.clock.wall_ns(),
            paid_by=job.exchange or None,
            state="settled" if job.exchange else "released",
            confidence="measured",
            cost=format_usd(0),
            listed_model=None if found is None else found.model,
            job=job.id,
            trace=request.trace,
        )
        record.status = status
        if self._error is not None:
            record.code = self._error.code
        record.duration = self._client.loop.time() - request.began
        try:
            await services.ledger.reserve(record)
        except GatewayError as trouble:  # it is paid for: its answer is not lost for want of a row
            services.log.error("waiter_not_booked", job=job.id, request_id=request.id, problem=trouble.message)
        else:
            record.settled_ns = services.clock.wall_ns()
            services.ledger.settle(record)
        if not self.again:
            services.metrics.observe(record)
        services.log.request(record)
        if record.trace is not None:
            record.trace.exchange_ended(record, counts=not self.again)

    def told(self) -> None:
        """The request of one that joined has ended: one that left has its row, too."""
        if self._record is None:
            self._services.tasks.spawn(self._book(STATUS_CLIENT_GONE), "waiter")
