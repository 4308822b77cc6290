"""The driver: carries out one conversation's commands against one endpoint with one key.

It holds no rules of its own but the timers of the failover policy: which wait may last how long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from gateway import __version__
from gateway.core.errors import ResultUnavailable, TransportError
from gateway.core.routing.route_table import AttemptPlan
from gateway.core.types import CostClass, Outcome, Phase
from gateway.runtime.interruption import Interrupter, Watchdog
from gateway.runtime.off_loop import off_loop
from gateway.runtime.ports import Clock
from gateway.runtime.tasks import TrackedTasks
from gateway.translate.commands import (
    Awaiting,
    Charge,
    Command,
    Conversation,
    Conversing,
    Emit,
    Fetch,
    Head,
    Keep,
    Offload,
    Receive,
    Record,
    Respond,
    Result,
    Send,
    Sleep,
    Stalled,
    carried_on,
)
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.response import Response

T = TypeVar("T")

GRACE_AFTER_FINISH = 5.0
"""Seconds of silence after which an answer that named its finish reason counts as ended (fault row 37). Usage was seen
to come 3 s after it, and content after a tool that the upstream ran itself."""

PROGRESS_FACTOR = 2.0
"""Comments show that a host lives, not that it parts: content may lag by so many idle times (Rule 5: 60 s, 120 s)."""

_FIXED_HEADERS = (
    (b"content-type", b"application/json"),
    (b"accept", b"text/event-stream"),
    (b"accept-encoding", b"identity"),
    (b"user-agent", b"piapi-gateway/" + __version__.encode()),
)


LINGER = 1.0
"""Seconds an upstream has, after the stream's last event, to end its answer, so that the connection can be kept."""


TO_DELIVER = 5.0
"""Seconds beyond the deadline in which an image that could not be fetched in time goes to its client as a link."""


class DeadlinePassed(Exception):
    """The request as a whole took too long."""


class Sink(Protocol):
    """Where a conversation's bytes for the client go."""

    @property
    def started(self) -> bool:
        """Whether anything has gone to the client."""
        ...

    async def emit(self, data: bytes, meaningful: bool) -> None: ...
    def emit_now(self, data: bytes) -> bool:
        """``emit`` without waiting; False if it must be waited for, or is the first."""
        ...


class Errands(Protocol):
    """What a conversation may ask for beside talking to its upstream (translate/commands.py)."""

    async def fetch(self, url: str) -> bytes:
        """Raises ResultUnavailable."""
        ...

    async def keep(self, data: bytes) -> str:
        """Raises ResultUnavailable."""
        ...

    async def record(self, task_id: str) -> None: ...
    async def respond(self, status: int, body: bytes) -> None: ...
    def charge(self) -> str | None: ...
    async def rest(self, seconds: float, wakeup: str | None) -> None: ...


class AttemptServices(Protocol):
    """The gateway's long-lived parts that an attempt uses (exchange/services.py)."""

    @property
    def pool(self) -> ConnectionPool: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def tasks(self) -> TrackedTasks: ...


