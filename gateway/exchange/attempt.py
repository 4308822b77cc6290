"""The driver: carries out one conversation's commands against one endpoint with one key.

It holds no rules of its own but the timers of the failover policy: which wait may last how long.
"""

from __future__ import annotations

from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from gateway import __version__
from gateway.core.errors import ResultUnavailable, TransportError
from gateway.core.headers import Header
from gateway.core.json_weight import LONG
from gateway.core.routing.route_table import AttemptPlan
from gateway.core.types import Outcome, Phase
from gateway.exchange.timers import AttemptTimers, DeadlinePassed
from gateway.runtime.interruption import Interrupter
from gateway.runtime.off_loop import off_loop
from gateway.runtime.ports import Clock
from gateway.translate.commands import (
    Awaiting,
    Charge,
    Command,
    Conversation,
    Conversing,
    Emit,
    FedStream,
    Fetch,
    Keep,
    Offload,
    Receive,
    Record,
    Relay,
    Respond,
    Result,
    Send,
    Sleep,
    Stalled,
    carried_on,
)
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.response import Response
from gateway.wire.answer_head import Head

T = TypeVar("T")

_FIXED_HEADERS: tuple[Header, ...] = (
    (b"content-type", b"application/json"),
    (b"accept", b"text/event-stream"),
    (b"accept-encoding", b"identity"),
    (b"user-agent", b"piapi-gateway/" + __version__.encode()),
)


@lru_cache(maxsize=64)
def _request_headers(key_header: bytes, key: str, own: tuple[Header, ...]) -> tuple[Header, ...]:
    """The headers of a request: the same for every chat with one key. ``own``: those that its conversation names."""
    scheme = b"Bearer " if key_header == b"authorization" else b""
    named = {name for name, _ in own}
    fixed = [header for header in _FIXED_HEADERS if header[0] not in named]
    return (*fixed, (key_header, scheme + key.encode()), *own)


LINGER = 1.0
"""Seconds an upstream has, after the stream's last event, to end its answer, so that the connection can be kept."""


TO_DELIVER = 5.0
"""Seconds beyond the deadline in which an image that could not be fetched in time goes to its client as a link."""


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


