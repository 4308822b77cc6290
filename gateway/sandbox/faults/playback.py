"""What a scenario is given, and the building blocks it is made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from gateway.sandbox.wire.answers import (
    PLAIN,
    Answer,
    Close,
    Event,
    EventStream,
    Framing,
    Pause,
    Reply,
    Role,
    Send,
    Step,
)
from gateway.sandbox.wire.errors import cloudflare_ray
from gateway.sandbox.wire.http import LAST_CHUNK, Headers, Request, chunk, head
from gateway.sandbox.wire.options import Value


@dataclass(frozen=True, slots=True)
class Choice:
    """A scenario by name with its parameters, each of its declared type."""

    name: str
    values: Mapping[str, Value]


@dataclass(frozen=True)
class Order:
    """One request to be answered in one way.

    ``nth``: the request's number on its connection, from 1. ``wall``: seconds of silence Cloudflare stands.
    ``make``: makes the honest answer; called once, and only by scenarios that use it.
    """

    choice: Choice
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

    def number(self, name: str) -> float:
        return float(self.choice.values[name])

    def count(self, name: str) -> int:
        return int(self.choice.values[name])

    def text(self, name: str) -> str:
        return str(self.choice.values[name])

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


def reply_head(order: Order, reply: Reply, extra: Headers = ()) -> bytes:
    """A head that announces the reply's length."""
    length = (b"content-length", b"%d" % len(reply.body))
    return head(reply.status, order.headers(reply.content_type, (*reply.headers, *extra, length)))


def play_reply(order: Order, reply: Reply) -> Iterator[Step]:
    goods = reply.sale
    data = reply_head(order, reply) + reply.body
    yield Send(data, goods.output_tokens, goods.images) if goods else Send(data)


def stream_head(order: Order, extra: Headers = ()) -> Send:
    """The head of a chunked event stream."""
    content_type = b"text/event-stream; charset=utf-8"
    usual: Headers = ((b"cache-control", b"no-cache"), (b"transfer-encoding", b"chunked"))
    return Send(head(200, order.headers(content_type, (*usual, *extra))))


def send_event(event: Event, framing: Framing = PLAIN) -> Send:
    return Send(chunk(framing.encode(event)), event.tokens, event.images)


def send_events(order: Order, events: Iterable[Event], framing: Framing = PLAIN) -> Iterator[Step]:
    """The events as HTTP chunks, one each, ``delay`` milliseconds apart. The body is left open."""
    delay = order.number("delay") / 1000
    for event in events:
        if delay:
            yield Pause(delay)
        yield send_event(event, framing)


def play_events(order: Order, events: Iterable[Event], framing: Framing = PLAIN) -> Iterator[Step]:
    """A whole stream, cleanly ended."""
    yield stream_head(order)
    yield from send_events(order, events, framing)
    yield Send(LAST_CHUNK)


def play_honestly(order: Order) -> Iterator[Step]:
    if isinstance(order.answer, EventStream):
        yield from play_events(order, order.answer.events)
    else:
        yield from play_reply(order, order.answer)


def pause(seconds: float) -> Pause:
    """A pause; below 0 means for ever, so that it can be written in a header."""
    return Pause(math.inf if seconds < 0 else seconds)


def closing(order: Order) -> Close:
    """A FIN, or an RST where the scenario has ``reset=1``."""
    return Close(reset=bool(order.choice.values.get("reset")))
