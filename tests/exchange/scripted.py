"""Upstreams and clients as a driver sees them, and conversations as a test writes them; all in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.core.billing_terms import USUAL_TERMS
from gateway.core.errors import ResultUnavailable, TransportError
from gateway.core.headers import Headers
from gateway.core.routing.health import Ticket
from gateway.core.routing.route_table import AttemptPlan
from gateway.core.types import Credential, Endpoint, Outcome, Phase, Price, Target, Timeouts, Upstream, Usage
from gateway.exchange.attempt import Attempt
from gateway.exchange.timers import Waits
from gateway.translate.commands import RECEIVE, Awaiting, Conversing, Emit, Send, Stalled
from gateway.wire.answer_head import Head
from tests.virtual_time import VirtualTime

TIMES = Timeouts(connect=5, head=30, content=60, idle=60)
SEND = Send("POST", "/v1/chat/completions", b"{}")
OK = Outcome("ok", Phase.FORWARDED, 200)
NEVER = 1e9


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a story in virtual time, in which other threads take none."""
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner(loop_factory=VirtualTime) as runner:
        for driver in ("attempt", "subrequest"):
            patch.setattr(f"gateway.exchange.{driver}.off_loop", _at_once)
        runner.run(story())


async def _at_once(work: Callable[..., Any], *arguments: Any) -> Any:
    return work(*arguments)


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Response:
    """Pieces of a body, each at its second of the loop's time. ``end``: when the end comes. ``breaks``: or an error."""

    pieces: Sequence[tuple[float, bytes]] = ()
    end: float = NEVER
    breaks: TransportError | None = None
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()
    closed_at: float | None = None
    lingers: float = 0.0
    bytes_received: int = 0
    _taken: int = 0

    @property
    def head(self) -> Head:
        return Head(self.status, self.headers)

    @property
    def complete(self) -> bool:
        return now() >= self.end

    def take(self) -> bytes | None:
        assert self.closed_at is None
        if self._taken < len(self.pieces) and self.pieces[self._taken][0] <= now():
            self._taken += 1
            return self.pieces[self._taken - 1][1]
        return b"" if self._taken == len(self.pieces) and self.complete else None

    async def receive(self) -> bytes:
        while True:
            if (data := self.take()) is not None:
                self.bytes_received += len(data)
                if not data and self.breaks is not None:
                    raise self.breaks
                return data
            next_at = self.pieces[self._taken][0] if self._taken < len(self.pieces) else self.end
            await asyncio.sleep(max(0.0, next_at - now()))

    async def hand_over(self, taker: Callable[[bytes], bool]) -> None:
        while taker(data := await self.receive()) and data:
            pass

    def close(self, linger: float = 0.0) -> None:
        if self.closed_at is None:
            self.closed_at, self.lingers = now(), linger


@dataclass
class Pool:
    """Answers with these, one after the other; a float in between is the seconds until the next one's head."""

    responses: list[Response | TransportError]
    dialled_after: float = 0.0
    head_after: float = 0.0
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def request(
        self, endpoint: Endpoint, method: str, path: str, headers: Any, body: bytes, *, on_sending: Any, **options: Any
    ) -> Response:
        asked = {"method": method, "path": path, "headers": dict(headers), "body": body, "host": endpoint.host}
        self.asked.append({**asked, **options})
        await asyncio.sleep(self.dialled_after)
        on_sending()
        await asyncio.sleep(self.head_after)
        answer = self.responses.pop(0)
        if isinstance(answer, TransportError):
            raise answer
        return answer


@dataclass
class Sink:
    """A client that takes ``seconds`` for each piece that must be waited for."""

    seconds: float = 0.0
    quick: bool = False
    got: list[tuple[bytes, bool]] = field(default_factory=list)

    @property
    def started(self) -> bool:
        return bool(self.got)

    async def emit(self, data: bytes, meaningful: bool) -> None:
        await asyncio.sleep(self.seconds)
        self.got.append((data, meaningful))

    def emit_now(self, data: bytes) -> bool:
        if self.quick:
            self.got.append((data, True))
        return self.quick


@dataclass
class Errands:
    """Runs errands. ``fetched``: what is behind every link, or why it cannot be had; it takes ``seconds``."""

    fetched: bytes | ResultUnavailable = b""
    seconds: float = 0.0
    done: list[tuple[str, Any]] = field(default_factory=list)

    async def fetch(self, url: str) -> bytes:
        await asyncio.sleep(self.seconds)
        self.done.append(("fetch", url))
        if isinstance(self.fetched, ResultUnavailable):
            raise self.fetched
        return self.fetched

    async def keep(self, data: bytes) -> str:
        self.done.append(("keep", data))
        return "http://127.0.0.1/images/kept"

    async def record(self, task_id: str) -> None:
        self.done.append(("record", task_id))

    async def respond(self, status: int, body: bytes) -> None:
        self.done.append(("respond", (status, body)))

    def charge(self) -> str | None:
        self.done.append(("charge", None))
        return "0.00125"

    async def rest(self, seconds: float, wakeup: str | None) -> None:
        self.done.append(("rest", (seconds, wakeup)))
        await asyncio.sleep(seconds)


class Caller(Errands):
    """Takes what is for the client, and runs errands, both as given."""

    def __init__(self, sink: Any, errands: Errands) -> None:
        super().__init__(errands.fetched, errands.seconds, errands.done)
        self._sink = sink
        self.emit = sink.emit
        self.emit_now = sink.emit_now

    @property
    def started(self) -> bool:
        started: bool = self._sink.started
        return started


