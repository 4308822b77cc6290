"""Reading the chunks of a chat stream, and writing the few chunks that the gateway adds itself.

A chunk is the parsed JSON of one ``chat.completion.chunk``. Upstream data is checked like client data: implausible
figures are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from gateway.core.types import Usage
from gateway.wire.chat_request import MAX_CHOICES
from gateway.wire.finish_reasons import finish_reason, usual_finish_reason
from gateway.wire.folded_tool_calls import ToolCalls
from gateway.wire.sse import DONE, encode_event
from gateway.wire.writable import dump_json

# No answer uses more; a greater figure is a fault, which would be charged for.
_MOST_TOKENS = 100_000_000
_NO_FINISH: Mapping[int, str] = MappingProxyType({})
# Both names are in use for a model's reasoning; a relay that sends both sends the same text twice.
_REASONING = ("reasoning_content", "reasoning")
_MESSAGES = frozenset({"message", "delta", "text"})
_IN_EVERY_CHUNK = frozenset({"id", "created", "model", "service_tier", "system_fingerprint"})


class InBandError(NamedTuple):
    """An error inside an answer of status 200, in any of its known shapes.

    ``status``: the HTTP status it names for itself (a code from 400 to 599); None if it names none.
    """

    message: str
    type: str | None = None
    param: str | None = None
    code: str | None = None
    status: int | None = None


class ChunkFacts(NamedTuple):
    """The facts of one chunk that matter to the gateway.

    ``error``: None unless the chunk is an error.
    ``meaningful``: it carries content (text, a refusal, reasoning, a tool call, sound, an image); a role or an empty
        delta is not content.
    ``text``: the pieces of text, for estimating tokens.
    ``finish``: choice index → finish reason.
    ``usage``: None unless it is present and plausible.
    ``usage_only``: it has no choice and only carries usage.
    ``malformed``: what is wrong with it; None if nothing is.
    """

    error: InBandError | None = None
    meaningful: bool = False
    text: tuple[str, ...] = ()
    finish: Mapping[int, str] = _NO_FINISH
    usage: Usage | None = None
    usage_only: bool = False
    malformed: str | None = None


def chunk_facts(chunk: object, n: int = 1, event: bytes | None = None) -> ChunkFacts:
    """Read a chunk.

    ``n``: how many choices were asked for.
    ``event``: the name of the event that brought it; None if it has none.
    """
    if not isinstance(chunk, dict):
        return ChunkFacts(malformed="not an object")
    choices = chunk.get("choices")
    if (event == b"error" or "error" in chunk or choices is None) and (error := error_of(chunk, event)) is not None:
        return ChunkFacts(error=error)
    usage = chunk.get("usage")
    if choices is None and isinstance(usage, dict):
        choices = []
    if type(choices) is not list:
        return ChunkFacts(malformed="choices is not an array")
    meaningful = False
    text: list[str] = []
    finish: dict[int, str] = {}
    for choice in choices:
        if (fault := _choice_fault(choice, n)) is not None:
            return ChunkFacts(malformed=fault)
        if reason := choice.get("finish_reason"):
            finish[choice.get("index", 0)] = str(reason)
        if delta := choice.get("delta"):
            if delta.get("error"):
                return ChunkFacts(error=error_of(delta))
            meaningful = _read_delta(delta, text) or meaningful
    return ChunkFacts(
        None,
        meaningful,
        tuple(text),
        finish or _NO_FINISH,
        read_usage(usage) if usage else None,
        not choices and usage is not None,
    )


def _choice_fault(choice: object, n: int) -> str | None:
    """What is wrong with a choice. Some relays leave out the index of an only choice, which is accepted."""
    if type(choice) is not dict:
        return "a choice is not an object"
    index = choice.get("index", 0)
    if type(index) is not int or not 0 <= index < n:
        return "a choice has an index that was not asked for"
    delta = choice.get("delta")
    if delta is not None and type(delta) is not dict:
        return "a delta is not an object"
    return None


def _read_delta(delta: dict[str, Any], text: list[str]) -> bool:
    """Whether a delta is meaningful; its text is added to ``text``."""
    meaningful = False
    for name, value in delta.items():
        if not value or name == "role":
            continue
        if type(value) is str:
            meaningful = True
            if name in ("content", "refusal") or (name in _REASONING and name == _reasoning_name(delta)):
                text.append(value)
        elif type(value) is list or type(value) is dict:
            meaningful = True
            if name == "tool_calls" and type(value) is list:
                for call in value:
                    if isinstance(call, dict):
                        _read_call(call.get("function") or call.get("custom"), text)
            elif name == "function_call":
                _read_call(value, text)
    return meaningful


def _reasoning_name(delta: dict[str, Any]) -> str:
    return _REASONING[0] if delta.get(_REASONING[0]) else _REASONING[1]


def _read_call(function: object, text: list[str]) -> None:
    if isinstance(function, dict):
        text.extend(piece for name in ("name", "arguments", "input") if type(piece := function.get(name)) is str)


def error_of(document: dict[str, Any], event: bytes | None = None) -> InBandError | None:
    """The error that a chunk or a whole JSON answer is, or None.

    Known shapes: OpenAI's ``{"error": {…}}``, ``{"error": "text"}``, a flat ``{"message": …}`` (under ``event: error``
    or without choices), and PiAPI's envelope ``{"code": …, "message": …, "data": …}``, where 200 and 0 mean success.
    """
    inner = document.get("error")
    if inner:
        if isinstance(inner, dict):
            return _error_from(inner)
        words = inner if isinstance(inner, str) else "an error without words"
        return InBandError(words, code=_as_text(document.get("code")), status=_status(document.get("code")))
    if event == b"error":
        return _error_from(document)
    if document.get("choices") is None:
        code = document.get("code")
        if code not in (0, 200) if type(code) is int else isinstance(document.get("message"), str):
            return _error_from(document)
    return None


def _error_from(fields: dict[str, Any]) -> InBandError:
    code = fields.get("code")
    status = next((found for name in ("status", "status_code") if (found := _status(fields.get(name)))), None)
    return InBandError(
        message=_as_text(fields.get("message")) or _as_text(fields.get("raw_message")) or "an error without words",
        type=_as_text(fields.get("type")),
        param=_as_text(fields.get("param")),
        code=_as_text(code),
        status=status or _status(code),
    )


def _as_text(value: object) -> str | None:
    if isinstance(value, str):
        return value or None
    return str(value) if type(value) is int else None


def _status(value: object) -> int | None:
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
        value = int(value)
    return value if type(value) is int and 400 <= value <= 599 else None


def _tokens(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None


def read_usage(usage: object) -> Usage | None:
    """An upstream's ``usage`` object, or None if it is empty or implausible.

    Stated zeros are believed: an estimate instead would charge for what the upstream gave away.
    """
    if not isinstance(usage, dict):
        return None
    prompt = _tokens(usage.get("prompt_tokens"))
    completion = _tokens(usage.get("completion_tokens"))
    if prompt is None or completion is None:
        return None
    details = usage.get("prompt_tokens_details")
    cached = _tokens(details.get("cached_tokens")) if isinstance(details, dict) else None
    return Usage(prompt, min(cached or 0, prompt), completion)


def write_usage(usage: Usage) -> dict[str, Any]:
    """OpenAI's ``usage`` object."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens},
    }


