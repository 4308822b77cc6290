"""Streams that are right in an unusual way: seen from relays and servers, and to be read all the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import orjson

from gateway.sandbox.faults.playback import ScenarioContext, send_event, stream_head
from gateway.sandbox.wire.answers import Event
from gateway.sandbox.wire.http import LAST_CHUNK, chunk, response_head
from gateway.sandbox.wire.steps import Pause, Send, Step

_SIGNS_OF_LIFE = (b": keepalive", b'{"type":"ping"}', b"{}", b"null", b'{"choices":null}', b"[HEARTBEAT]", b"[]")


def _is_chat_chunk(event: Event) -> bool:
    """Whether it has choices to be odd; the Images API has events of its own."""
    return event.kind in ("role", "content", "finish") and b'"choices"' in event.data


def _choice(event: Event) -> dict[str, object]:
    document: dict[str, list[dict[str, object]]] = orjson.loads(event.data)
    return document["choices"][0]


def finish_in_every_chunk(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """Each chunk names the finish reason, those in the middle too."""
    for event in events:
        if _is_chat_chunk(event) and event.kind != "finish":
            yield event.edited(choices=[{**_choice(event), "finish_reason": context.text("reason")}])
        else:
            yield event


def pause_after_finish(context: ScenarioContext) -> Iterator[Step]:
    """A finish reason, a pause, then more content and another finish: the upstream ran a tool of its own."""
    yield stream_head(context)
    words = 0
    for event in context.events:
        words += event.kind == "content"
        yield send_event(event)
        if words == 1 and event.kind == "content":
            choice = {"index": 0, "delta": {}, "finish_reason": context.text("reason")}
            yield send_event(event.edited(choices=[choice]))
            yield Pause(context.number("seconds"))
    yield Send(LAST_CHUNK)


def late_usage(context: ScenarioContext) -> Iterator[Step]:
    """Usage comes some seconds after the finish reason."""
    yield stream_head(context)
    for event in context.events:
        if event.kind == "usage":
            yield Pause(context.number("seconds"))
        yield send_event(event)
    yield Send(LAST_CHUNK)


def word_for_no_reason(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """``"null"``, a word, where a chunk has no finish reason; and none at the end but ``[DONE]``."""
    for event in events:
        if event.kind == "finish":
            continue
        if _is_chat_chunk(event):
            yield event.edited(choices=[{**_choice(event), "finish_reason": context.text("word")}])
        else:
            yield event


def signs_of_life(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """Between the chunks comes data that says only that the upstream lives; one kind by ``which``, or all."""
    which = context.count("which")
    signs = _SIGNS_OF_LIFE if which < 0 else _SIGNS_OF_LIFE[which : which + 1]
    for event in events:
        yield event
        if event.kind in ("role", "content"):
            yield from (Event(sign) for sign in signs)
            yield Event(b"whatever", name=b"ping")


def half_emoji(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """The two escapes of one emoji come in two chunks."""
    halves = iter((b"\\ud83d", b"\\ude00"))
    for event in events:
        half = next(halves, b"") if event.kind == "content" else b""
        yield Event(event.data.replace(b'"content":"', b'"content":"' + half), kind=event.kind, tokens=event.tokens)


def not_a_number(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """``NaN`` and ``-Infinity`` in the logprobs, which are no JSON."""
    logprobs = b'"logprobs":{"content":[{"token":"x","logprob":-Infinity,"top_logprobs":[],"bytes":[NaN]}]}'
    for event in events:
        data = event.data.replace(b'"logprobs":null', logprobs) if event.kind == "content" else event.data
        yield Event(data, kind=event.kind, tokens=event.tokens)


def odd_index(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """The only choice's index grows with each chunk, or is text."""
    for number, event in enumerate(events):
        if _is_chat_chunk(event):
            index: object = number if context.text("kind") == "growing" else context.text("kind")
            yield event.edited(choices=[{**_choice(event), "index": index}])
        else:
            yield event


def wrapped_twice(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """``data: data: {…}``, as some relays write it."""
    return (Event(b"data: " + event.data, kind=event.kind, tokens=event.tokens) for event in events)


def message_for_delta(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """``message`` in place of ``delta``, each with all of the text so far."""
    so_far = ""
    for event in events:
        if _is_chat_chunk(event) and event.kind != "finish":
            choice = _choice(event)
            delta = choice.pop("delta")
            so_far += str(delta.get("content") or "") if isinstance(delta, dict) else ""
            message = {"role": "assistant", "content": so_far}
            yield event.edited(choices=[{**choice, "message": message}])
        else:
            yield event


def mislabelled(context: ScenarioContext) -> Iterator[Step]:
    """Events under another content type, or none (``type=``)."""
    label = context.text("type").encode()
    headers = [pair for pair in context.headers(label) if label or pair[0] != b"content-type"]
    yield Send(response_head(200, (*headers, (b"transfer-encoding", b"chunked"))))
    for event in context.events:
        yield send_event(event)
    yield Send(LAST_CHUNK)


def json_as_events(context: ScenarioContext) -> Iterator[Step]:
    """One JSON document under ``text/event-stream``."""
    yield stream_head(context)
    goods = context.whole.sale
    data = chunk(context.whole.body)
    yield Send(data, goods.output_tokens, goods.images) if goods else Send(data)
    yield Send(LAST_CHUNK)


def unended_last_event(context: ScenarioContext) -> Iterator[Step]:
    """The stream is closed properly, but its last event lacks its blank line."""
    yield stream_head(context)
    events = list(context.events)
    for event in events[:-1]:
        yield send_event(event)
    yield Send(chunk(b"data: " + events[-1].data))
    yield Send(LAST_CHUNK)
