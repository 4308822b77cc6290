"""What is out of the ordinary in a chat request, so that what looks for something particular looks at nothing else.

Most messages are words, and calls of the client's own tools with their results; most tools are such functions, most
fields switches and numbers. None of them names an id, a picture, a file, a mark of a cache, or anything that brings the
model more than its own bytes. A request is walked through for that once; a history of thousands of messages rarely has
more than a few that are unlike the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_WORDS = frozenset({"role", "content", "name", "tool_call_id", "refusal", "reasoning_content"})
"""Fields of a message that hold words, or null."""

_OF_CALLS = frozenset({"id", "type", "function", "index"})

_PLAIN_FIELDS = frozenset(
    {
        *(
            "model",
            "n",
            "max_completion_tokens",
            "max_tokens",
            "stream",
            "temperature",
            "top_p",
            "top_k",
            "seed",
            "user",
        ),
        *("frequency_penalty", "presence_penalty", "parallel_tool_calls", "logprobs", "top_logprobs", "store"),
        *("safety_identifier", "prompt_cache_key", "tool_choice", "verbosity"),
    }
)
"""Fields that are usual unless they hold an object or a list."""

_ANY_VALUE = frozenset({"messages", "tools", "response_format", "metadata"})
"""Fields that are usual with any value, or are looked at by themselves."""

_HOLDERS = frozenset({dict, list})
_STREAM_OPTIONS = frozenset({"include_usage", "include_obfuscation", "continuous_usage_stats"})


@dataclass(slots=True)
class UnusualPart:
    """What of a request is unlike most.

    ``body``: the request without the messages that are usual, and with but one of its tools if all of them are.
    ``places``: where in the request its messages stand.
    ``usual``: nothing of the whole request is unlike most.
    """

    body: dict[str, Any]
    places: Sequence[int]
    usual: bool


def unusual_part(body: dict[str, Any]) -> UnusualPart:
    """What is out of the ordinary in a request whose ``messages`` are a list of objects."""
    messages = body["messages"]
    places = [
        place
        for place, message in enumerate(messages)
        if not (
            len(message) == 2
            and "content" in message
            and "role" in message
            and type(message["content"]) is str is type(message["role"])
        )
        and not _is_usual_message(message)
    ]
    part = {**body, "messages": [messages[place] for place in places]}
    usual = not places
    if "tools" in body and type(tools := body["tools"]) is list and tools:
        if all(map(_is_usual_tool, tools)):
            part["tools"] = tools[:1]
        else:
            usual = False
    return UnusualPart(part, places, usual and _has_usual_fields(body))


def _has_usual_fields(body: dict[str, Any]) -> bool:
    for name, value in body.items():
        kind = type(value)
        if name in _ANY_VALUE or (name in _PLAIN_FIELDS and kind is not dict and kind is not list):
            continue
        check = _CHECKED.get(name)
        if check is None or not check(value):
            return False
    return "tools" not in body or type(body["tools"]) is list or body["tools"] is None


def _are_words(value: object) -> bool:
    """Whether it is a text, or a list of nothing but texts."""
    return type(value) is str or (type(value) is list and all(type(one) is str for one in value))


def _are_switches(value: object) -> bool:
    """Whether it is the options of a stream, each a plain value."""
    if type(value) is not dict or not _STREAM_OPTIONS.issuperset(value):
        return False
    return _HOLDERS.isdisjoint(map(type, value.values()))


_CHECKED: Mapping[str, Callable[[object], bool]] = {"stop": _are_words, "stream_options": _are_switches}


def _is_usual_message(message: dict[str, Any]) -> bool:
    for name, value in message.items():
        if type(value) is str or value is None:
            if name not in _WORDS:
                return False
        elif name == "content":
            if not _are_texts(value):
                return False
        elif name != "tool_calls" or not _are_calls(value):
            return False
    return True


def _are_texts(content: object) -> bool:
    """Whether it is a list of parts, each a text and nothing beside."""
    if type(content) is not list:
        return False
    for part in content:
        if type(part) is not dict or len(part) != 2 or part.get("type") != "text" or type(part.get("text")) is not str:
            return False
    return True


def _are_calls(calls: object) -> bool:
    """Whether it is a list of calls of functions, which are the client's own."""
    if type(calls) is not list:
        return False
    for call in calls:
        if type(call) is not dict or call.get("type") != "function" or type(call.get("function")) is not dict:
            return False
        if not _OF_CALLS.issuperset(call):
            return False
    return True


def _is_usual_tool(tool: object) -> bool:
    return (
        type(tool) is dict and len(tool) == 2 and tool.get("type") == "function" and type(tool.get("function")) is dict
    )
