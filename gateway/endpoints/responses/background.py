"""Responses that are made in the background: the exchange goes on without a listener, and its events can be read again.

One runs until it ends, is cancelled or the gateway stops; what ran when the gateway stopped has failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway.core.errors import GatewayError, invalid_request, server_shutting_down
from gateway.core.headers import Headers, note_headers
from gateway.core.types import Route, VirtualKey
from gateway.endpoints.responses.desk import Answering
from gateway.endpoints.responses.pictures import Leg
from gateway.endpoints.responses.running import KEEP_EVERY, MOST_KEPT_AGAIN, Running
from gateway.endpoints.translated import TranslatedOperation
from gateway.exchange.client import Client
from gateway.exchange.exchange import Exchange
from gateway.exchange.services import Services
from gateway.exchange.stand_in import Ending, Pieces, PiecesGone, StandInClient
from gateway.jobs.job import Job, JobClient
from gateway.jobs.job_errors import job_cancelled
from gateway.server.client import STREAM
from gateway.server.client import Client as HttpClient
from gateway.server.request import STATUS_CLIENT_GONE, Request
from gateway.wire.responses.answer import as_stored
from gateway.wire.responses.errors import ResponsesErrors
from gateway.wire.responses.presenter import QUEUED, queued_events

_EVENT_END = b"\n\n"


def events_in(data: bytes) -> list[bytes]:
    """The events of a stream, each by itself; comments are none."""
    return [piece + _EVENT_END for piece in data.split(_EVENT_END) if piece and not piece.startswith(b":")]


class Listener(StandInClient):
    """The client of an exchange in the background. Each of its pieces is an event, whose place is its number.

    ``begun``: set once an upstream is asked; what is refused before is told to the client that asks for it.
    ``goes_on``: whether the response is brought to its end after the next start, if the gateway is stopped.
    """

    def __init__(self, client: Client, form: ResponsesErrors) -> None:
        super().__init__(client.request_id, client.loop, trace=client.trace, divide=events_in)
        self._form = form
        self.begun = asyncio.Event()
        self.goes_on: Callable[[], bool] = lambda: False

    @property
    def refused(self) -> GatewayError | None:
        """With which error it was not let in."""
        return None if self.ending is None or self.begun.is_set() else self.ending.error

    async def error(self, error: GatewayError, headers: Headers = ()) -> None:
        await self.fail(error, headers)

    async def fail(self, error: GatewayError, headers: Headers = ()) -> None:
        stopped = error.code == "server_shutting_down" and self.goes_on()
        if self.begun.is_set() and not stopped:
            self.add(self._form.last_event(error))
        await super().fail(error, headers)


@dataclass(frozen=True, slots=True)
class Following:
    """What is to be done once the chat of a response has ended. ``leg``: makes the client of the chat's exchange."""

    leg: Callable[[Client], Leg]
    follow: Callable[[Leg, Client, Job | None], Awaitable[None]]


