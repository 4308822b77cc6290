"""Requests of Anthropic's Messages API that are relayed to it, and what its answers say of their use. Pure.

Only what the gateway acts on is checked. What would choose another model or account is left out, and named; so are
thoughts that no upstream of this API could take for its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from gateway.core.types import STEERING_FIELDS, Usage
from gateway.wire.field_checks import a_model_name
from gateway.wire.messages.request import MESSAGES_PATH
from gateway.wire.named_ids import NamedId, ids_in_fields
from gateway.wire.relay_request import CALLBACK, RelayRequest
from gateway.wire.relay_routes import AnswerForm, RelayRoute
from gateway.wire.relay_usage import EventFacts
from gateway.wire.sse import encode_event
from gateway.wire.usage_reading import read_usage

Fields = Mapping[str, Any]

_OF_AN_ACCOUNT = ("billing_policy", "diagnostics", "user_profile_id", "workspace_id")
"""Fields about what an account at Anthropic has, which many members share here, and about who pays."""

_WITHHELD = (*STEERING_FIELDS, CALLBACK, *_OF_AN_ACCOUNT)

_BRINGS_NOTHING = frozenset(
    {
        *("model", "messages", "max_tokens", "stream", "metadata", "stop_sequences", "temperature", "top_k", "top_p"),
        *("system", "tools", "tool_choice", "context_management", "thinking", "output_config", "output_format"),
        *_WITHHELD,
    }
)
"""Fields that are looked at by themselves, or neither cost anything nor bring the model anything but their words."""

_CUMULATIVE_INPUT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


def _streamed(fields: Fields) -> AnswerForm:
    return AnswerForm.EVENTS if fields.get("stream") is True else AnswerForm.WHOLE


def usage_of_message(document: Fields) -> Usage | None:
    """The usage of a whole message."""
    return usage_in(document.get("usage"))


def usage_in(stated: object) -> Usage | None:
    """What a message took. Summaries that were made on the way (compaction) are billed beside what its sums say."""
    iterations = stated.get("iterations") if isinstance(stated, dict) else None
    beside = [one for one in iterations if _is_summary(one)] if isinstance(iterations, list) else []
    if not beside or not isinstance(stated, dict):
        return read_usage(stated)
    total = {**stated, "cache_creation": None}
    for name in (*_CUMULATIVE_INPUT, "output_tokens"):
        figures = [one.get(name) for one in (stated, *beside)]
        total[name] = sum(figure for figure in figures if type(figure) is int and figure > 0)
    lifetimes = [one["cache_creation"] for one in (stated, *beside) if isinstance(one.get("cache_creation"), dict)]
    total["cache_creation"] = {
        name: sum(figure for one in lifetimes if type(figure := one.get(name)) is int and figure > 0)
        for name in dict.fromkeys(name for one in lifetimes for name in one)
    }
    return read_usage(total)


def _is_summary(iteration: Any) -> bool:
    return isinstance(iteration, dict) and iteration.get("type") == "compaction"


def event_of_message(document: Fields) -> EventFacts:
    """An event of a message's stream. A block that has but begun says nothing yet, unless it is a call."""
    kind = document.get("type")
    if kind == "content_block_delta":
        delta = document.get("delta")
        if not isinstance(delta, dict):
            return EventFacts()
        said = "".join(text for name in _SAID if type(text := delta.get(name)) is str)
        return EventFacts(content=any(value and name != "type" for name, value in delta.items()), text=said)
    if kind == "content_block_start":
        return _of_block(document.get("content_block"))
    if kind == "message_delta":
        delta = document.get("delta")
        ended = isinstance(delta, dict) and delta.get("stop_reason") is not None
        return EventFacts(content=ended, ended=int(ended))
    return EventFacts(last=kind == "message_stop")


_SAID = ("text", "thinking", "partial_json")
_BEGINS_EMPTY = frozenset({"text", "thinking"})


def _of_block(block: Any) -> EventFacts:
    if not isinstance(block, dict):
        return EventFacts()
    if block.get("type") not in _BEGINS_EMPTY:
        return EventFacts(content=True)
    text = block.get(block["type"])
    said = text if isinstance(text, str) else ""
    return EventFacts(content=bool(said), text=said)


MESSAGES = RelayRoute(
    MESSAGES_PATH,
    "messages",
    {"model": a_model_name},  # the rest is checked for every way of asking (request.py)
    _streamed,
    usage=usage_of_message,
    event=event_of_message,
    slow=True,
    cost_in_usage=False,
    default_kind="chat",
)

