"""Tool calls an answer makes, with arguments that fit the tool's JSON schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from gateway.sandbox.wire.answers import Json
from gateway.sandbox.wire.options import Options

_DEEPEST = 8  # levels of a schema that are followed


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool; ``pieces`` joined are its arguments."""

    id: str
    name: str
    pieces: tuple[str, ...]


def choose_calls(body: Json, options: Options, prompt: str) -> tuple[tuple[ToolCall, ...], bool]:
    """The calls to make: those forced, those whose names the prompt holds, or ``options.calls`` of them.

    Returned beside them: whether they go out in the legacy ``function_call``.
    """
    legacy = not body.get("tools") and bool(body.get("functions"))
    listed = body["functions"] if legacy else [tool.get("function") for tool in body.get("tools") or ()]
    offered = [function for function in listed if isinstance(function, dict)]
    wish = body.get("function_call" if legacy else "tool_choice")
    if not offered or wish == "none" or body["messages"][-1].get("role") in ("tool", "function"):
        return (), legacy
    if isinstance(wish, dict):
        function = wish if legacy else wish.get("function")
        forced = function.get("name") if isinstance(function, dict) else None
        chosen = [function for function in offered if function.get("name") == forced]
    elif options.calls:
        chosen = [offered[index % len(offered)] for index in range(options.calls)]
    else:
        chosen = [function for function in offered if str(function.get("name")) in prompt]
        if not chosen and wish == "required":
            chosen = offered[:1]
    calls = tuple(_call(function, prompt, index) for index, function in enumerate(chosen))
    return (calls[:1] if legacy else calls), legacy


def _call(function: Json, prompt: str, index: int) -> ToolCall:
    parameters = function.get("parameters")
    schema = parameters if isinstance(parameters, dict) else {"type": "object"}
    arguments = orjson.dumps(example_of(schema, prompt)).decode()
    pieces = tuple(arguments[start : start + 8] for start in range(0, len(arguments), 8))
    return ToolCall(f"call_sandbox_{index}", str(function.get("name")), pieces)


def example_of(schema: Any, text: str, depth: int = 0) -> Any:
    """A value that fits a JSON schema's types and enums; strings repeat ``text``, also for no schema."""
    if not isinstance(schema, dict) or depth == _DEEPEST:
        return text
    kind, choices, properties = schema.get("type"), schema.get("enum"), schema.get("properties")
    if isinstance(choices, list) and choices:
        return choices[0]
    if isinstance(properties, dict):
        return {name: example_of(part, text, depth + 1) for name, part in properties.items()}
    if kind == "object":
        return {}
    if kind == "array":
        return [example_of(schema.get("items"), text, depth + 1)]
    values = {"integer": 42, "number": 4.2, "boolean": True, "null": None}
    return values.get(kind, text) if isinstance(kind, str) else text
