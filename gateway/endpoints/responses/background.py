"""Responses that are made in the background: the exchange goes on without a listener, and its events can be read again.

One runs until it ends, is cancelled or the gateway stops; what ran when the gateway stopped has failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gateway.core.errors import GatewayError
from gateway.core.headers import Headers, note_headers
from gateway.core.types import Route, VirtualKey
from gateway.endpoints.responses.desk import Answering
from gateway.endpoints.responses.pictures import Leg
from gateway.endpoints.translated import TranslatedOperation
from gateway.exchange.client import Client
from gateway.exchange.exchange import Exchange
from gateway.exchange.services import Services
from gateway.server.client import STREAM
from gateway.server.client import Client as HttpClient
from gateway.server.request import Request
from gateway.wire.responses.answer import as_stored
from gateway.wire.responses.errors import ResponsesErrors
from gateway.wire.responses.presenter import QUEUED, queued_events

_EVENT_END = b"\n\n"


class Events:
    """The events of a stream as they come, each of which has its place as its number."""

    def __init__(self) -> None:
        self.all: list[bytes] = []
        self.over = False
        self._more = asyncio.Event()

    def add(self, data: bytes) -> None:
        """Take whole events; comments are none."""
        self.all += [piece + _EVENT_END for piece in data.split(_EVENT_END) if piece and not piece.startswith(b":")]
        self._wake()

    def end(self) -> None:
        """Nothing more will come."""
        self.over = True
        self._wake()

    def _wake(self) -> None:
        more, self._more = self._more, asyncio.Event()
        more.set()

    async def after(self, place: int) -> AsyncIterator[bytes]:
        """The events from this place on, those that are still to come included."""
        while True:
            more = self._more
            if place < len(self.all):
                due, place = self.all[place:], len(self.all)
                yield b"".join(due)
            elif self.over:
                return
            else:
                await more.wait()


class Listener:
    """Stands in for the client of an exchange that none waits for. Implements ``exchange.client.Client``.

    ``begun``: set once an upstream is asked; what is refused before is told to the client that asks for it.
    ``refused``: with which error that was.
    """

    host = None
    stalled = False

    def __init__(self, request_id: str, loop: asyncio.AbstractEventLoop, events: Events, form: ResponsesErrors) -> None:
        self.request_id = request_id
        self.loop = loop
        self._form = form
        self.started = False
        self.gone = False
        self.begun = asyncio.Event()
        self.refused: GatewayError | None = None
        self._events = events
        self._on_gone: Callable[[], None] | None = None

    def leave(self) -> None:
        """As if the client left: what is billed by usage is ended."""
        self.gone = True
        tell, self._on_gone = self._on_gone, None
        if tell is not None:
            tell()

    def watch(self, on_gone: Callable[[], None]) -> None:
        if self.gone:
            on_gone()
        else:
            self._on_gone = on_gone

    def hold(
        self,
        *,
        stream: bool,
        heartbeat: float,
        headers: Callable[[], Headers],
        bare: bool = False,
        label: Callable[[], bytes | None] | None = None,
    ) -> None:
        """Nothing is held back for who listens: the events go out as they come."""

    async def emit(self, data: bytes, meaningful: bool) -> None:
        self.started = True
        self._events.add(data)

    def write_now(self, data: bytes) -> bool:
        self._events.add(data)
        return True

    async def complete(self, answer: bytes | None, headers: Headers = (), *, status: int = 200) -> None:
        self._on_gone = None

    async def error(self, error: GatewayError, headers: Headers = ()) -> None:
        await self.fail(error)

    async def fail(self, error: GatewayError, headers: Headers = ()) -> None:
        self._on_gone = None
        if self.begun.is_set():
            self._events.add(self._form.last_event(error))
        else:
            self.refused = error

    def release(self) -> None:
        self._on_gone = None

    def abort(self) -> None:
        self.leave()


@dataclass(frozen=True, slots=True)
class Following:
    """What is to be done once the chat of a response has ended. ``leg``: makes the client of the chat's exchange."""

    leg: Callable[[Client], Leg]
    follow: Callable[[Leg, Client], Awaitable[None]]


class Run:
    """One response that is being made. ``key``: whose it is."""

    def __init__(self, key: str, answering: Answering, events: Events, listener: Listener) -> None:
        self.key = key
        self.events = events
        self.answering = answering
        self.listener = listener
        self._cancelled: dict[str, Any] | None = None
        self._queued, first = queued_events(answering.facts)
        events.add(first)
        answering.opening = (("in_progress",), len(QUEUED))
        answering.on_begin = self._begin
        answering.events = lambda: b"".join(events.all)

    def now(self) -> dict[str, Any]:
        """The response as it stands. One that was cancelled stays so, though its upstream is read on for its usage."""
        return self._cancelled or self.answering.so_far() or self._queued

    def end(self) -> None:
        """There is nothing more to come."""
        self.events.end()
        if self.listener.begun.is_set():
            self.answering.keep(self.now())  # with all its events

    def cancel(self) -> dict[str, Any]:
        """End it early. Returns the response."""
        if self._cancelled is not None:
            return self._cancelled
        response = self._cancelled = {**self.now(), "status": "cancelled"}
        self.answering.keep(response)
        self.answering.cancelled = True
        self.events.end()
        self.listener.leave()
        return response

    def _begin(self) -> None:
        if not self.listener.begun.is_set():
            self.listener.begun.set()
            self.answering.keep(self._queued)


class Background:
    """All responses that are being made in the background."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._running: dict[str, Run] = {}

    def find(self, key: str, id: str) -> Run | None:
        """The key's response of that id, if it is being made."""
        run = self._running.get(id)
        return run if run is not None and run.key == key else None

    async def answer(
        self,
        request: Request,
        client: HttpClient,
        answering: Answering,
        operation: TranslatedOperation,
        route: Route,
        key: VirtualKey,
        following: Following | None = None,
    ) -> None:
        """Set one going, and tell the client of it: that it is queued, or its events as they come; or with which error
        it was not let in.
        """
        events, form = Events(), ResponsesErrors()
        form.failed = operation.failed
        listener = Listener(client.request_id, client.loop, events, form)
        run = Run(key.name, answering, events, listener)
        asked = answering.facts.model
        leg = None if following is None else following.leg(listener)
        exchange = Exchange(self._services, operation, route, key, leg or listener, sdk_retry=False, asked=asked)
        tasks = self._services.tasks
        running = tasks.spawn(self._run(answering.facts.id, exchange, run, leg, following), "background")
        waiting = tasks.spawn(listener.begun.wait(), "background-begun")
        await asyncio.wait({waiting, running}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if listener.refused is not None:
            request.error = exchange.refusal
            await client.error(listener.refused)
            return
        notes = note_headers(answering.remarks())
        if answering.listened_to:
            await tell(client, events, 0, notes)
        else:
            await client.respond(200, notes, as_stored(run.now()))

    async def _run(self, id: str, exchange: Exchange, run: Run, leg: Leg | None, following: Following | None) -> None:
        self._running[id] = run
        try:
            await exchange.run()
            if leg is not None and following is not None:
                await following.follow(leg, run.listener)
        finally:
            del self._running[id]
            run.end()


async def tell(client: HttpClient, events: Events, place: int, headers: Headers = ()) -> None:
    """Send the events from this place on, those that are still to come included."""
    await client.start(200, (STREAM, *headers))
    async for data in events.after(place):
        if client.gone:
            return
        await client.write(data)
    await client.finish()