class Run:
    """One response that is made in the background. ``key``: whose it is. Implements ``running.Being``.

    ``queued``: the response as its client is told of it first.
    """

    def __init__(self, key: str, answering: Answering, listener: Listener) -> None:
        self.key = key
        self.answering = answering
        self.listener = listener
        self.on_begun: Callable[[], None] = lambda: None
        self._cancelled: dict[str, Any] | None = None
        self.queued, first = queued_events(answering.facts)
        listener.add(first)
        answering.opening = (("in_progress",), len(QUEUED))
        answering.on_begin = self._begin
        answering.events = self._kept_events

    @property
    def events(self) -> Pieces:
        """Those of its stream."""
        return self.listener.pieces

    def now(self) -> dict[str, Any]:
        """The response as it stands. One that was cancelled stays so, though its upstream is read on for its usage."""
        return self._cancelled or self.answering.so_far() or self.queued

    def end(self) -> None:
        """There is nothing more to come."""
        self.listener.end(Ending(STATUS_CLIENT_GONE))
        if self.listener.begun.is_set():
            self.answering.keep(self.now())  # with all its events

    def cancel(self) -> dict[str, Any]:
        """End it early. Returns the response."""
        if self._cancelled is not None:
            return self._cancelled
        response = self._cancelled = {**self.now(), "status": "cancelled"}
        self.answering.keep(response)
        self.answering.forgotten = True
        self.listener.leave()
        self.listener.end(Ending(STATUS_CLIENT_GONE))
        return response

    @property
    def cancelled(self) -> bool:
        """Whether it was ended early."""
        return self._cancelled is not None

    def forget(self) -> None:
        """None can ask for it any more."""
        self.cancel()

    def keep_so_far(self) -> None:
        """Keep what has come by now, unless it is long."""
        if self.events.size <= MOST_KEPT_AGAIN:
            self.answering.keep_so_far(MOST_KEPT_AGAIN)

    def _begin(self) -> None:
        if not self.listener.begun.is_set():
            self.listener.begun.set()
            self.answering.keep(self.queued)
            self.on_begun()

    def _kept_events(self) -> bytes:
        """All events, to be kept; none if they are more than are kept here."""
        return b"" if self.events.first else b"".join(self.events.kept())


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked for by a response in the background. ``asked``: the model as its client named it."""

    answering: Answering
    operation: TranslatedOperation
    route: Route
    key: VirtualKey
    following: Following | None = None


class Background:
    """All responses that are being made in the background."""

    def __init__(self, services: Services, running: Running) -> None:
        self._services = services
        self._running = running

    async def answer(self, request: Request, client: HttpClient, asking: Asking) -> None:
        """Set one going, and tell the client of it: that it is queued, or its events as they come; or with which error
        it was not let in.
        """
        run, exchange, work = self._prepared(client, asking, None)
        listener, tasks = run.listener, self._services.tasks
        running = tasks.spawn(work, "background")
        waiting = tasks.spawn(listener.begun.wait(), "background-begun")
        await asyncio.wait({waiting, running}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if listener.refused is not None:
            request.error = exchange.refusal
            await client.error(listener.refused)
            return
        notes = note_headers(asking.answering.remarks())
        if asking.answering.listened_to:
            await tell(client, run.events, 0, notes)
        else:
            await client.respond(200, notes, as_stored(run.queued))

    def in_a_job(self, job: Job, asking: Asking) -> tuple[Exchange, Coroutine[Any, Any, None]]:
        """The exchange of one that is made in a job, and what runs all of it. The job's clients are answered as soon as
        an upstream is asked, or as the events come.
        """
        assert job.client is not None
        client = job.client
        run, exchange, work = self._prepared(client, asking, job)
        run.on_begun = partial(_answer, run, client)
        attempts = exchange.account.record.attempts
        run.listener.goes_on = lambda: bool(job.pieces) or any(attempt.task_id for attempt in attempts)
        job.detached, job.stop = True, run.cancel
        return exchange, self._to_its_end(job, run, work)

    async def _to_its_end(self, job: Job, run: Run, work: Coroutine[Any, Any, None]) -> None:
        assert job.client is not None
        stopped: GatewayError | None = server_shutting_down()  # unless it comes to its end
        try:
            await work
            stopped = None
        finally:
            ending = run.listener.ending
            job.trouble = job_cancelled() if run.cancelled else stopped if ending is None else ending.error or stopped
            if ending is not None and ending.error is not None and not run.listener.begun.is_set():
                job.client.end(Ending(ending.status, ending.headers, None, ending.error))

    def _prepared(
        self, client: Client, asking: Asking, job: Job | None
    ) -> tuple[Run, Exchange, Coroutine[Any, Any, None]]:
        answering, following = asking.answering, asking.following
        form = ResponsesErrors()
        form.failed = asking.operation.failed
        listener = Listener(client, form)
        run = Run(asking.key.name, answering, listener)
        leg = None if following is None else following.leg(listener)
        exchange = Exchange(
            self._services,
            asking.operation,
            asking.route,
            asking.key,
            leg or listener,
            sdk_retry=False,
            asked=answering.facts.model,
            job=job,
        )
        return run, exchange, self._run(answering.facts.id, exchange, run, leg, following, job)

    async def _run(
        self, id: str, exchange: Exchange, run: Run, leg: Leg | None, following: Following | None, job: Job | None
    ) -> None:
        self._running.add(id, run)
        keeping = self._services.tasks.spawn(_keep_again(run), "background-kept")
        try:
            await exchange.run()
            if leg is not None and following is not None:
                await following.follow(leg, run.listener, job)
        finally:
            keeping.cancel()
            self._running.remove(id)
            run.end()


def _answer(run: Run, client: JobClient) -> None:
    """Tell a job's clients that the response is queued, or its events from now on."""
    notes = note_headers(run.answering.remarks())
    if run.answering.listened_to:
        client.hold(stream=True, heartbeat=0.0, headers=lambda: notes)

        def over() -> None:
            ending = run.listener.ending
            cut = ending is not None and ending.error is not None and run.listener.goes_on()
            client.end(ending if cut and ending is not None else Ending(200, notes))

        run.events.subscribe(client.add, over, start=0)
    else:
        client.end(Ending(200, notes, as_stored(run.queued)))


async def _keep_again(run: Run) -> None:
    while True:
        await asyncio.sleep(KEEP_EVERY)
        run.keep_so_far()


async def tell(client: HttpClient, events: Pieces, place: int, headers: Headers = ()) -> None:
    """Send the events from this place on, those that are still to come included.

    Raises ClientError 400 if the first of them are kept no longer.
    """
    if place < events.first:
        message = f"The first events of this response are kept no longer: 'starting_after' can be {events.first - 1}."
        raise invalid_request(message, param="starting_after", code="invalid_value")
    await client.start(200, (STREAM, *headers))
    try:
        async for data in events.after(place):
            if client.gone:
                return
            await client.write(data)
    except PiecesGone:  # it reads too slowly, and is not to take what it has for all
        client.abort()
        return
    await client.finish()