MESSAGE_STOP = encode_event(b'{"type":"message_stop"}', b"message_stop")
"""The end of a stream whose upstream left it out."""


def relayed_request(fields: dict[str, Any], size: int, *, slow: bool) -> RelayRequest:
    """A request, which has been checked, as it is relayed. ``size``: its bytes; ``slow``: as in RelayRequest."""
    withheld = tuple(name for name in _WITHHELD if name in fields)
    return RelayRequest(MESSAGES, fields["model"], _without_unsigned(fields), size, slow, withheld=withheld)


def ids_in_message(fields: Fields) -> Iterator[NamedId]:
    """The ids that a request names: files, containers, an account's own skills, the message that it goes on from."""
    yield from ids_in_fields(fields)
    thread, container = fields.get("thread"), fields.get("container")
    previous = thread.get("previous_message_id") if isinstance(thread, dict) else None
    if previous is not None:
        yield NamedId("message", str(previous), "thread.previous_message_id")
    skills = container.get("skills") if isinstance(container, dict) else None
    for place, skill in enumerate(skills if isinstance(skills, list) else ()):
        if isinstance(skill, dict) and skill.get("type") != "anthropic" and isinstance(skill.get("skill_id"), str):
            yield NamedId("item", skill["skill_id"], f"container.skills[{place}].skill_id")


def as_chat_counts(fields: Fields) -> dict[str, Any]:
    """The request in a form in which what bounds and counts chats can read it."""
    body = {name: value for name, value in fields.items() if name not in _BRINGS_NOTHING}
    if b"compact" in orjson.dumps(fields.get("context_management")):  # which takes tokens of its own
        body["context_management"] = fields["context_management"]
    system, tools = fields.get("system"), fields.get("tools")
    first = [{"role": "system", "content": system}] if isinstance(system, str | list) and system else []
    body["messages"] = [*first, *fields["messages"]]
    if isinstance(tools, list):
        body["tools"] = [_named_kind(tool) for tool in tools]
    elif tools:
        body["tools"] = tools
    return body


def most_written(fields: Fields) -> int | None:
    """The client's bound of the output; thinking is within it, but for a budget that is larger still."""
    most, thinking = fields.get("max_tokens"), fields.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    numbers = [one for one in (most, budget) if type(one) is int]
    return max(numbers) if numbers and type(most) is int else None


def merged_usage(stated: dict[str, Any], more: object) -> dict[str, Any]:
    """What a stream says of its use, told in several events: each figure is the sum so far, so that the last one holds.

    A zero of the input, which some relays write where they mean nothing, takes nothing back.
    """
    if not isinstance(more, dict):
        return stated
    told = {
        name: value
        for name, value in more.items()
        if value is not None and not (name in _CUMULATIVE_INPUT and value == 0 and stated.get(name))
    }
    return {**stated, **told}


def usage_stated(document: Fields) -> object:
    """What an event says of the use, beside the message or in it."""
    if isinstance(usage := document.get("usage"), dict):
        return usage
    message = document.get("message")
    return message.get("usage") if isinstance(message, dict) else None


def words_of_message(document: Fields) -> str:
    """All that a whole message says."""
    content = document.get("content")
    texts = []
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict):
            texts += [block[name] for name in ("text", "thinking") if isinstance(block.get(name), str)]
            if block.get("input"):
                texts.append(orjson.dumps(block["input"]).decode())
    return "\n".join(texts)


def _named_kind(tool: Any) -> Any:
    """A tool with its kind: what has none is the client's own."""
    return {"type": "custom", **tool} if isinstance(tool, dict) and tool.get("type") is None else tool


def _without_unsigned(fields: dict[str, Any]) -> dict[str, Any]:
    """The request without thoughts that bear no signature: those of another upstream's answer, which was told in this
    API's words. Anthropic refuses a request that has one.
    """
    messages = fields["messages"]
    if not any(_has_unsigned(message) for message in messages):
        return fields
    kept = []
    for message in messages:
        if _has_unsigned(message):
            blocks = [block for block in message["content"] if not _is_unsigned(block)]
            if not blocks:
                continue
            message = {**message, "content": blocks}
        kept.append(message)
    return {**fields, "messages": kept} if kept else fields


def _has_unsigned(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    return message.get("role") == "assistant" and isinstance(content, list) and any(map(_is_unsigned, content))


def _is_unsigned(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "thinking" and not block.get("signature")
