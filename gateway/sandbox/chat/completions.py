"""Chat completions, answered honestly: the same request always gets the same text.

Tokens by a simple rule, so that anybody can check a bill by hand. A completion token is a piece of text as it is cut
for streaming: a word with its leading blank, or a piece of a tool call's arguments. A prompt counts 3 tokens, plus 4
and its words for every message, plus 85 for every image in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import orjson

from gateway.sandbox.chat.messages import Message, compose
from gateway.sandbox.wire.answers import DONE, Answer, Event, EventStream, Reply, Sale, json_reply
from gateway.sandbox.wire.errors import refusal
from gateway.sandbox.wire.options import Options

FAMILIES = (
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
"""Model names the sandbox knows, by their beginnings."""

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every chunk of one answer repeats. ``created``: Unix seconds."""

    id: str
    created: int
    model: str
    fingerprint: str | None = "fp_sandbox"


def answer_chat(body: Json, options: Options, *, id: str, created: int) -> Answer:
    """``body``: the request's JSON. A request OpenAI would refuse is refused as OpenAI does."""
    problem = _problem(body)
    if problem is not None:
        return problem
    stamp = Stamp(id, created, body["model"])
    count = body.get("n") or 1
    messages = [compose(body, options, number) for number in range(count)]
    prompt = count_prompt(body["messages"])
    usage = usage_of(prompt, sum(message.tokens for message in messages), options)
    sale = Sale(stamp.model, prompt, min(options.cached, prompt), usage["completion_tokens"])
    choices = [message.choice(number, logprobs=bool(body.get("logprobs"))) for number, message in enumerate(messages)]
    whole = json_reply(200, _envelope(stamp, "chat.completion", choices, usage), sale=sale)
    if not body.get("stream"):
        return whole
    return EventStream(_events(body, stamp, messages, usage), whole, sale)


def malformed(body: Json) -> Reply | None:
    """A refusal for fields of the wrong JSON type, or None."""
    if not isinstance(body.get("model"), str):
        return refusal(400, message="Sandbox: you must provide a model.")
    if not _is_objects(body.get("messages")) or not body["messages"]:
        return refusal(400, message="Sandbox: 'messages' must be a list of messages.")
    for name in ("stream_options", "response_format"):
        if not isinstance(body.get(name) or {}, dict):
            return refusal(400, message=f"Sandbox: '{name}' must be an object.")
    for name in ("tools", "functions"):
        if not _is_objects(body.get(name) or []):
            return refusal(400, message=f"Sandbox: '{name}' must be a list of objects.")
    return None


def _is_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _problem(body: Json) -> Reply | None:
    if (problem := malformed(body)) is not None:
        return problem
    model, count = body["model"], body.get("n")
    if count is not None and not (type(count) is int and 1 <= count <= 128):
        return refusal(400, message="Sandbox: 'n' must be from 1 to 128.")
    if not model.startswith(FAMILIES):
        return refusal(404, message=f"Sandbox: the model `{model[:80]}` does not exist.")
    return None


def count_prompt(messages: list[Json]) -> int:
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


def usage_of(prompt: int, completion: int, options: Options) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": min(options.cached, prompt), "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": options.reasoning, "audio_tokens": 0},
    }


def _envelope(stamp: Stamp, object: str, choices: Sequence[Json], usage: Json | None) -> dict[str, Any]:
    content: dict[str, Any] = {
        "id": stamp.id,
        "object": object,
        "created": stamp.created,
        "model": stamp.model,
        "choices": choices,
    }
    if usage is not None:
        content["usage"] = usage
    if stamp.fingerprint is not None:
        content["system_fingerprint"] = stamp.fingerprint
    return content


def chunk_event(stamp: Stamp, kind: Any, choice: Json, *, null_usage: bool, tokens: int = 0, images: int = 0) -> Event:
    """One ``chat.completion.chunk`` with one choice. ``null_usage``: as OpenAI writes it when usage was asked for."""
    content = _envelope(stamp, "chat.completion.chunk", [choice], None)
    if null_usage:
        content["usage"] = None
    return Event(orjson.dumps(content), kind, tokens, images)


def delta_choice(number: int, delta: Json, finish: str | None = None, logprobs: Json | None = None) -> dict[str, Any]:
    return {"index": number, "delta": delta, "logprobs": logprobs, "finish_reason": finish}


def _events(body: Json, stamp: Stamp, messages: list[Message], usage: Json) -> Iterator[Event]:
    """Role chunks, deltas of the choices in turn, finish chunks, the usage chunk if it was asked for, ``[DONE]``."""
    asked = bool((body.get("stream_options") or {}).get("include_usage"))
    logprobs = bool(body.get("logprobs"))
    for number in range(len(messages)):
        opening = {"role": "assistant", "content": "", "refusal": None}
        yield chunk_event(stamp, "role", delta_choice(number, opening), null_usage=asked)
    for turn in zip_longest(*(message.deltas(logprobs=logprobs) for message in messages)):
        for number, piece in enumerate(turn):
            if piece is not None:
                choice = delta_choice(number, piece.delta, logprobs=piece.logprobs)
                yield chunk_event(stamp, "content", choice, null_usage=asked, tokens=1)
    for number, message in enumerate(messages):
        yield chunk_event(stamp, "finish", delta_choice(number, {}, message.finish), null_usage=asked)
    if asked:
        yield Event(orjson.dumps(_envelope(stamp, "chat.completion.chunk", [], usage)), "usage")
    yield DONE
