"""Faults in how a stream of events is sent: other framing, silence and comments between events, one huge event."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice

from gateway.sandbox.faults.playback import Play, ScenarioContext, pause_for, play_events, send_events, stream_head
from gateway.sandbox.wire.answers import Event, Framing
from gateway.sandbox.wire.http import LAST_CHUNK, chunk
from gateway.sandbox.wire.steps import Pause, Send, Step

COMMENT = b": keepalive\n\n"

_AT_ONCE = 64 * 1024

_FLOODS = {
    "blank": b"\n",
    "cr": b"\r",
    "crlf": b"\r\n",
    "empty": b"data:\n\n",
    "comment": b": x\n\n",
    "id": b"id: 1\n\n",
    "retry": b"retry: 1\n",
    "name": b"event: x\n\n",
    "line": b"data:\n",
    "object": b"data: {}\n\n",
    "ping": b'data: {"type":"ping"}\n\n',
    "role": b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n',
    "usage": b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}\n\n',
    "choices": b'data: {"choices":[' + b'{"index":0,"delta":{}},' * 2_000 + b'{"index":0}]}\n\n',
    "letter": b"x",
}
"""What comes over and over: by itself none of it says anything."""


def framed(framing: Framing) -> Play:
    """A scenario that sends the honest events in another framing."""

    def play(context: ScenarioContext) -> Iterator[Step]:
        yield from play_events(context, context.events, framing)

    return play


def with_bom(context: ScenarioContext) -> Iterator[Step]:
    """A byte order mark before the first event."""
    yield stream_head(context)
    yield Send(chunk(b"\xef\xbb\xbf"))
    yield from send_events(context, context.events)
    yield Send(LAST_CHUNK)


def huge_event(context: ScenarioContext) -> Iterator[Step]:
    """One content event of ``size`` bytes and more; ``seconds`` of silence once ``more`` events have followed it."""
    events = list(context.events)
    place = context.count("after_events")
    choice = {"index": 0, "delta": {"content": "x" * context.count("size")}, "finish_reason": None}
    events.insert(place, replace(events[0].edited(choices=[choice]), kind="content", tokens=1))
    yield from _stalled(context, events, place + 1 + context.count("more"))


def flood(context: ScenarioContext) -> Iterator[Step]:
    """So many events, then ``unit`` over and over, ``chunk`` bytes a chunk, until the client has enough, or ``mib``."""
    unit = _FLOODS[context.text("unit")]
    yield stream_head(context)
    yield from send_events(context, islice(context.events, context.count("after_events")))
    data = unit * max(1, _AT_ONCE // len(unit))
    size = context.count("chunk") or len(data)
    framed = b"".join(chunk(data[at : at + size]) for at in range(0, len(data), size))
    for _ in range(max(1, (context.count("mib") << 20) // len(data))):
        yield Send(framed)
    yield from send_events(context, islice(context.events, context.count("after_events"), None))
    yield Send(LAST_CHUNK)


def stall_where(kinds: tuple[str, ...], *, after: bool) -> Play:
    """``seconds`` of silence before the first event of these kinds (or after the last), then the rest."""

    def play(context: ScenarioContext) -> Iterator[Step]:
        events = list(context.events)
        places = [number for number, event in enumerate(events) if event.kind in kinds] or [len(events)]
        yield from _stalled(context, events, places[-1] + 1 if after else places[0])

    return play


def stall_mid(context: ScenarioContext) -> Iterator[Step]:
    yield from _stalled(context, list(context.events), context.count("after_events"))


def _stalled(context: ScenarioContext, events: list[Event], place: int) -> Iterator[Step]:
    yield stream_head(context)
    yield from send_events(context, islice(events, place))
    yield pause_for(context.number("seconds"))
    yield from send_events(context, events[place:])
    yield Send(LAST_CHUNK)


def drip(context: ScenarioContext) -> Iterator[Step]:
    """Some events, then comments: life without progress. ``count`` of them (0: for ever) before the rest."""
    events = list(context.events)
    place = context.count("after_events")
    yield stream_head(context)
    yield from send_events(context, events[:place])
    for number in count(1):
        yield Pause(context.number("interval") / 1000)
        yield Send(chunk(COMMENT))
        if number == context.count("count"):
            break
    yield from send_events(context, events[place:])
    yield Send(LAST_CHUNK)


def comments(context: ScenarioContext) -> Iterator[Step]:
    """Comments, blank lines, and (``ids=1``) fields that no client of chat uses, between all events."""
    fields = b"id: 7\nretry: 3000\n" if context.count("ids") else b""
    yield stream_head(context)
    for event in context.events:
        yield Send(chunk(b": ping\n\n\n\n" + fields))
        yield from send_events(context, (event,))
    yield Send(LAST_CHUNK)
