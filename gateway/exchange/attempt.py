"""The driver: carries out one conversation's commands against one endpoint with one key.

It holds no rules of its own but the timers of the failover policy: which wait may last how long.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

from gateway import __version__
from gateway.core.errors import ResultUnavailable, TransportError
from gateway.core.headers import Header
from gateway.core.json_weight import LONG
from gateway.core.routing.route_table import AttemptPlan
from gateway.core.types import Outcome, Phase
from gateway.exchange.timers import DeadlinePassed, Waits
from gateway.runtime.off_loop import off_loop
from gateway.runtime.ports import Clock
from gateway.translate.commands import (
    Awaiting,
    Charge,
    Command,
    Conversation,
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


class Caller(Protocol):
    """Whose attempt it is: it passes on what the conversation has for the client, and does what it asks for beside
    talking to its upstream (translate/commands.py).
    """

    @property
    def started(self) -> bool:
        """Whether anything has gone to the client."""
        ...

    async def emit(self, data: bytes, meaningful: bool) -> None: ...
    def emit_now(self, data: bytes) -> bool:
        """``emit`` without waiting; False if it must be waited for, or is the first."""
        ...

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

    ``caller``: takes what the conversation has for the client, and does what it asks for besides.
    ``waits``: what the attempt waits through, and is interrupted by; their ``deadline`` may be moved before ``run``.
    ``deadline``: the loop's time at which it must have ended.
    ``conversation``: what it carries out.
    ``trace_headers``: those that every request of it carries, by which its upstream goes on with the trace.
    After ``run``: ``waited`` is the seconds spent waiting for the upstream, ``bytes_out`` and ``bytes_in`` its traffic;
    ``sent`` says whether anything may have left for the upstream.
    """

    __slots__ = (
        "__weakref__",
        "_caller",
        "_heavy",
        "_now",
        "_owed",
        "_plan",
        "_pool",
        "_response",
        "_stream",
        "_too_late_to_fetch",
        "_waits",
        "bytes_out",
        "conversation",
        "sent",
        "trace_headers",
        "waited",
    )

    def __init__(
        self,
        plan: AttemptPlan,
        conversation: Conversation,
        services: AttemptServices,
        *,
        caller: Caller,
        waits: Waits,
        deadline: float,
    ) -> None:
        self._plan = plan
        self.conversation = conversation
        self._pool = services.pool
        self._caller = caller
        self._waits = waits
        waits.begin(plan, deadline)
        self._now = services.clock.monotonic
        self._response: Response | None = None
        self._stream: FedStream | None = None
        self._heavy: bytes | None = None  # a piece that takes long to take
        self._owed = b""  # what came of the stream, but could not be sent at once
        self.waited = 0.0
        self.bytes_out = 0
        self._too_late_to_fetch = False
        self.sent = False
        self.trace_headers: tuple[Header, ...] = ()

    @property
    def phase(self) -> Phase:
        """How far an attempt that was cut short had come, for all the driver knows."""
        return Phase.UNKNOWN if self.sent else Phase.UNSENT

    @property
    def bytes_in(self) -> int:
        """Bytes of the answer's body received so far."""
        return self._response.bytes_received if self._response is not None else 0

    async def run(self) -> Outcome:
        """Carry out one command after the other, to the end. Interruptions other than stalls are raised: client gone,
        draining.
        """
        conversing = self.conversation.converse()
        outcome: Outcome | None = None
        try:
            command: Command | Outcome = next(conversing)
            while not isinstance(command, Outcome):
                result: Result = None
                try:
                    if type(command) is Send:
                        result = await self._send(command)
                    elif type(command) is Relay:
                        await self._relay(command.stream)
                    else:
                        result = await self._carry_out(command)
                        if _goes_on_aside(command, result):
                            with self._waits:
                                command = await off_loop(carried_on, conversing, result)
                            continue
                except (TransportError, Stalled, ResultUnavailable) as trouble:
                    command = conversing.throw(trouble)
                else:
                    command = conversing.send(result)
            outcome = command
        except StopIteration as end:
            outcome = end.value
        except (TransportError, Stalled, ResultUnavailable, DeadlinePassed) as error:
            outcome = self._cut_short(error)
        finally:
            conversing.close()
            self._end(LINGER if outcome is not None and outcome.ok else 0.0)
        return outcome

    def _end(self, linger: float) -> None:
        waits = self._waits
        waits.end()
        self.waited += waits.waited
        # They refer back to this attempt, and the account keeps the attempt.
        del self._caller, self._stream, self._waits
        if self._response is not None:
            self._response.close(linger)

    def _cut_short(self, error: Exception) -> Outcome:
        """How an attempt ends whose conversation has no answer to ``error``."""
        if isinstance(error, TransportError):
            return Outcome(error.slug, error.phase, detail=error.detail)
        if isinstance(error, Stalled):
            return Outcome(f"stall_{error.awaiting}", self.phase, detail=str(error))
        if isinstance(error, ResultUnavailable):
            return Outcome("asset_unavailable", Phase.ANSWERED, detail=str(error))
        return self._too_late()

    def _too_late(self) -> Outcome:
        """The deadline passed: before there was a task, before it was done, or before its images were here."""
        if self.conversation.task_id is None:
            return Outcome("deadline", self.phase, detail="the request's deadline passed")
        if self.conversation.images:
            return Outcome("asset_unavailable", Phase.ANSWERED, detail="the deadline passed while images were fetched")
        return Outcome("task_poll", self.phase, detail="the task was not done by the deadline")

    async def _carry_out(self, command: Command) -> Result:
        if type(command) is Receive:
            return await self._receive(command.awaiting)
        if type(command) is Emit:
            await self._emit(command.data, meaningful=command.meaningful, optional=command.optional)
            return None
        if type(command) is Fetch:
            return await self._fetch(command)
        if type(command) is Charge:
            if self.conversation.counts_slowly:
                with self._waits:
                    await off_loop(self.conversation.estimate)
            return self._caller.charge()
        if type(command) is Offload:
            return None
        with self._waits.wait(None):
            return await self._run_errand(command)

    async def _emit(self, data: bytes, *, meaningful: bool = True, optional: bool = False) -> None:
        if self._caller.emit_now(data) or (optional and not self._caller.started):
            return
        loop = self._waits.loop
        started = loop.time()
        with self._waits.wait(None):
            await self._caller.emit(data, meaningful)
        self._waits.excuse(loop.time() - started)

    async def _fetch(self, command: Fetch) -> Result:
        """Fetch an image. It is made and paid for: a deadline that passes meanwhile ends the fetching only, and leaves
        a moment to deliver the link instead.
        """
        if not self._too_late_to_fetch:
            started = self._now()
            try:
                with self._waits.wait(None):
                    data = await self._caller.fetch(command.url)
                self.waited += self._now() - started
                return data
            except DeadlinePassed:
                self._too_late_to_fetch = True
                self._waits.deadline = self._waits.loop.time() + TO_DELIVER
        raise ResultUnavailable("the request's deadline passed before the image was fetched")

    async def _run_errand(self, command: Command) -> Result:
        if type(command) is Sleep:
            started = self._now()
            await self._caller.rest(command.seconds, command.wakeup)
            self.waited += self._now() - started
        elif type(command) is Keep:
            return await self._caller.keep(command.data)
        elif type(command) is Record:
            await self._caller.record(command.task_id)
        else:
            assert type(command) is Respond
            await self._caller.respond(command.status, command.body)
        return None

    async def _send(self, command: Send) -> Head:
        if self._response is not None:
            self._response.close()
            self._response = None
        upstream, credential = self._plan.target.upstream, self._plan.credential
        self.bytes_out += len(command.body)
        waits = self._waits
        waits.sent(command.within, whole=command.whole)
        with waits.wait(Awaiting.HEAD):
            response = self._response = await self._pool.request(
                command.endpoint or self._plan.endpoint,
                command.method,
                command.path,
                _request_headers(command.key_header, credential.value, command.headers) + self.trace_headers,
                command.body,
                connect_timeout=upstream.timeouts.connect,
                fresh=self._plan.fresh_connection and not command.free,
                on_sending=_nothing if command.free else self._sending,
            )
        waits.head_came()
        return response.head

    def _sending(self) -> None:
        self.sent = True

    async def _receive(self, awaiting: Awaiting) -> bytes:
        assert self._response is not None
        waits = self._waits
        data = self._response.take()
        if data is None:  # it did not come while we did other things
            waits.content_came(self.conversation.progress)
            with waits.wait(awaiting):
                data = await self._response.receive()
        waits.byte_came()
        return data

    async def _relay(self, stream: FedStream) -> None:
        """Let the body pass through ``stream`` to the client. Where the client takes it at once, nothing is awaited:
        the upstream's connection calls ``_pass`` with each piece.
        """
        assert self._response is not None
        self._stream = stream
        while not stream.over:
            with self._waits.wait(stream.awaiting):
                await self._response.hand_over(self._pass)
            if self._heavy is not None:
                heavy, self._heavy = self._heavy, None
                self._owed = await off_loop(stream.feed, heavy)
                self._waits.taken(stream.progress)
            if self._owed:
                owed, self._owed = self._owed, b""
                await self._emit(owed)

    def _pass(self, data: bytes) -> bool:
        """Pass a piece of the body on. False if the stream is over, the piece takes long, or the client must be waited
        for.
        """
        stream, waits = self._stream, self._waits
        assert stream is not None
        if stream.is_heavy(data):
            self._heavy = data
            return False
        started = self._now()
        due = stream.feed(data)
        waits.taken(stream.progress)
        if due and not self._caller.emit_now(due):
            self._owed = due
            return False
        if stream.over:
            return False
        if stream.awaiting is not waits.awaiting:
            waits.expect(stream.awaiting)
        self.waited -= self._now() - started  # which was no waiting
        return True


def _goes_on_aside(command: Command, result: Result) -> bool:
    """Whether what the conversation does next takes long."""
    return type(command) is Offload or (type(command) is Fetch and type(result) is bytes and len(result) > LONG)


def _nothing() -> None:
    """What is free to ask leaves nothing in doubt once it is sent."""
