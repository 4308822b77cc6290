"""Faults in the events of a stream: errors that travel as events, events missing, wrong or without end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count

import orjson

from gateway.sandbox.faults.playback import Play, ScenarioContext, play_events
from gateway.sandbox.wire.answers import DONE, Event
from gateway.sandbox.wire.errors import anthropic_fields, error_fields
from gateway.sandbox.wire.steps import Step


def edited(edit: Callable[[ScenarioContext, list[Event]], Iterable[Event]]) -> Play:
    """A scenario that edits the honest events and plays the result."""

    def play(context: ScenarioContext) -> Iterator[Step]:
        yield from play_events(context, edit(context, list(context.events)))

    return play


# Errors that travel as events


def _is_chat(events: list[Event]) -> bool:
    """Whether these are chat chunks: the Images API has events of its own."""
    return b'"choices"' in events[0].data


def _error_payload(context: ScenarioContext) -> dict[str, str | None]:
    return error_fields(context.count("code"), code=context.text("error"), message=context.text("message"))


def sse_error(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """``{"error": {…}}`` after so many events; ``named=1`` gives it ``event: error``, ``done=1`` a ``[DONE]``."""
    yield from events[: context.count("after_events")]
    if context.is_anthropics:
        words = str(_error_payload(context)["message"])
        told = anthropic_fields(context.count("code"), words, code=context.text("error"))
        yield Event(orjson.dumps(told), name=b"error")
        return
    data = orjson.dumps({"error": _error_payload(context)})
    yield Event(data, name=b"error" if context.count("named") else b"")
    if context.count("done"):
        yield DONE


def sse_event_error_flat(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """``event: error`` with the error's fields at the top level."""
    yield from events[: context.count("after_events")]
    yield Event(orjson.dumps(_error_payload(context)), name=b"error")


def sse_error_string(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """The error is a string."""
    yield from events[: context.count("after_events")]
    yield Event(orjson.dumps({"error": context.text("error"), "code": context.text("error")}))
    yield DONE


def delta_error(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """``choices[0].delta = {"error": …}``, then a normal stop and ``[DONE]``; a plain error where there is no chat."""
    if not _is_chat(events):
        yield from sse_error_string(context, events)
        return
    yield from events[: context.count("after_events")]
    role = orjson.loads(events[0].data)
    choice = {"index": 0, "delta": {"error": context.text("error")}, "finish_reason": None}
    yield events[0].edited(choices=[choice])
    yield events[0].edited(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], id=role["id"])
    yield DONE


# What is missing, wrong or too much


def without(*kinds: str) -> Play:
    return edited(lambda _, events: (event for event in events if event.kind not in kinds))


def nothing(_: ScenarioContext, __: list[Event]) -> Iterable[Event]:
    return ()


def only_done(_: ScenarioContext, __: list[Event]) -> Iterable[Event]:
    return (DONE,)


def odd_done(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """PiAPI's documentation ends its streams with ``[none]``."""
    for event in events:
        yield Event(context.text("text").encode(), "done") if event.kind == "done" else event


def odd_usage(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """Usage that says nothing or nonsense: ``empty`` | ``zeros`` | ``null`` | ``negative`` | ``huge`` | ``text``."""
    kind = context.text("value")
    numbers = {"zeros": 0, "negative": -5, "huge": 2**63, "text": "many"}
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    usage = {} if kind == "empty" else None if kind == "null" else dict.fromkeys(names, numbers[kind])
    for event in events:
        yield event.edited(usage=usage) if event.kind == "usage" else event


def usage_mixed(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """Usage in the finish chunk instead of one of its own, asked for or not."""
    usage = orjson.loads(context.whole.body).get("usage")
    for event in events:
        if event.kind != "usage":
            yield event.edited(usage=usage) if event.kind == "finish" else event


def usage_everywhere(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """A running usage in every chunk; only the last one is true."""
    usage = orjson.loads(context.whole.body).get("usage")
    if not usage or "prompt_tokens" not in usage:
        yield from events
        return
    for event in events:
        partial = {**usage, "completion_tokens": 1, "total_tokens": usage["prompt_tokens"] + 1}
        yield event if event.kind in ("done", "usage") else event.edited(usage=partial)


def bad_event(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """An event that is no JSON object, then the rest as if nothing had happened."""
    place = context.count("after_events")
    yield from events[:place]
    yield Event(context.text("data").encode())
    yield from events[place:]


def wrong_index(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """Content of a choice beyond ``n``."""
    for event in events:
        if event.kind == "content" and _is_chat([event]):
            choices = orjson.loads(event.data)["choices"]
            yield event.edited(choices=[{**choices[0], "index": context.count("index")}])
        else:
            yield event


def changing_id(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """Every chunk has an id of its own."""
    for number, event in enumerate(events):
        yield event if event.kind == "done" else event.edited(id=f"chatcmpl-sandbox-{number}")


def endless(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """The answer over and over, until the client has enough."""
    content = [event for event in events if event.kind == "content"] or events[:1]
    return chain(events[:1], (content[number % len(content)] for number in count()))
