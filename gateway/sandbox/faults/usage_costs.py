"""Upstreams that state in ``usage`` what an answer costs themselves, in the shape that OpenRouter made usual."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson

from gateway.sandbox.faults.playback import ScenarioContext, play_events, play_reply
from gateway.sandbox.wire.answers import Event, EventStream, Json
from gateway.sandbox.wire.steps import Step


def _details(cost: float) -> dict[str, Any]:
    return {
        "cost_details": {
            "upstream_inference_cost": None,
            "upstream_inference_prompt_cost": cost / 4,
            "upstream_inference_completions_cost": cost * 3 / 4,
        },
        "is_byok": False,
    }


_KINDS: Mapping[str, Callable[[Json, float], Json | None]] = {
    "number": lambda usage, cost: {**usage, "cost": cost, **_details(cost)},
    "text": lambda usage, cost: {**usage, "cost": f"${cost}"},
    "object": lambda usage, cost: {**usage, "cost": {"total": cost, "currency": "USD"}},
    "null": lambda usage, cost: {**usage, "cost": None, "is_byok": True},
    "other": lambda usage, cost: {**usage, "estimated_cost": cost, "cost_in_usd_ticks": int(cost * 10_000_000_000)},
    "alone": lambda _, cost: {"cost": cost, **_details(cost)},
    "no_usage": lambda _, __: None,
}
"""What becomes of an honest usage: a cost as a number, as text, as an object, as null; under other names; without
counts; or no usage at all."""


def own_cost(context: ScenarioContext) -> Iterator[Step]:
    """The honest answer, streamed or whole, whose usage states ``cost`` dollars (``kind=``, see above).

    ``with_choice=1``: the usage comes beside an empty delta, as OpenRouter sends it. ``everywhere=1``: in every chunk.
    """
    if isinstance(context.answer, EventStream):
        yield from play_events(context, _streamed(context, context.events))
    else:
        document = orjson.loads(context.answer.body)
        yield from play_reply(context, replace(context.answer, body=orjson.dumps(_priced(context, document))))


def _priced(context: ScenarioContext, document: Json) -> Json:
    """The document with its usage, if it has one, as this upstream states it."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return document
    return {**document, "usage": _KINDS[context.text("kind")](usage, context.number("cost"))}


def _streamed(context: ScenarioContext, events: Iterable[Event]) -> Iterator[Event]:
    running = orjson.loads(context.whole.body).get("usage") if context.count("everywhere") else None
    for event in events:
        if event.kind == "done":
            yield event
            continue
        document = orjson.loads(event.data)
        if running is not None and document.get("choices"):
            document = {**document, "usage": running}
        document = _priced(context, document)
        if event.kind == "usage" and context.count("with_choice"):
            delta = {"role": "assistant", "content": ""}
            document = {**document, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        yield replace(event, data=orjson.dumps(document))
