"""Chat completions, answered honestly: the same request always gets the same text.

Tokens are counted by a simple rule, so that a bill can be checked by hand. A completion token is a piece of text as it
is cut for streaming: a word with its leading blank, or a piece of a tool call's arguments. A prompt counts 3 tokens,
plus 4 and its words for every message, plus 85 for every image in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import orjson

from gateway.sandbox.chat.field_rules import check_request
from gateway.sandbox.chat.messages import AssistantMessage, compose_message
from gateway.sandbox.chat.rule_words import Refusal
from gateway.sandbox.chat.usage import ChatUsage
from gateway.sandbox.wire.answers import DONE, Answer, Event, EventKind, EventStream, Json, Reply, Role, json_reply
from gateway.sandbox.wire.errors import error_reply, openai_refusal
from gateway.sandbox.wire.options import Options

MODEL_FAMILIES = (
    "chat-latest",
    "gpt-",
    "chatgpt-",
    "claude-",
    "gemini-",
    "deepseek-",
    "llama-",
    "qwen",
    "grok-",
    "mistral-",
    "o1",
    "o3",
    "o4",
)
"""Beginnings of the model names that chat serves."""


@dataclass(frozen=True, slots=True)
class CompletionFields:
    """The fields that a completion and all its chunks carry. ``created``: Unix seconds. ``tier``: empty for none."""

    id: str
    created: int
    model: str
    fingerprint: str | None = "fp_sandbox"
    tier: str = ""


def answer_chat(body: Json, options: Options, *, id: str, created: int, role: Role = "backup") -> Answer:
    """The answer to a chat request. ``body``: its JSON. A request OpenAI would refuse is refused as OpenAI does.

    ``role``: who answers; a model that PiAPI does not have is refused as relays do.
    """
    problem = _problem(body, options, role)
    if problem is not None:
        return problem
    fields = CompletionFields(id, created, options.named or body["model"])
    count = body.get("n") or 1
    messages = [compose_message(body, options, number) for number in range(count)]
    prompt = prompt_tokens(body["messages"])
    used = ChatUsage.of(body, prompt, sum(message.tokens for message in messages), options)
    usage, sale = used.document(options), used.sale(body, fields.model)
    fields = replace(fields, tier=used.tier)
    choices = [message.choice(number, logprobs=_logprobs(body)) for number, message in enumerate(messages)]
    whole = json_reply(200, _envelope(fields, "chat.completion", choices, usage), sale=sale)
    if not body.get("stream"):
        return whole
    return EventStream(_events(body, fields, messages, usage), whole, sale)


def malformed_request(body: Json) -> Reply | None:
    """A refusal of a request without a model or messages, or None."""
    if not isinstance(body.get("model"), str):
        return error_reply(400, message="Sandbox: you must provide a model.")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        return error_reply(400, message="Sandbox: 'messages' must be a list of messages.")
    return None


def _problem(body: Json, options: Options, role: Role) -> Reply | None:
    """A refusal as OpenAI would write it, or None."""
    model = body.get("model")
    if isinstance(model, str) and not model.startswith(MODEL_FAMILIES):
        return _no_such_model(model[:80], role)
    try:
        check_request(body, role, any_fields=bool(options.any_fields))
    except Refusal as refusal:
        return openai_refusal(refusal.message, refusal.param, refusal.code)
    return None


def _logprobs(body: Json) -> int | None:
    """How many probable tokens are told for each, None for nothing."""
    return body.get("top_logprobs") or 0 if body.get("logprobs") else None


def _no_such_model(model: str, role: Role) -> Reply:
    """OpenAI's words, or those of a relay of the new-api family (QuantumNous/new-api, pull request 6310); PiAPI's own
    are not documented.
    """
    if role == "backup":
        words = f"Sandbox: The model `{model}` does not exist or you do not have access to it."
        return error_reply(404, message=words)
    words = f"Sandbox: No available channel for model {model} under group default (distributor)"
    return error_reply(503, type="new_api_error", code="model_not_found", message=words)


def prompt_tokens(messages: list[Json]) -> int:
    """Prompt tokens, by the rule at the head of this file."""
    total = 3
    for message in messages:
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"text": content if isinstance(content, str) else ""}]
        total += 4
        for part in parts:
            if isinstance(part, dict):
                total += 85 if part.get("type") == "image_url" else len(str(part.get("text") or "").split())
    return total


def _envelope(fields: CompletionFields, object: str, choices: Sequence[Json], usage: Json | None) -> dict[str, Any]:
    content: dict[str, Any] = {
        "id": fields.id,
        "object": object,
        "created": fields.created,
        "model": fields.model,
        "choices": choices,
    }
    if usage is not None:
        content["usageMetadata" if "promptTokenCount" in usage else "usage"] = usage
    if fields.tier:
        content["service_tier"] = fields.tier
    if fields.fingerprint is not None:
        content["system_fingerprint"] = fields.fingerprint
    return content


def chunk_event(
    fields: CompletionFields, kind: EventKind, choice: Json, *, null_usage: bool, tokens: int = 0, images: int = 0
) -> Event:
    """One ``chat.completion.chunk`` with one choice. ``null_usage``: as OpenAI writes it when usage was asked for."""
    content = _envelope(fields, "chat.completion.chunk", [choice], None)
    if null_usage:
        content["usage"] = None
    return Event(orjson.dumps(content), kind, tokens, images)


def delta_choice(number: int, delta: Json, finish: str | None = None, logprobs: Json | None = None) -> dict[str, Any]:
    return {"index": number, "delta": delta, "logprobs": logprobs, "finish_reason": finish}


def _events(body: Json, fields: CompletionFields, messages: list[AssistantMessage], usage: Json) -> Iterator[Event]:
    """Role chunks, deltas of the choices in turn, finish chunks, the usage chunk if it was asked for, ``[DONE]``."""
    asked = bool((body.get("stream_options") or {}).get("include_usage"))
    logprobs = _logprobs(body)
    for number, message in enumerate(messages):
        yield chunk_event(fields, "role", delta_choice(number, message.opening()), null_usage=asked)
    for turn in zip_longest(*(message.deltas(logprobs=logprobs) for message in messages)):
        for number, piece in enumerate(turn):
            if piece is not None:
                choice = delta_choice(number, piece.delta, logprobs=piece.logprobs)
                yield chunk_event(fields, "content", choice, null_usage=asked, tokens=1)
    for number, message in enumerate(messages):
        yield chunk_event(fields, "finish", delta_choice(number, {}, message.finish), null_usage=asked)
    if asked:
        yield Event(orjson.dumps(_envelope(fields, "chat.completion.chunk", [], usage)), "usage")
    yield DONE