Script = Callable[["Talk"], Conversing]


class Talk:
    """A conversation as a test writes it. ``heard``: what came when."""

    usage: Usage | None = None
    answer: bytes | None = None
    images = 0
    delivered = 0
    quality: str | None = None
    size: str | None = None
    stated_cost: int | None = None
    task_id: str | None = None
    note: str | None = None
    content_type: bytes | None = None
    headers: Headers = ()
    terms = USUAL_TERMS

    def __init__(self, script: Script) -> None:
        self._script = script
        self.progress = 0
        self.heavy = self.counts_slowly = False
        self.heard: list[tuple[float, bytes]] = []
        self.closed = False

    def converse(self) -> Conversing:
        try:
            return (yield from self._script(self))
        finally:
            self.closed = True

    def estimate(self) -> Usage:
        return Usage()

    def hear(self, awaiting: Awaiting) -> Conversing:
        """Receive one piece; a word (not a comment) is progress. A stall is told by what it was that was awaited."""
        try:
            data = yield RECEIVE[awaiting]
        except Stalled as stall:
            return Outcome(f"stall_{stall.awaiting}", Phase.ANSWERED, detail=str(stall))
        assert isinstance(data, bytes)
        self.heard.append((now(), data))
        if data and not data.startswith(b":"):
            self.progress += 1
        return OK if data else Outcome("sse_truncated", Phase.ANSWERED)


def listen(*awaiting: Awaiting) -> Script:
    """Send, then receive for these reasons, one after the other; the last one for ever."""

    def script(talk: Talk) -> Conversing:
        yield SEND
        reasons = iter(awaiting)
        reason = next(reasons)
        while True:
            outcome = yield from talk.hear(reason)
            if not outcome.ok:
                return outcome
            reason = next(reasons, reason)

    return script


class Clock:
    def monotonic(self) -> float:
        return now()

    def wall_ns(self) -> int:
        return 0


@dataclass
class Parts:
    """What an attempt uses of the gateway."""

    pool: Any
    clock: Clock = field(default_factory=Clock)


def waits() -> Waits:
    return Waits(asyncio.get_running_loop(), Clock())


def attempt(
    script: Script,
    *responses: Response | TransportError,
    deadline: float = NEVER,
    paid: bool = False,
    wall: float | None = None,
    times: Timeouts = TIMES,
    **others: Any,
) -> Attempt:
    """One of token-billed chat, or for an image; its parts are reachable as attributes of the attempt's own."""
    endpoint = Endpoint("https://api.piapi.ai", "https", "api.piapi.ai", 443, wall=wall)
    credential = Credential("first", "the-key-itself")
    upstream = Upstream("piapi", "piapi", (endpoint,), (credential,), times)
    target = Target(upstream, "gpt-4o", price=Price(image=1) if paid else None)
    return Attempt(
        AttemptPlan(target, endpoint, credential, True, 1, 0, False, Ticket(endpoint, "gpt-4o", 0.0)),
        others.get("talk") or Talk(script),
        Parts(others.get("pool") or Pool(list(responses))),
        caller=Caller(others.get("sink") or Sink(), others.get("errands") or Errands()),
        waits=others.get("waits") or waits(),
        deadline=deadline,
    )


def no_errors(name: str, error: BaseException) -> None:
    raise AssertionError(name) from error


async def ends(running: Attempt) -> tuple[str, float]:
    """How it ends, and when."""
    outcome = await running.run()
    return outcome.slug, now()


def every(seconds: float, data: bytes, *, after: float = 0.0, until: float = 10_000.0) -> list[tuple[float, bytes]]:
    return [(after + seconds * number, data) for number in range(1, int((until - after) / seconds))]


def emitting(talk: Talk) -> Conversing:
    """Pass on everything that comes, to the end."""
    yield SEND
    while True:
        outcome = yield from talk.hear(Awaiting.IDLE)
        if not outcome.ok:
            return OK if outcome.slug == "sse_truncated" else outcome
        yield Emit(talk.heard[-1][1])


def folding(talk: Talk) -> Conversing:
    """Collect everything that comes, to the end, as one whole answer."""
    yield SEND
    while True:
        outcome = yield from talk.hear(Awaiting.IDLE if talk.progress else Awaiting.CONTENT)
        if not outcome.ok:
            talk.answer = b"".join(data for _, data in talk.heard)
            return OK if outcome.slug == "sse_truncated" else outcome


def with_usage(script: Script, usage: Usage) -> Script:
    """The same conversation with an upstream that names its usage at the end."""

    def script_with_usage(talk: Talk) -> Conversing:
        outcome = yield from script(talk)
        talk.usage = usage
        return outcome

    return script_with_usage


def fails(slug: str, phase: Phase = Phase.REJECTED, status: int = 500, **others: Any) -> Script:
    """An upstream that answers, and what it answers means this."""

    def script(talk: Talk) -> Conversing:
        yield SEND
        return Outcome(slug, phase, status, **others)

    return script


def in_turn(*scripts: Script) -> Script:
    """The first conversation follows the first script, the second one the second, and so on."""
    left = list(scripts)

    def script(talk: Talk) -> Conversing:
        return (yield from left.pop(0)(talk))

    return script


def answered(data: bytes = b"hello", at: float = 1.0) -> Response:
    """An upstream that sends one piece and ends."""
    return Response([(at, data)], end=at)
