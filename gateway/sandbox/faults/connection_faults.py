"""Scenarios below the answer: connections that break, stall or speak bad HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from gateway.sandbox.faults.playback import (
    Order,
    closing,
    pause,
    play_events,
    play_honestly,
    play_reply,
    reply_head,
    send_event,
    send_events,
    stream_head,
)
from gateway.sandbox.wire.answers import PLAIN, Close, EventStream, Pause, Reply, Send, Step
from gateway.sandbox.wire.errors import refusal
from gateway.sandbox.wire.http import LAST_CHUNK, chunk, head


def reset_before_head(order: Order) -> Iterator[Step]:
    """The connection ends without a byte of an answer."""
    yield closing(order)


def reused_reset(order: Order) -> Iterator[Step]:
    """Honest on a fresh connection; closed without an answer once it has served ``after`` requests."""
    if order.nth > order.count("after"):
        yield closing(order)
    else:
        yield from play_honestly(order)


def early_close(order: Order) -> Iterator[Step]:
    """An error while the request's body is still being sent, and the end of the connection."""
    reply = refusal(order.count("code"))
    yield Send(reply_head(order, reply, ((b"connection", b"close"),)) + reply.body)
    yield Close(complete=True)


def stall_head(order: Order) -> Iterator[Step]:
    yield pause(order.number("seconds"))
    yield from play_honestly(order)


def cut(order: Order) -> Iterator[Step]:
    """The connection ends after so many whole events; half way through a body that is not a stream."""
    if isinstance(order.answer, EventStream):
        yield stream_head(order)
        yield from send_events(order, islice(order.answer.events, order.count("after_events")))
    else:
        body = order.answer.body
        yield Send(reply_head(order, order.answer) + body[: len(body) // 2])
    yield closing(order)


def cut_bytes(order: Order) -> Iterator[Step]:
    """The connection ends after exactly ``at`` bytes of the body (chunk framing not counted), terminator missing."""
    left = order.count("at")
    if not isinstance(order.answer, EventStream):
        yield Send(reply_head(order, order.answer) + order.answer.body[:left])
        yield closing(order)
        return
    yield stream_head(order)
    for event in order.answer.events:
        data = PLAIN.encode(event)
        if len(data) > left:
            yield Send(chunk(data[:left]))
            break
        yield send_event(event)
        left -= len(data)
    yield closing(order)


def truncated_chunk(order: Order) -> Iterator[Step]:
    """A chunk that announces more bytes than come before the end."""
    yield stream_head(order)
    yield from send_events(order, islice(order.events, order.count("after_events")))
    yield Send(b"400\r\ndata: {")
    yield closing(order)


def bad_chunk(order: Order) -> Iterator[Step]:
    """A chunk size that is no number."""
    yield stream_head(order)
    yield from send_events(order, islice(order.events, order.count("after_events")))
    yield Send(b"this is no chunk size\r\n")
    yield Close()


def hang_after_done(order: Order) -> Iterator[Step]:
    """Every event, ``[DONE]`` too, but the body is never ended."""
    yield stream_head(order)
    yield from send_events(order, order.events)
    yield pause(order.number("seconds"))
    yield Send(LAST_CHUNK)


def informational(order: Order) -> Iterator[Step]:
    """Interim answers before the real one (RFC 9110 §15.2)."""
    yield Send(head(order.count("code"), ((b"x-sandbox", b"1"),)) * order.count("count"))
    yield from play_honestly(order)


def big_head(order: Order) -> Iterator[Step]:
    """A head of more than ``size`` bytes."""
    padding = (b"x-padding", b"p" * order.count("size"))
    reply = order.whole
    yield Send(reply_head(order, reply, (padding,)) + reply.body)


def garbage(order: Order) -> Iterator[Step]:
    """Bytes that are no HTTP."""
    yield Send(b"SSH-2.0-sandbox\r\n\x00\xff\xfe garbage\r\n\r\n")
    yield Close()


def extra_bytes(order: Order) -> Iterator[Step]:
    """A good answer, and then one nobody asked for on the same connection."""
    yield from play_honestly(order)
    yield from play_reply(order, Reply(200, b'{"unsolicited": true}'))


def silent_close(order: Order) -> Iterator[Step]:
    """A good answer on a connection that seems to stay open, and is closed at once."""
    yield from play_honestly(order)
    yield Close(complete=True)


def until_close(order: Order) -> Iterator[Step]:
    """A body without length or chunks: the end of the connection ends it (RFC 9112 §6.3)."""
    answer = order.answer
    events = answer.events if isinstance(answer, EventStream) else ()
    content_type = b"text/event-stream" if isinstance(answer, EventStream) else b"application/json"
    yield Send(head(200, order.headers(content_type, ((b"connection", b"close"),))))
    for event in events:
        yield Send(PLAIN.encode(event), event.tokens, event.images)
    if isinstance(answer, Reply):
        tokens, images = (answer.sale.output_tokens, answer.sale.images) if answer.sale else (0, 0)
        yield Send(answer.body, tokens, images)
    yield Close(complete=True)


def trailers(order: Order) -> Iterator[Step]:
    """A chunked stream with a trailer field after its last chunk."""
    yield stream_head(order, ((b"trailer", b"x-checksum"),))
    yield from send_events(order, order.events)
    yield Send(b"0\r\nx-checksum: sandbox\r\n\r\n")


def bytewise(order: Order) -> Iterator[Step]:
    """Every byte of the stream's body in a chunk of its own, so that no character comes whole."""
    yield stream_head(order)
    for event in order.events:
        data = PLAIN.encode(event)
        yield Send(b"".join(chunk(data[place : place + 1]) for place in range(len(data))), event.tokens, event.images)
    yield Send(LAST_CHUNK)


def trickle(order: Order) -> Iterator[Step]:
    """Everything, the head included, a few bytes at a time, each in a packet of its own."""
    size, gap = order.count("size"), order.number("gap") / 1000
    for step in list(play_honestly(order)):
        if isinstance(step, Send):
            yield from _in_pieces(step, size, gap)
        else:
            yield step


def _in_pieces(step: Send, size: int, gap: float) -> Iterable[Step]:
    for place in range(0, len(step.data), size):
        last = place + size >= len(step.data)
        yield Send(step.data[place : place + size], step.tokens if last else 0, step.images if last else 0)
        yield Pause(gap)


def clean_eof(order: Order) -> Iterator[Step]:
    """A stream that ends cleanly after so many events, without ``[DONE]``; ``finish=1`` lets finish chunks through."""
    events = list(order.events)
    kept = events[: order.count("after_events")]
    if order.count("finish"):
        kept += [event for event in events[len(kept) :] if event.kind == "finish"]
    yield from play_events(order, kept)
