"""Faults of the connection: it breaks, stalls or carries bad HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from gateway.sandbox.faults.playback import (
    ScenarioContext,
    pause_for,
    play_events,
    play_honestly,
    play_reply,
    reply_head,
    scenario_close,
    send_event,
    send_events,
    stream_head,
)
from gateway.sandbox.wire.answers import PLAIN, EventStream, Reply
from gateway.sandbox.wire.errors import error_reply
from gateway.sandbox.wire.http import LAST_CHUNK, chunk, response_head
from gateway.sandbox.wire.steps import Close, Pause, Send, Step


def reset_before_head(context: ScenarioContext) -> Iterator[Step]:
    """The connection ends without a byte of an answer."""
    yield scenario_close(context)


def reused_reset(context: ScenarioContext) -> Iterator[Step]:
    """Honest on a fresh connection; closed without an answer once it has served ``after`` requests."""
    if context.nth > context.count("after"):
        yield scenario_close(context)
    else:
        yield from play_honestly(context)


def early_close(context: ScenarioContext) -> Iterator[Step]:
    """An error while the request's body is still being sent, and the end of the connection."""
    reply = error_reply(context.count("code"))
    yield Send(reply_head(context, reply, ((b"connection", b"close"),)) + reply.body)
    yield Close(complete=True)


def stall_head(context: ScenarioContext) -> Iterator[Step]:
    yield pause_for(context.number("seconds"))
    yield from play_honestly(context)


def cut(context: ScenarioContext) -> Iterator[Step]:
    """The connection ends after so many whole events; half way through a body that is not a stream."""
    if isinstance(context.answer, EventStream):
        yield stream_head(context)
        yield from send_events(context, islice(context.answer.events, context.count("after_events")))
    else:
        body = context.answer.body
        yield Send(reply_head(context, context.answer) + body[: len(body) // 2])
    yield scenario_close(context)


def cut_bytes(context: ScenarioContext) -> Iterator[Step]:
    """The connection ends after exactly ``at`` bytes of the body (chunk framing not counted), terminator missing."""
    left = context.count("at")
    if not isinstance(context.answer, EventStream):
        yield Send(reply_head(context, context.answer) + context.answer.body[:left])
        yield scenario_close(context)
        return
    yield stream_head(context)
    for event in context.answer.events:
        data = PLAIN.encode(event)
        if len(data) > left:
            yield Send(chunk(data[:left]))
            break
        yield send_event(event)
        left -= len(data)
    yield scenario_close(context)


def truncated_chunk(context: ScenarioContext) -> Iterator[Step]:
    """A chunk that announces more bytes than come before the end."""
    yield stream_head(context)
    yield from send_events(context, islice(context.events, context.count("after_events")))
    yield Send(b"400\r\ndata: {")
    yield scenario_close(context)


def bad_chunk(context: ScenarioContext) -> Iterator[Step]:
    """A chunk size that is no number."""
    yield stream_head(context)
    yield from send_events(context, islice(context.events, context.count("after_events")))
    yield Send(b"this is no chunk size\r\n")
    yield Close()


def hang_after_done(context: ScenarioContext) -> Iterator[Step]:
    """Every event, ``[DONE]`` too, but the body is never ended."""
    yield stream_head(context)
    yield from send_events(context, context.events)
    yield pause_for(context.number("seconds"))
    yield Send(LAST_CHUNK)


def informational(context: ScenarioContext) -> Iterator[Step]:
    """Interim answers before the real one (RFC 9110 §15.2)."""
    yield Send(response_head(context.count("code"), ((b"x-sandbox", b"1"),)) * context.count("count"))
    yield from play_honestly(context)


def big_head(context: ScenarioContext) -> Iterator[Step]:
    """A head of more than ``size`` bytes."""
    padding = (b"x-padding", b"p" * context.count("size"))
    reply = context.whole
    yield Send(reply_head(context, reply, (padding,)) + reply.body)


def garbage(context: ScenarioContext) -> Iterator[Step]:
    """Bytes that are no HTTP."""
    yield Send(b"SSH-2.0-sandbox\r\n\x00\xff\xfe garbage\r\n\r\n")
    yield Close()


def extra_bytes(context: ScenarioContext) -> Iterator[Step]:
    """A good answer, and then an unsolicited one on the same connection."""
    yield from play_honestly(context)
    yield from play_reply(context, Reply(200, b'{"unsolicited": true}'))


def silent_close(context: ScenarioContext) -> Iterator[Step]:
    """A good answer on a connection that seems to stay open, and is closed at once."""
    yield from play_honestly(context)
    yield Close(complete=True)


def until_close(context: ScenarioContext) -> Iterator[Step]:
    """A body without length or chunks: the end of the connection ends it (RFC 9112 §6.3)."""
    answer = context.answer
    events = answer.events if isinstance(answer, EventStream) else ()
    content_type = b"text/event-stream" if isinstance(answer, EventStream) else b"application/json"
    yield Send(response_head(200, context.headers(content_type, ((b"connection", b"close"),))))
    for event in events:
        yield Send(PLAIN.encode(event), event.tokens, event.images)
    if isinstance(answer, Reply):
        tokens, images = (answer.sale.output_tokens, answer.sale.images) if answer.sale else (0, 0)
        yield Send(answer.body, tokens, images)
    yield Close(complete=True)


def trailers(context: ScenarioContext) -> Iterator[Step]:
    """A chunked stream with a trailer field after its last chunk."""
    yield stream_head(context, ((b"trailer", b"x-checksum"),))
    yield from send_events(context, context.events)
    yield Send(b"0\r\nx-checksum: sandbox\r\n\r\n")


def bytewise(context: ScenarioContext) -> Iterator[Step]:
    """Every byte of the stream's body in a chunk of its own, so that no character comes whole."""
    yield stream_head(context)
    for event in context.events:
        data = PLAIN.encode(event)
        yield Send(b"".join(chunk(data[place : place + 1]) for place in range(len(data))), event.tokens, event.images)
    yield Send(LAST_CHUNK)


def trickle(context: ScenarioContext) -> Iterator[Step]:
    """Everything, the head included, a few bytes at a time, each in a packet of its own."""
    size, gap = context.count("size"), context.number("gap") / 1000
    for step in list(play_honestly(context)):
        if isinstance(step, Send):
            yield from _in_pieces(step, size, gap)
        else:
            yield step


def _in_pieces(step: Send, size: int, gap: float) -> Iterable[Step]:
    for place in range(0, len(step.data), size):
        last = place + size >= len(step.data)
        yield Send(step.data[place : place + size], step.tokens if last else 0, step.images if last else 0)
        yield Pause(gap)


def clean_eof(context: ScenarioContext) -> Iterator[Step]:
    """A stream that ends cleanly after so many events, without ``[DONE]``; ``finish=1`` lets finish chunks through."""
    events = list(context.events)
    kept = events[: context.count("after_events")]
    if context.count("finish"):
        kept += [event for event in events[len(kept) :] if event.kind == "finish"]
    yield from play_events(context, kept)
