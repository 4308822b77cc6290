"""``POST /v1/responses``, answered honestly by a provider that has it: a message of the same few words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from gateway.sandbox.wire.answers import Answer, Event, EventStream, Reply, Sale, json_reply
from gateway.sandbox.wire.errors import openai_refusal
from gateway.sandbox.wire.options import Options

_WORDS = ("SANDBOX: ", "a ", "response ", "by ", "nobody.")


def answer_response(body: dict[str, Any], options: Options, *, id: str, created: int) -> Answer:
    """A response; ``previous_response_id`` is taken for one of its own."""
    model = body.get("model")
    if not isinstance(model, str):
        return openai_refusal("you must provide a model parameter", "model")
    if not body.get("input") and not body.get("previous_response_id"):
        return openai_refusal("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    text = "".join(_WORDS)
    tokens = _tokens(body)
    made = len(_WORDS)
    usage = {
        "input_tokens": tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tokens + made,
    }
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    message_id = id.replace("resp_", "msg_")
    message = {"id": message_id, "type": "message", "status": "completed", "role": "assistant", "content": [part]}
    begun: dict[str, Any] = {
        "id": id,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "model": options.named or model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "store": body.get("store", True),
        "tool_choice": "auto",
        "tools": body.get("tools") or [],
        "usage": None,
    }
    ended = {**begun, "status": "completed", "output": [message], **({"usage": usage} if options.usage else {})}
    sale = Sale(model, tokens, output_tokens=made)
    whole = json_reply(200, ended, sale=sale)
    if not body.get("stream"):
        return whole

    return EventStream(_events(begun, ended, message), whole, sale)


def answer_compaction(body: dict[str, Any], *, id: str, created: int) -> Answer:
    """A conversation summed up: what it says can be read by the sandbox alone."""
    model = body.get("model")
    if not isinstance(model, str):
        return openai_refusal("you must provide a model parameter", "model")
    tokens = _tokens(body)
    usage = {"input_tokens": tokens, "output_tokens": 1, "total_tokens": tokens + 1}
    item = {"id": id.replace("resp_", "cmp_"), "type": "compaction", "encrypted_content": "gAAAAsandbox"}
    answer = {"id": id, "object": "response.compaction", "created_at": created, "output": [item], "usage": usage}
    return json_reply(200, answer, sale=Sale(model, tokens, output_tokens=1))


def count_tokens(body: dict[str, Any]) -> Reply:
    """How many tokens a request would send."""
    return json_reply(200, {"object": "response.input_tokens", "input_tokens": _tokens(body)})


def _tokens(body: dict[str, Any]) -> int:
    return len(orjson.dumps(body.get("input")).split())


def read_response(place: str, query: str = "") -> Answer:
    """What is kept of a response: the sandbox keeps none, and makes it up from the id."""
    id, _, below = place.partition("/")
    if not id.startswith("resp_sandbox"):
        message = f"Response with id '{id[:80]}' not found."
        return json_reply(
            404, {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
        )
    if below == "input_items":
        return json_reply(200, {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False})
    response: dict[str, Any] = {"id": id, "object": "response", "status": "completed", "output": [], "error": None}
    whole = json_reply(200, response)
    if "stream=true" not in query:
        return whole
    first = int(query.partition("starting_after=")[2].partition("&")[0] or -1) + 1
    kinds = ("response.created", "response.in_progress", "response.completed")
    told = ({"type": kind, "sequence_number": number, "response": response} for number, kind in enumerate(kinds))
    events = [Event(orjson.dumps(one), "content", name=str(one["type"]).encode()) for one in told]
    return EventStream(events[first:], whole)


def _events(begun: dict[str, Any], ended: dict[str, Any], message: dict[str, Any]) -> Iterator[Event]:
    """OpenAI's events of a message, numbered."""
    (part,) = message["content"]
    place: dict[str, Any] = {"item_id": message["id"], "output_index": 0, "content_index": 0}
    empty = {**message, "status": "in_progress", "content": []}
    told: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
        ("response.output_item.added", {"output_index": 0, "item": empty}),
        ("response.content_part.added", {**place, "part": {**part, "text": ""}}),
        *(("response.output_text.delta", {**place, "delta": word, "logprobs": []}) for word in _WORDS),
        ("response.output_text.done", {**place, "text": part["text"], "logprobs": []}),
        ("response.content_part.done", {**place, "part": part}),
        ("response.output_item.done", {"output_index": 0, "item": message}),
        ("response.completed", {"response": ended}),
    ]
    for number, (kind, fields) in enumerate(told):
        tokens = int(kind == "response.output_text.delta")
        data = orjson.dumps({"type": kind, "sequence_number": number, **fields})
        yield Event(data, "content" if tokens else "other", tokens, name=kind.encode())