class Attempt:
    """One try at one target through one endpoint with one key.

    ``errands``: None for a conversation that has none.
    ``deadline``: the loop's time at which it must have ended; ``timers.deadline`` may be moved before ``run``.
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
        self._now = services.clock.monotonic
        self._loop = interrupter.loop
        self.timers = AttemptTimers(plan, deadline, interrupter.loop, interrupter.interrupt)
        self._response: Response | None = None
        self._stream: FedStream | None = None
        self._heavy: bytes | None = None  # a piece that takes long to take
        self._owed = b""  # what came of the stream, but could not be sent at once
        self._relaying = 0.0  # seconds in which bytes were on their way through us
        self.waited = 0.0
        self.bytes_out = 0
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
        conversing, linger = self._conversation.converse(), 0.0
        try:
            outcome = await self._converse(conversing)
            if outcome.ok:
                linger = LINGER
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
            self.timers.stop()
            # They refer back to this attempt, and the account keeps the attempt.
            del self._sink, self._errands, self._stream
            if self._response is not None:
                self._response.close(linger)

    def _too_late(self) -> Outcome:
        """The deadline passed: before there was a task, before it was done, or before its images were here."""
        if self._conversation.task_id is None:
            return Outcome("deadline", self.phase, detail="the request's deadline passed")
        if self._conversation.images:
            return Outcome("asset_unavailable", Phase.ANSWERED, detail="the deadline passed while images were fetched")
        return Outcome("task_poll", self.phase, detail="the task was not done by the deadline")

    async def _converse(self, conversing: Conversing) -> Outcome:
        """Carry out one command after the other."""
        try:
            command: Command | Outcome = next(conversing)
            while not isinstance(command, Outcome):
                try:
                    if type(command) is Offload:
                        command = await self._interrupter.wait(off_loop(carried_on, conversing))
                        continue
                    result: Result = None
                    if type(command) is Send:
                        result = await self._send(command)
                    elif type(command) is Relay:
                        await self._relay(command.stream)
                    else:
                        result = await self._carry_out(command)
                    if type(command) is Fetch and type(result) is bytes and len(result) > LONG:
                        command = await self._interrupter.wait(off_loop(carried_on, conversing, result))
                        continue
                except (TransportError, Stalled, ResultUnavailable) as trouble:
                    command = conversing.throw(trouble)
                else:
                    command = conversing.send(result)
            return command
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    def _arrived(self) -> bytes | None:
        """What came of the body while we did other things; None if it must be waited for."""
        assert self._response is not None
        data = self._response.take()
        if data is not None:
            self.timers.byte_came()
        return data

    async def _carry_out(self, command: Command) -> Result:
        if type(command) is Receive:
            arrived = self._arrived()
            return await self._receive(command.awaiting) if arrived is None else arrived
        if type(command) is Emit:
            if self._sink.emit_now(command.data) or (command.optional and not self._sink.started):
                return None
            started = self._loop.time()
            await self._by_deadline(self._sink.emit(command.data, command.meaningful))
            self.timers.excuse(self._loop.time() - started)
            return None
        if type(command) is Fetch:
            return await self._fetch(command)
        if type(command) is Charge:
            assert self._errands is not None
            if self._conversation.counts_slowly:
                await self._interrupter.wait(off_loop(self._conversation.estimate))
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
                self.timers.deadline = self._loop.time() + TO_DELIVER
        raise ResultUnavailable("the request's deadline passed before the image was fetched")

    async def _run_errand(self, command: Command) -> Result:
        assert self._errands is not None
        if type(command) is Sleep:
            started = self._now()
            await self._errands.rest(command.seconds, command.wakeup)
            self.waited += self._now() - started
        elif type(command) is Fetch:
            started = self._now()
            data = await self._errands.fetch(command.url)
            self.waited += self._now() - started
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
        self.timers.watch(None)
        try:
            return await self._interrupter.wait(work)
        finally:
            self.timers.rest()

    async def _send(self, command: Send) -> Head:
        if self._response is not None:
            self._response.close()
            self._response = None
        upstream, credential = self._plan.target.upstream, self._plan.credential
        self.bytes_out += len(command.body)
        self.timers.sent(command.within, whole=command.whole)
        started = self._now()
        try:
            response = await self._interrupter.wait(
                self._pool.request(
                    command.endpoint or self._plan.endpoint,
                    command.method,
                    command.path,
                    _request_headers(command.key_header, credential.value, command.headers),
                    command.body,
                    connect_timeout=upstream.timeouts.connect,
                    fresh=self._plan.fresh_connection and not command.free,
                    on_sending=_nothing if command.free else self._sending,
                )
            )
        finally:
            self.timers.rest()
            self.waited += self._now() - started
        self._response = response
        self.timers.head_came()
        return response.head

    def _sending(self) -> None:
        self.sent = True

    async def _receive(self, awaiting: Awaiting) -> bytes:
        assert self._response is not None
        self.timers.content_came(self._conversation.progress)
        self.timers.watch(awaiting)
        started = self._now()
        try:
            data = await self._interrupter.wait(self._response.receive())
        finally:
            self.timers.rest()
            self.waited += self._now() - started
        self.timers.byte_came()
        return data

    async def _relay(self, stream: FedStream) -> None:
        """Let the body pass through ``stream`` to the client. Where the client takes it at once, nothing is awaited:
        the upstream's connection calls ``_pass`` with each piece.
        """
        assert self._response is not None
        self._stream = stream
        while not stream.over:
            self.timers.watch(stream.awaiting)
            started, self._relaying = self._now(), 0.0
            try:
                await self._interrupter.wait(self._response.hand_over(self._pass))
            finally:
                self.timers.rest()
                self.waited += self._now() - started - self._relaying
            if self._heavy is not None:
                heavy, self._heavy = self._heavy, None
                self._owed = await off_loop(stream.feed, heavy)
                self.timers.taken(stream.progress)
            if self._owed:
                owed, self._owed = self._owed, b""
                await self._carry_out(Emit(owed))

    def _pass(self, data: bytes) -> bool:
        """Pass a piece of the body on. False if the stream is over, the piece takes long, or the client must be waited
        for.
        """
        stream, timers = self._stream, self.timers
        assert stream is not None
        if stream.is_heavy(data):
            self._heavy = data
            return False
        started = self._now()
        due = stream.feed(data)
        timers.taken(stream.progress)
        if due and not self._sink.emit_now(due):
            self._owed = due
            return False
        if stream.over:
            return False
        if stream.awaiting is not timers.awaiting:
            timers.watch(stream.awaiting)
        self._relaying += self._now() - started
        return True


def _nothing() -> None:
    """What is free to ask leaves nothing in doubt once it is sent."""