class Attempt:
    """One try at one target through one endpoint with one key.

    ``errands``: None for a conversation that has none.
    ``deadline``: the loop's time at which it must have ended; it may be moved before ``run``.
    After ``run``: ``waited`` is the seconds spent waiting for the upstream, ``bytes_out`` and ``bytes_in`` its traffic;
    ``sent`` says whether anything may have left for the upstream.
    """

    def __init__(
        self,
        plan: AttemptPlan,
        conversation: Conversation,
        services: AttemptServices,
        *,
        sink: Sink,
        interrupter: Interrupter,
        deadline: float,
        errands: Errands | None = None,
    ) -> None:
        self._plan = plan
        self._conversation = conversation
        self._pool = services.pool
        self._sink = sink
        self._errands = errands
        self._interrupter = interrupter
        self.deadline = deadline
        self._clock = services.clock
        self._tasks = services.tasks
        self._loop = asyncio.get_running_loop()
        self._watchdog = Watchdog(self._loop, self._expired)
        self._bound_by_idle = plan.target.cost_class is CostClass.TOKENS
        self._awaiting = Awaiting.HEAD
        self._response: Response | None = None
        self._last_byte = self._last_progress = self._head_at = self._loop.time()
        self._progress_seen = 0
        self._waiting_until = 0.0
        self._within: float | None = None
        self.waited = 0.0
        self.bytes_out = 0
        self._handed_over = False
        self._too_late_to_fetch = False
        self.sent = False

    @property
    def phase(self) -> Phase:
        """How far an attempt that was cut short had come, for all the driver knows."""
        return Phase.UNKNOWN if self.sent else Phase.UNSENT

    @property
    def bytes_in(self) -> int:
        """Bytes of the answer's body received so far."""
        return self._response.bytes_received if self._response is not None else 0

    async def run(self) -> Outcome:
        """Converse to the end. Interruptions other than stalls (client gone, draining) are raised."""
        conversing = self._conversation.converse()
        try:
            outcome = await self._converse(conversing)
            if outcome.ok and self._response is not None and not self._response.complete:
                self._tasks.spawn(_read_to_end(self._response), "read-to-end")
                self._handed_over = True
            return outcome
        except TransportError as error:
            return Outcome(error.slug, error.phase, detail=error.detail)
        except Stalled as stall:
            return Outcome(f"stall_{stall.awaiting}", self.phase, detail=str(stall))
        except DeadlinePassed:
            return self._too_late()
        except ResultUnavailable as missing:
            return Outcome("asset_unavailable", Phase.ANSWERED, detail=str(missing))
        finally:
            conversing.close()
            self._watchdog.stop()
            del self._sink, self._errands  # they refer back to this attempt, and the account keeps the attempt
            if self._response is not None and not self._handed_over:
                self._response.close()

    def _too_late(self) -> Outcome:
        """The deadline passed: before there was a task, before it was done, or before its images were here."""
        if self._conversation.task_id is None:
            return Outcome("deadline", self.phase, detail="the request's deadline passed")
        if self._conversation.images:
            return Outcome("asset_unavailable", Phase.ANSWERED, detail="the deadline passed while images were fetched")
        return Outcome("task_poll", self.phase, detail="the task was not done by the deadline")

    async def _converse(self, conversing: Conversing) -> Outcome:
        """Carry out one command after the other; most of a stream's need no waiting, and no timer then."""
        try:
            command = next(conversing)
            while True:
                result: Result = None
                if type(command) is Offload:
                    step = await self._interrupter.wait(off_loop(carried_on, conversing))
                    if isinstance(step, Outcome):
                        return step
                    command = step
                    continue
                try:
                    if type(command) is Receive:
                        result = self._arrived()
                        if result is None:
                            result = await self._receive(command.awaiting)
                    elif not (type(command) is Emit and self._sink.emit_now(command.data)):
                        result = await self._carry_out(command)
                except (TransportError, Stalled, ResultUnavailable) as trouble:
                    command = conversing.throw(trouble)
                else:
                    command = conversing.send(result)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    def _arrived(self) -> bytes | None:
        """What came of the body while we did other things; None if it must be waited for."""
        assert self._response is not None
        data = self._response.take()
        if data is not None:
            self._last_byte = self._loop.time()
        return data

    async def _carry_out(self, command: Command) -> Result:
        if type(command) is Emit:
            if command.optional and not self._sink.started:
                return None
            started = self._loop.time()
            await self._by_deadline(self._sink.emit(command.data, command.meaningful))
            blocked = self._loop.time() - started  # while the client made us wait, the upstream was not silent
            self._last_byte += blocked
            self._last_progress += blocked
            return None
        if type(command) is Send:
            return await self._send(command)
        if type(command) is Fetch:
            return await self._fetch(command)
        if type(command) is Charge:
            assert self._errands is not None
            return self._errands.charge()
        return await self._by_deadline(self._run_errand(command))

    async def _fetch(self, command: Fetch) -> Result:
        """Fetch an image. It is made and paid for: a deadline that passes meanwhile ends the fetching only, and leaves
        a moment to deliver the link instead.
        """
        if not self._too_late_to_fetch:
            try:
                return await self._by_deadline(self._run_errand(command))
            except DeadlinePassed:
                self._too_late_to_fetch = True
                self.deadline = self._loop.time() + TO_DELIVER
        raise ResultUnavailable("the request's deadline passed before the image was fetched")

    async def _run_errand(self, command: Command) -> Result:
        assert self._errands is not None
        if type(command) is Sleep:
            started = self._clock.monotonic()
            await self._errands.rest(command.seconds, command.wakeup)
            self.waited += self._clock.monotonic() - started
        elif type(command) is Fetch:
            started = self._clock.monotonic()
            data = await self._errands.fetch(command.url)
            self.waited += self._clock.monotonic() - started
            return data
        elif type(command) is Keep:
            return await self._errands.keep(command.data)
        elif type(command) is Record:
            await self._errands.record(command.task_id)
        else:
            assert type(command) is Respond
            await self._errands.respond(command.status, command.body)
        return None

    async def _by_deadline(self, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work``, at most until the whole request must have ended."""
        self._waiting_until = self.deadline
        self._watchdog.watch(self.deadline)
        try:
            return await self._interrupter.wait(work)
        finally:
            self._watchdog.rest()

    async def _send(self, command: Send) -> Head:
        if self._response is not None:
            self._response.close()
            self._response = None
        upstream, credential = self._plan.target.upstream, self._plan.credential
        scheme = b"Bearer " if command.key_header == b"authorization" else b""
        key = (command.key_header, scheme + credential.value.encode())
        fixed: Sequence[tuple[bytes, bytes]] = _FIXED_HEADERS
        if command.headers:
            own = {name for name, _ in command.headers}
            fixed = [pair for pair in fixed if pair[0] not in own]
        headers = (*fixed, key, *command.headers)
        self._within = command.within
        self._bound_by_idle = self._bound_by_idle and not command.whole
        self.bytes_out += len(command.body)
        self._last_byte = self._loop.time()
        self._watch(Awaiting.HEAD)
        started = self._clock.monotonic()
        try:
            response = await self._interrupter.wait(
                self._pool.request(
                    command.endpoint or self._plan.endpoint,
                    command.method,
                    command.path,
                    headers,
                    command.body,
                    connect_timeout=upstream.timeouts.connect,
                    fresh=self._plan.fresh_connection and not command.free,
                    on_sending=_nothing if command.free else self._sending,
                )
            )
        finally:
            self._watchdog.rest()
            self.waited += self._clock.monotonic() - started
        self._response = response
        self._last_byte = self._last_progress = self._head_at = self._loop.time()
        return Head(response.status, response.headers)

    def _sending(self) -> None:
        self.sent = True

    async def _receive(self, awaiting: Awaiting) -> bytes:
        assert self._response is not None
        self._watch(awaiting)
        started = self._clock.monotonic()
        try:
            data = await self._interrupter.wait(self._response.receive())
        finally:
            self._watchdog.rest()
            self.waited += self._clock.monotonic() - started
        self._last_byte = self._loop.time()
        return data

    def _watch(self, awaiting: Awaiting) -> None:
        self._awaiting = awaiting
        timeouts = self._plan.target.upstream.timeouts
        deadline = self.deadline
        if self._within is not None:
            deadline = min(deadline, self._last_byte + self._within)
        wall = self._plan.endpoint.wall
        if wall is not None:
            deadline = min(deadline, self._last_byte + wall)
        if self._conversation.progress != self._progress_seen:
            self._progress_seen = self._conversation.progress
            self._last_progress = self._last_byte
        if awaiting is Awaiting.FINISH:  # comments show that more may come, but not without end
            deadline = min(deadline, self._last_byte + GRACE_AFTER_FINISH, self._last_progress + timeouts.idle)
        elif self._bound_by_idle:
            if awaiting is Awaiting.IDLE:
                progress = self._last_progress + PROGRESS_FACTOR * timeouts.idle
                deadline = min(deadline, self._last_byte + timeouts.idle, progress)
            elif awaiting is Awaiting.HEAD:
                deadline = min(deadline, self._last_byte + timeouts.head)
            else:
                deadline = min(deadline, self._head_at + timeouts.content)
        self._waiting_until = deadline
        self._watchdog.watch(deadline)

    def _expired(self) -> None:
        if self._waiting_until >= self.deadline:
            self._interrupter.interrupt(DeadlinePassed())
        else:
            silence = self._loop.time() - self._last_byte
            self._interrupter.interrupt(Stalled(self._awaiting, round(silence, 1)))


def _nothing() -> None:
    """What is free to ask leaves nothing in doubt once it is sent."""


async def _read_to_end(response: Response) -> None:
    """The client has all it wanted; the answer's end may still be on its way."""
    try:
        async with asyncio.timeout(LINGER):
            while await response.receive():
                pass
    except (TransportError, TimeoutError):
        pass
    finally:
        response.close()
