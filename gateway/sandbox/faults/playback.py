"""Playback: what a scenario is given to play on, and the building blocks that scenarios share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from gateway.sandbox.wire.answers import PLAIN, Answer, Event, EventStream, Framing, Reply, Role
from gateway.sandbox.wire.errors import cloudflare_ray
from gateway.sandbox.wire.http import LAST_CHUNK, Headers, Request, chunk, response_head
from gateway.sandbox.wire.options import Value
from gateway.sandbox.wire.steps import Close, Pause, Send, Step


@dataclass(frozen=True, slots=True)
class ChosenScenario:
    """A scenario's name and all its parameters, each of its declared type."""

    name: str
    values: Mapping[str, Value]


@dataclass(frozen=True)
class ScenarioContext:
    """One request, the scenario that answers it, and the honest answer it starts from.

    ``nth``: the request's number on its connection, from 1. ``wall``: seconds of silence Cloudflare stands.
    ``make``: makes the honest answer; called once, and only by scenarios that use it.
    """

    scenario: ChosenScenario
    request: Request
    request_id: str
    role: Role
    nth: int
    wall: float
    make: Callable[[], Answer]

    @cached_property
    def answer(self) -> Answer:
        return self.make()

    @property
    def events(self) -> Iterable[Event]:
        """The honest events. Scenarios about events are only played on a stream."""
        if not isinstance(self.answer, EventStream):
            raise TypeError("a scenario for streams was played on an answer that is none")
        return self.answer.events

    @property
    def whole(self) -> Reply:
        """The honest answer as one body, whether or not a stream was asked for."""
        return self.answer.whole if isinstance(self.answer, EventStream) else self.answer

    @property
    def is_anthropics(self) -> bool:
        """Whether it is a request of Anthropic's API, whose errors have a shape of their own."""
        return self.request.path.startswith("/v1/messages")

    def number(self, name: str) -> float:
        return float(self.scenario.values[name])

    def count(self, name: str) -> int:
        return int(self.scenario.values[name])

    def text(self, name: str) -> str:
        return str(self.scenario.values[name])

    def headers(self, content_type: bytes, extra: Headers = ()) -> Headers:
        """What every answer carries; ``extra`` wins over it."""
        usual: Headers = (
            (b"x-sandbox", b"1"),
            (b"x-request-id", self.request_id.encode()),
            (b"content-type", content_type),
        )
        if self.role == "api":
            ray = cloudflare_ray(self.request_id)
            usual = (*usual, (b"server", b"cloudflare"), (b"cf-ray", ray), (b"cf-cache-status", b"DYNAMIC"))
        replaced = {name for name, _ in extra}
        return (*(field for field in usual if field[0] not in replaced), *extra)


Play = Callable[[ScenarioContext], Iterator[Step]]
"""A scenario's function: the steps in which it plays its answer."""


def reply_head(context: ScenarioContext, reply: Reply, extra: Headers = ()) -> bytes:
    """A head that announces the reply's length."""
    length = (b"content-length", b"%d" % len(reply.body))
    return response_head(reply.status, context.headers(reply.content_type, (*reply.headers, *extra, length)))


def play_reply(context: ScenarioContext, reply: Reply) -> Iterator[Step]:
    goods = reply.sale
    if reply.piece and context.request.method != "HEAD":
        yield from _in_pieces(context, reply)
        return
    data = reply_head(context, reply) + (b"" if context.request.method == "HEAD" else reply.body)
    yield Send(data, goods.output_tokens, goods.images) if goods else Send(data)


def _in_pieces(context: ScenarioContext, reply: Reply) -> Iterator[Step]:
    """A sound as it is made: in chunks, ``delay`` milliseconds apart."""
    delay = context.number("delay") / 1000
    fields = context.headers(reply.content_type, (*reply.headers, (b"transfer-encoding", b"chunked")))
    yield Send(response_head(reply.status, fields))
    for start in range(0, len(reply.body), reply.piece):
        if delay:
            yield Pause(delay)
        yield Send(chunk(reply.body[start : start + reply.piece]))
    yield Send(LAST_CHUNK)


def stream_head(context: ScenarioContext, extra: Headers = ()) -> Send:
    """The head of a chunked event stream."""
    content_type = b"text/event-stream; charset=utf-8"
    usual: Headers = ((b"cache-control", b"no-cache"), (b"transfer-encoding", b"chunked"))
    return Send(response_head(200, context.headers(content_type, (*usual, *extra))))


def send_event(event: Event, framing: Framing = PLAIN) -> Send:
    return Send(chunk(framing.encode(event)), event.tokens, event.images)


def send_events(context: ScenarioContext, events: Iterable[Event], framing: Framing = PLAIN) -> Iterator[Step]:
    """The events as HTTP chunks, one each, ``delay`` milliseconds apart. The body is left open."""
    delay = context.number("delay") / 1000
    for event in events:
        if delay:
            yield Pause(delay)
        yield send_event(event, framing)


def play_events(context: ScenarioContext, events: Iterable[Event], framing: Framing = PLAIN) -> Iterator[Step]:
    """A whole stream, cleanly ended."""
    yield stream_head(context)
    yield from send_events(context, events, framing)
    yield Send(LAST_CHUNK)


def play_honestly(context: ScenarioContext) -> Iterator[Step]:
    if isinstance(context.answer, EventStream):
        yield from play_events(context, context.answer.events)
    else:
        yield from play_reply(context, context.answer)


def pause_for(seconds: float) -> Pause:
    """A pause of so many seconds; below 0 means for ever, because a header cannot say infinity."""
    return Pause(math.inf if seconds < 0 else seconds)


def scenario_close(context: ScenarioContext) -> Close:
    """A FIN, or an RST where the scenario has ``reset=1``."""
    return Close(reset=bool(context.scenario.values.get("reset")))
