"""Scenarios inside a stream of events: other events, other framing, silence between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, count, islice

import orjson

from gateway.sandbox.faults.playback import Order, pause, play_events, send_events, stream_head
from gateway.sandbox.wire.answers import DONE, Event, Framing, Pause, Send, Step
from gateway.sandbox.wire.errors import error_fields
from gateway.sandbox.wire.http import LAST_CHUNK, chunk

Play = Callable[[Order], Iterator[Step]]

COMMENT = b": keepalive\n\n"


def framed(framing: Framing) -> Play:
    """The honest events in another framing."""

    def play(order: Order) -> Iterator[Step]:
        yield from play_events(order, order.events, framing)

    return play


def with_bom(order: Order) -> Iterator[Step]:
    """A byte order mark before the first event."""
    yield stream_head(order)
    yield Send(chunk(b"\xef\xbb\xbf"))
    yield from send_events(order, order.events)
    yield Send(LAST_CHUNK)


def edited(edit: Callable[[Order, list[Event]], Iterable[Event]]) -> Play:
    """The honest events after an edit."""

    def play(order: Order) -> Iterator[Step]:
        yield from play_events(order, edit(order, list(order.events)))

    return play


# Errors that travel as events


def _is_chat(events: list[Event]) -> bool:
    """Whether they are chunks of chat: the Images API has events of its own."""
    return b'"choices"' in events[0].data


def _error_payload(order: Order) -> dict[str, str | None]:
    return error_fields(order.count("code"), code=order.text("error"), message=order.text("message"))


def sse_error(order: Order, events: list[Event]) -> Iterable[Event]:
    """``{"error": {…}}`` after so many events; ``named=1`` gives it ``event: error``, ``done=1`` a ``[DONE]``."""
    yield from events[: order.count("after_events")]
    data = orjson.dumps({"error": _error_payload(order)})
    yield Event(data, name=b"error" if order.count("named") else b"")
    if order.count("done"):
        yield DONE


def sse_event_error_flat(order: Order, events: list[Event]) -> Iterable[Event]:
    """``event: error`` with the error's fields at the top level."""
    yield from events[: order.count("after_events")]
    yield Event(orjson.dumps(_error_payload(order)), name=b"error")


def sse_error_string(order: Order, events: list[Event]) -> Iterable[Event]:
    """The error is a string."""
    yield from events[: order.count("after_events")]
    yield Event(orjson.dumps({"error": order.text("error"), "code": order.text("error")}))
    yield DONE


def delta_error(order: Order, events: list[Event]) -> Iterable[Event]:
    """``choices[0].delta = {"error": …}``, then a normal stop and ``[DONE]``; a plain error where there is no chat."""
    if not _is_chat(events):
        yield from sse_error_string(order, events)
        return
    yield from events[: order.count("after_events")]
    role = orjson.loads(events[0].data)
    choice = {"index": 0, "delta": {"error": order.text("error")}, "finish_reason": None}
    yield events[0].edited(choices=[choice])
    yield events[0].edited(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], id=role["id"])
    yield DONE


# What is missing, wrong or too much


def without(*kinds: str) -> Play:
    return edited(lambda _, events: (event for event in events if event.kind not in kinds))


def nothing(_: Order, __: list[Event]) -> Iterable[Event]:
    return ()


def only_done(_: Order, __: list[Event]) -> Iterable[Event]:
    return (DONE,)


def odd_done(order: Order, events: list[Event]) -> Iterable[Event]:
    """PiAPI's documentation ends its streams with ``[none]``."""
    for event in events:
        yield Event(order.text("text").encode(), "done") if event.kind == "done" else event


def odd_usage(order: Order, events: list[Event]) -> Iterable[Event]:
    """Usage that says nothing or nonsense: ``empty`` | ``zeros`` | ``null`` | ``negative`` | ``huge`` | ``text``."""
    kind = order.text("value")
    numbers = {"zeros": 0, "negative": -5, "huge": 2**63, "text": "many"}
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    usage = {} if kind == "empty" else None if kind == "null" else dict.fromkeys(names, numbers[kind])
    for event in events:
        yield event.edited(usage=usage) if event.kind == "usage" else event