def usage_chunk(template: dict[str, Any], usage: Usage) -> dict[str, Any]:
    """The usage chunk that ends a stream whose upstream sent none.

    ``template``: any chunk of that stream.
    """
    kept: dict[str, Any] = {
        name: template[name] for name in ("id", "created", "model", "service_tier") if name in template
    }
    return {"object": "chat.completion.chunk", **kept, "choices": [], "usage": write_usage(usage)}


def strip_usage(chunk: dict[str, Any]) -> dict[str, Any] | None:
    """The chunk for a client that did not ask for usage.

    Returns the chunk itself if it carries no usage, else a copy without it; None if nothing worth sending is left.
    """
    if chunk.get("usage") is None:
        return chunk
    if not chunk.get("choices"):
        return None
    return {name: value for name, value in chunk.items() if name != "usage"}


def completion_as_chunks(completion: dict[str, Any]) -> list[bytes]:
    """The events of a stream with the content of a whole ``chat.completion``, ``[DONE]`` included.

    For an upstream that answers a request for a stream with one JSON document. Raises ValueError, saying what is wrong,
    if the document is not a completion.
    """
    choices = completion.get("choices")
    if not isinstance(choices, list):
        raise ValueError("choices is not an array")
    if len(choices) > MAX_CHOICES:
        raise ValueError(f"it has more than {MAX_CHOICES} choices")
    return [*(encode_event(dump_json(chunk)) for chunk in _chunks_of(completion, choices)), DONE]


def _chunks_of(completion: dict[str, Any], choices: list[Any]) -> Iterator[dict[str, Any]]:
    """Fields that belong in every chunk are repeated if they are short; the other fields are sent once, in the first
    chunk.
    """
    head: dict[str, Any] = {"object": "chat.completion.chunk"}
    once: dict[str, Any] = {}
    for name, value in completion.items():
        if name not in ("choices", "usage", "object"):
            repeated = name in _IN_EVERY_CHUNK and (type(value) is int or (type(value) is str and len(value) <= 256))
            (head if repeated else once)[name] = value
    indexes = [choice.get("index") for choice in choices if isinstance(choice, dict)]
    numbered = all(type(index) is int for index in indexes) and len(set(indexes)) == len(choices)
    for position, choice in enumerate(choices):
        message = _message_of(choice)
        rest = {name: value for name, value in choice.items() if name not in (*_MESSAGES, "index", "finish_reason")}
        index = indexes[position] if numbered else position
        reason = finish_reason(choice.get("finish_reason")) or usual_finish_reason(message)
        extra, once = once, {}
        delta = _message_as_delta(message)
        yield {**head, **extra, "choices": [{"index": index, "delta": delta, **rest, "finish_reason": None}]}
        yield {**head, "choices": [{"index": index, "delta": {}, "finish_reason": reason}]}
    if completion.get("usage"):
        yield {**head, **once, "choices": [], "usage": completion["usage"]}


def _message_of(choice: Any) -> dict[str, Any]:
    """The message of a whole answer's choice, wherever it stands. Raises ValueError if there is none."""
    if isinstance(choice, dict):
        message, delta = choice.get("message"), choice.get("delta")
        if isinstance(message, dict):
            return message
        if isinstance(delta, dict) and any(delta[name] for name in delta if name != "role"):
            return delta
        if isinstance(choice.get("text"), str):
            return {"role": "assistant", "content": choice["text"]}
    raise ValueError("a choice has no message")


def _message_as_delta(message: dict[str, Any]) -> dict[str, Any]:
    """The delta that says a whole message: its calls have their places as indexes, and arguments that are texts."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        return message
    folding = ToolCalls()
    folding.extend([{**call, "index": None} for call in calls], numbered=True)
    return {**message, "tool_calls": [{"index": place, **call} for place, call in enumerate(folding.result())]}
