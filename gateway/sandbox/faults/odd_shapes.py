"""Streams in the shapes that other upstreams send: calls without index or id, thoughts as parts, messages for deltas.

A shape is what comes of the only choice in each chunk, between the role and the finish of the honest stream. All of
them are put together here after what vendors document and users report; no model was asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from gateway.sandbox.faults.playback import ScenarioContext
from gateway.sandbox.wire.answers import Event

Shape = tuple[dict[str, Any], ...]

OSLO, ROME = '{"city":"Oslo"}', '{"city":"Rome"}'


def _calls(*pieces: dict[str, Any]) -> Shape:
    """Each piece of a call in a delta of its own: marks and, in capitals or not, its function's fields."""
    shape: list[dict[str, Any]] = []
    for piece in pieces:
        function = {name: piece[name] for name in ("name", "arguments") if name in piece}
        marks = {name: value for name, value in piece.items() if name not in function}
        shape.append({"delta": {"tool_calls": [{**marks, "function": function}]}})
    return tuple(shape)


def _deltas(*deltas: dict[str, Any]) -> Shape:
    return tuple({"delta": delta} for delta in deltas)


def _messages(*contents: str) -> Shape:
    return tuple({"message": {"role": "assistant", "content": content}} for content in contents)


def _details(**fields: Any) -> dict[str, Any]:
    return {"reasoning_details": [{"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0, **fields}]}


def _block(**fields: Any) -> dict[str, Any]:
    return {"thinking_blocks": [{"type": "thinking", **fields}]}


def _beginning(*arguments: Any, **marks: Any) -> list[dict[str, Any]]:
    """A call to get_weather: its head, then its arguments in pieces."""
    head = {"index": 0, "id": "c1", "type": "function", "name": "get_weather", "arguments": "", **marks}
    return [head, *({"index": 0, "arguments": piece} for piece in arguments)]


TOOL_CALLS: Mapping[str, Shape] = {
    "one_index": _calls(
        {"index": 0, "id": "c1", "type": "function", "name": "get_weather", "arguments": OSLO},
        {"index": 0, "id": "c2", "type": "function", "name": "get_weather", "arguments": ROME},
    ),
    "no_ids": _calls(
        {"index": 0, "type": "function", "name": "get_weather", "arguments": OSLO},
        {"index": 0, "type": "function", "name": "get_tide", "arguments": "{}"},
    ),
    "no_index": _calls(
        {"id": "c1", "type": "function", "name": "get_weather", "arguments": ""},
        {"id": "", "arguments": '{"city":'},
        {"id": "null", "arguments": '"Oslo"}'},
        {"id": "c2", "type": "function", "name": "get_tide", "arguments": ""},
        {"id": None, "arguments": "{}"},
    ),
    "new_ids": _calls(*_beginning(), *({"index": 0, "id": id, "arguments": piece} for id, piece in
                                       (("c2", '{"city":'), ("c3", '"Oslo"}')))),
    "growing_index": _calls(*_beginning(), {"index": 1, "arguments": '{"city":'}, {"index": 2, "arguments": '"Oslo"}'}),
    "text_index": _calls(*_beginning(index="0"), {"index": "0", "arguments": OSLO}),
    "object": _calls({"index": 0, "id": "c1", "type": "function", "name": "get_weather",
                      "arguments": {"city": "Oslo"}}),
    "no_arguments": _calls({"index": 0, "id": "c1", "type": "function", "name": "get_weather"}),
    "null_arguments": _calls(*_beginning(arguments=None)),
    "split_name": _calls(*_beginning(name="get_wea"), {"index": 0, "name": "ther", "arguments": OSLO}),
    "repeated_name": _calls(*_beginning(), {"index": 0, "id": "c1", "name": "get_weather", "arguments": OSLO}),
    "placeholder": _calls(*_beginning('{"city":', '"Oslo"}', arguments="{}")),
    "snapshots": _calls(*_beginning(), *({"index": 0, "id": "c1", "name": "get_weather", "arguments": OSLO[:end]}
                                         for end in (4, 9, len(OSLO)))),
    "twice": _calls(*_beginning(arguments=OSLO), *_beginning(arguments=OSLO)),
    "legacy": _deltas({"function_call": {"name": "get_weather"}}, {"function_call": {"arguments": OSLO}}),
}  # fmt: skip

THINKING: Mapping[str, Shape] = {
    "parts": _deltas(
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "h"}]}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "m"}]}]},
        {"content": "It is so."},
    ),
    "signed_parts": _deltas(
        {"content": [{"type": "thinking", "thinking": "hm"}]},
        {"content": [{"type": "thinking", "thinking": "", "signature": "S=="}]},
        {"content": [{"type": "text", "text": "It is so."}]},
    ),
    "details": _deltas(
        {"reasoning": "h", **_details(text="h")},
        {"reasoning": "m", **_details(text="m")},
        {"content": "It is so.", **_details(signature="S==")},
    ),
    "blocks": _deltas(
        {"reasoning_content": "h", **_block(thinking="h")},
        {"reasoning_content": "m", **_block(thinking="m")},
        {"content": "", **_block(thinking="", signature="S==")},
        {"content": "It is so."},
    ),
    "both_names": _deltas(
        {"reasoning": "h", "reasoning_content": "h"},
        {"reasoning": "m", "reasoning_content": "m"},
        {"content": "It is so."},
    ),
}

_NOTE = {"type": "url_citation", "url_citation": {"url": "https://example.com/a", "title": "a"}}

MESSAGES: Mapping[str, Shape] = {
    "pieces": _messages("It ", "is ", "so."),
    "growing": _messages("It ", "It is ", "It is so."),
    "whole": _messages("It is so."),
    "at_the_end": (*_deltas({"content": "It "}, {"content": "is so."}), *_messages("It is so.")),
    "beside": tuple(
        {"delta": {"content": piece}, "message": {"role": "assistant", "content": piece}} for piece in ("It ", "is so.")
    ),
    "parts": _deltas({"content": [{"type": "text", "text": "It "}]}, {"content": [{"type": "text", "text": "is so."}]}),
    "citations": _deltas(
        {"content": "It ", "annotations": [_NOTE], "citations": ["https://example.com/a"]},
        {"content": "is so.", "annotations": [_NOTE], "citations": ["https://example.com/a"]},
    ),
    "text": ({"text": "It "}, {"text": "is so."}),
}


def odd_tool_calls(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """Calls in another shape: ``shape`` is a name of ``TOOL_CALLS``."""
    return _played(events, TOOL_CALLS[context.text("shape")], "tool_calls")


def odd_thinking(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """Thoughts in another shape: ``shape`` is a name of ``THINKING``."""
    return _played(events, THINKING[context.text("shape")], "stop")


def odd_messages(context: ScenarioContext, events: list[Event]) -> Iterable[Event]:
    """Text in another shape: ``shape`` is a name of ``MESSAGES``."""
    return _played(events, MESSAGES[context.text("shape")], "stop")


def _played(events: list[Event], shape: Shape, reason: str) -> Iterator[Event]:
    """The honest stream with another middle. ``reason``: why it finishes."""
    role = events[0]
    yield role
    for choice in shape:
        yield replace(role.edited(choices=[{"index": 0, **choice, "finish_reason": None}]), kind="content", tokens=1)
    yield replace(role.edited(choices=[{"index": 0, "delta": {}, "finish_reason": reason}]), kind="finish")
    yield from (event for event in events if event.kind in ("usage", "done"))
