"""Anthropic's Messages API, answered honestly: the words and counts of a chat (sandbox/chat/), told in its shapes.

It is as strict as Anthropic where clients come to feel it: a version must be named, ``max_tokens`` be given, earlier
thoughts be signed by who thought them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from gateway.sandbox.chat.completions import prompt_tokens
from gateway.sandbox.chat.messages import AssistantMessage, compose_message
from gateway.sandbox.chat.models import BORN_AT, MODELS
from gateway.sandbox.chat.usage import ChatUsage
from gateway.sandbox.wire.answers import Answer, Event, EventKind, EventStream, Json, Reply, json_reply
from gateway.sandbox.wire.errors import anthropic_error
from gateway.sandbox.wire.options import Options
from gateway.sandbox.wire.requests import RecordedRequest

MESSAGES_PATH = "/v1/messages"
COUNT_PATH = "/v1/messages/count_tokens"

SIGNATURE = "sandbox-signature"

_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use"}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def answer_messages(request: RecordedRequest, options: Options) -> Answer:
    """``POST /v1/messages``, or a count of its tokens."""
    body = request.json
    problem = _problem(request, body, counting=request.path == COUNT_PATH)
    if problem is not None:
        return problem
    chat = _as_chat(body)
    prompt = prompt_tokens(chat["messages"])
    if request.path == COUNT_PATH:
        return json_reply(200, {"input_tokens": prompt})
    made = compose_message(chat, options, 0)
    used = ChatUsage.of(body, prompt, made.tokens, options)
    usage = _usage(used, body) if options.usage else {}
    sale = used.sale(body, options.named or body["model"])
    message = {
        "id": request.id.replace("req-sandbox", "msg_sandbox"),
        "type": "message",
        "role": "assistant",
        "model": options.named or body["model"],
        "content": list(_blocks(made)),
        "stop_reason": "refusal" if made.refusal else _REASONS[made.finish],
        "stop_sequence": None,
        **({"usage": usage} if usage else {}),
    }
    whole = json_reply(200, message, sale=sale)
    if not body.get("stream"):
        return whole
    return EventStream(_events(message, made, usage), whole, sale)


def list_models(request: RecordedRequest) -> Reply:
    """``GET /v1/models``, in pages."""
    query = dict(pair.partition("=")[::2] for pair in request.request.target.partition("?")[2].split("&"))
    names = [name for name in MODELS if name.startswith("claude-")]
    after, limit = query.get("after_id"), int(query.get("limit") or 20)
    first = names.index(after) + 1 if after in names else 0
    page = names[first : first + limit]
    data = [{"type": "model", "id": name, "display_name": name, "created_at": BORN_AT} for name in page]
    more = first + limit < len(names)
    told = {"first_id": page[0] if page else None, "last_id": page[-1] if page else None}
    return json_reply(200, {"data": data, "has_more": more, **told})


def _problem(request: RecordedRequest, body: Any, *, counting: bool) -> Reply | None:
    """A refusal as Anthropic would write it, or None."""
    if not isinstance(body, dict):
        return anthropic_error(400, "Sandbox: the body is not a JSON object.")
    if request.get(b"anthropic-version") is None:
        return anthropic_error(400, "anthropic-version: header is required")
    model, messages = body.get("model"), body.get("messages")
    if not isinstance(model, str):
        return anthropic_error(400, "model: Field required")
    if not model.startswith("claude-"):
        return anthropic_error(404, f"model: {model[:80]}")
    if not counting and type(body.get("max_tokens")) is not int:
        return anthropic_error(400, "max_tokens: Field required")
    if not isinstance(messages, list) or not messages:
        return anthropic_error(400, "messages: at least one message is required")
    for place, message in enumerate(messages):
        content = message.get("content")
        for number, block in enumerate(content if isinstance(content, list) else ()):
            if block.get("type") == "thinking" and block.get("signature") != SIGNATURE:
                return anthropic_error(400, f"messages.{place}.content.{number}: Invalid `signature` in thinking block")
    return None


def _as_chat(body: Json) -> dict[str, Any]:
    """The request in the words by which the sandbox's chat composes its answers."""
    system = body.get("system")
    messages: list[Json] = [{"role": "system", "content": system}] if system else []
    for message in body["messages"]:
        messages += _messages_of(message)
    chat: dict[str, Any] = {
        "messages": messages,
        "max_tokens": body.get("max_tokens"),
        "stop": body.get("stop_sequences"),
    }
    tools = [tool for tool in body.get("tools") or () if "input_schema" in tool]
    if tools:
        chat["tools"] = [
            {"type": "function", "function": {"name": tool["name"], "parameters": tool["input_schema"]}}
            for tool in tools
        ]
    choice = body.get("tool_choice") or {}
    if choice.get("type") == "tool":
        chat["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    elif choice:
        chat["tool_choice"] = _CHOICES.get(str(choice.get("type")), "auto")
    if choice.get("disable_parallel_tool_use"):
        chat["parallel_tool_calls"] = False
    return chat


def _messages_of(message: Json) -> Iterator[Json]:
    content = message.get("content")
    if not isinstance(content, list):
        yield message
        return
    results = [block for block in content if block.get("type") == "tool_result"]
    calls = [block for block in content if block.get("type") == "tool_use"]
    for block in results:
        yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": block.get("content") or ""}
    parts = [_part(block) for block in content if block.get("type") in ("text", "image")]
    if parts or calls:
        called = [{"id": one.get("id"), "type": "function", "function": {"name": one.get("name")}} for one in calls]
        yield {"role": message["role"], "content": parts, **({"tool_calls": called} if called else {})}


def _part(block: Json) -> Json:
    return {"type": "image_url"} if block["type"] == "image" else block


def _usage(used: ChatUsage, body: Json) -> dict[str, Any]:
    """Anthropic's usage, with what was written to the cache by how long it is kept."""
    for_hour = used.written if used.sale(body, "").lifetime == "1h" else 0
    return {
        **used.document(Options(vendor="anthropic")),
        "cache_creation": {
            "ephemeral_5m_input_tokens": used.written - for_hour,
            "ephemeral_1h_input_tokens": for_hour,
        },
        "service_tier": "standard",
    }


def _blocks(made: AssistantMessage) -> Iterator[dict[str, Any]]:
    if made.reasoning:
        yield {"type": "thinking", "thinking": "".join(made.reasoning), "signature": SIGNATURE}
    if text := "".join(made.content or made.refusal):
        yield {"type": "text", "text": text}
    for call in made.calls:
        arguments = "".join(call.pieces)
        try:
            given = orjson.loads(arguments)
        except orjson.JSONDecodeError:  # it was cut
            given = {}
        yield {"type": "tool_use", "id": call.id.replace("call_", "toolu_"), "name": call.name, "input": given}


def _events(message: dict[str, Any], made: AssistantMessage, usage: dict[str, Any]) -> Iterator[Event]:
    """Anthropic's events: the input's tokens come first, those of the output last."""
    begun = {**message, "content": [], "stop_reason": None}
    if usage:
        begun["usage"] = {**usage, "output_tokens": 1}
    yield _event("message_start", "role", message=begun)
    index = 0

    def block(opened: dict[str, Any], deltas: list[dict[str, Any]], signed: str = "") -> Iterator[Event]:
        is_call = opened["type"] == "tool_use"
        yield _event(
            "content_block_start", "content" if is_call else "role", int(is_call), index=index, content_block=opened
        )
        if index == 0:
            yield _event("ping", "other")
        for delta in deltas:
            yield _event("content_block_delta", "content", 1, index=index, delta=delta)
        if signed:
            signature = {"type": "signature_delta", "signature": signed}
            yield _event("content_block_delta", "content", index=index, delta=signature)
        yield _event("content_block_stop", "other", index=index)

    if made.reasoning:
        told = [{"type": "thinking_delta", "thinking": piece} for piece in made.reasoning]
        yield from block({"type": "thinking", "thinking": "", "signature": ""}, told, SIGNATURE)
        index += 1
    if pieces := made.content or made.refusal:
        yield from block({"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces])
        index += 1
    for call in made.calls:
        opened = {"type": "tool_use", "id": call.id.replace("call_", "toolu_"), "name": call.name, "input": {}}
        told = [{"type": "input_json_delta", "partial_json": piece} for piece in call.pieces]
        yield from block(opened, told)
        index += 1
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    told_last = {"output_tokens": usage["output_tokens"]} if usage else {}
    yield _event("message_delta", "finish", delta=ended, usage=told_last)
    yield _event("message_stop", "done")


def _event(name: str, kind: EventKind, tokens: int = 0, **fields: Any) -> Event:
    return Event(orjson.dumps({"type": name, **fields}), kind, tokens, name=name.encode())