def usage_mixed(order: Order, events: list[Event]) -> Iterable[Event]:
    """Usage in the finish chunk instead of one of its own, asked for or not."""
    usage = orjson.loads(order.whole.body).get("usage")
    for event in events:
        if event.kind != "usage":
            yield event.edited(usage=usage) if event.kind == "finish" else event


def usage_everywhere(order: Order, events: list[Event]) -> Iterable[Event]:
    """A running usage in every chunk; only the last one is true."""
    usage = orjson.loads(order.whole.body).get("usage")
    if not usage or "prompt_tokens" not in usage:
        yield from events
        return
    for event in events:
        partial = {**usage, "completion_tokens": 1, "total_tokens": usage["prompt_tokens"] + 1}
        yield event if event.kind in ("done", "usage") else event.edited(usage=partial)


def bad_event(order: Order, events: list[Event]) -> Iterable[Event]:
    """An event that is no JSON object, then the rest as if nothing had happened."""
    place = order.count("after_events")
    yield from events[:place]
    yield Event(order.text("data").encode())
    yield from events[place:]


def wrong_index(order: Order, events: list[Event]) -> Iterable[Event]:
    """A choice nobody asked for."""
    for event in events:
        if event.kind == "content" and _is_chat([event]):
            choices = orjson.loads(event.data)["choices"]
            yield event.edited(choices=[{**choices[0], "index": order.count("index")}])
        else:
            yield event


def changing_id(order: Order, events: list[Event]) -> Iterable[Event]:
    """Every chunk has an id of its own."""
    for number, event in enumerate(events):
        yield event if event.kind == "done" else event.edited(id=f"chatcmpl-sandbox-{number}")


def huge_event(order: Order) -> Iterator[Step]:
    """One content event of ``size`` bytes and more; ``seconds`` of silence once ``more`` events have followed it."""
    events = list(order.events)
    place = order.count("after_events")
    choice = {"index": 0, "delta": {"content": "x" * order.count("size")}, "finish_reason": None}
    events.insert(place, replace(events[0].edited(choices=[choice]), kind="content", tokens=1))
    yield from _stalled(order, events, place + 1 + order.count("more"))


def endless(order: Order, events: list[Event]) -> Iterable[Event]:
    """The answer over and over, until the client has enough."""
    content = [event for event in events if event.kind == "content"] or events[:1]
    return chain(events[:1], (content[number % len(content)] for number in count()))


# Silence


def stall_where(kinds: tuple[str, ...], *, after: bool) -> Play:
    """``seconds`` of silence before the first event of these kinds (or after the last), then the rest."""

    def play(order: Order) -> Iterator[Step]:
        events = list(order.events)
        places = [number for number, event in enumerate(events) if event.kind in kinds] or [len(events)]
        yield from _stalled(order, events, places[-1] + 1 if after else places[0])

    return play


def stall_mid(order: Order) -> Iterator[Step]:
    yield from _stalled(order, list(order.events), order.count("after_events"))


def _stalled(order: Order, events: list[Event], place: int) -> Iterator[Step]:
    yield stream_head(order)
    yield from send_events(order, islice(events, place))
    yield pause(order.number("seconds"))
    yield from send_events(order, events[place:])
    yield Send(LAST_CHUNK)


def drip(order: Order) -> Iterator[Step]:
    """Some events, then comments: life without progress. ``count`` of them (0: for ever) before the rest."""
    events = list(order.events)
    place = order.count("after_events")
    yield stream_head(order)
    yield from send_events(order, events[:place])
    for number in count(1):
        yield Pause(order.number("interval") / 1000)
        yield Send(chunk(COMMENT))
        if number == order.count("count"):
            break
    yield from send_events(order, events[place:])
    yield Send(LAST_CHUNK)


def comments(order: Order) -> Iterator[Step]:
    """Comments, blank lines, and (``ids=1``) fields nobody uses, between all events."""
    fields = b"id: 7\nretry: 3000\n" if order.count("ids") else b""
    yield stream_head(order)
    for event in order.events:
        yield Send(chunk(b": ping\n\n\n\n" + fields))
        yield from send_events(order, (event,))
    yield Send(LAST_CHUNK)
