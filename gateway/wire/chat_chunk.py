"""Reading the chunks of a chat stream, and writing the few chunks that the gateway adds itself.

A chunk is the parsed JSON of one ``chat.completion.chunk``. Upstream data is checked like client data: implausible
figures are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from gateway.core.types import Usage
from gateway.core.upstream_errors.upstream_error import UpstreamError, error_in
from gateway.wire.chat_choices import NO_REASONS, SPEAKING, choices_in, tidy_choices
from gateway.wire.chat_event import is_sign_of_life
from gateway.wire.chat_request import MAX_CHOICES
from gateway.wire.finish_reasons import finish_reason, usual_finish_reason
from gateway.wire.folded_tool_calls import ToolCalls
from gateway.wire.sse import DONE, encode_event
from gateway.wire.usage_reading import read_usage, usage_of
from gateway.wire.writable import dump_json

_NO_FINISH: Mapping[int, str] = MappingProxyType({})
# Both names are in use for a model's reasoning; a relay that sends both sends the same text twice.
_REASONING = ("reasoning_content", "reasoning")
_MESSAGES = frozenset({"message", "delta", "text"})
_NUMBERS = (int, float)
_SPOKEN = ("content", "refusal")
_TEXTS_OF_A_PART = ("text", "thinking", "refusal", "content")
_IN_EVERY_CHUNK = frozenset({"id", "created", "model", "service_tier", "system_fingerprint"})


class ChunkFacts(NamedTuple):
    """The facts of one chunk that matter to the gateway.

    ``error``: None unless the chunk is an error.
    ``meaningful``: it carries content (text, a refusal, reasoning, a tool call, sound, an image); a role or an empty
        delta is not content.
    ``text``: the pieces of text, for estimating tokens.
    ``finish``: choice index → finish reason.
    ``usage``: None unless it is present and plausible.
    ``usage_only``: it has no choice and only carries usage.
    ``says_nothing``: it is no chunk at all, but JSON without meaning (a ping, null); it is to be passed over.
    ``speaking``: the choices with content. ``calling``: those of them with a tool call.
    ``so_far``: the text of a ``message`` sent in place of a delta, which holds all of the answer until now.
    ``tidied``: the chunk with its choices as they should be, if they are not; None for a chunk that is in order.
    """

    error: UpstreamError | None = None
    meaningful: bool = False
    text: tuple[str, ...] = ()
    finish: Mapping[int, str] = _NO_FINISH
    usage: Usage | None = None
    usage_only: bool = False
    says_nothing: bool = False
    speaking: tuple[int, ...] = ()
    calling: tuple[int, ...] = ()
    so_far: str = ""
    tidied: dict[str, Any] | None = None


_SAYS_NOTHING = ChunkFacts(says_nothing=True)
_NOTHING_NEW = ChunkFacts()


def chunk_facts(chunk: object, n: int = 1, event: bytes | None = None) -> ChunkFacts:
    """Read a chunk.

    ``n``: how many choices were asked for.
    ``event``: the name of the event that brought it; None if it has none.
    """
    if type(chunk) is not dict:
        return _facts_of_no_object(chunk, event)
    choices = chunk.get("choices")
    if (choices is None or "error" in chunk or event == b"error") and (error := error_of(chunk, event)) is not None:
        return _SAYS_NOTHING if is_sign_of_life(chunk) else ChunkFacts(error=error)
    usage = chunk.get("usage")
    if type(choices) is not list:
        if (alone := choices_in(chunk)) and not SPEAKING.isdisjoint(alone[0]):
            return _facts_of_odd_choices(chunk, alone, n)
        usage = usage or usage_of(chunk)
        if not isinstance(usage, dict):
            return _SAYS_NOTHING
        return ChunkFacts(usage=read_usage(usage), usage_only=True, tidied={**chunk, "choices": []})
    facts = _facts_in_order(choices, usage, n)
    if facts is None:
        return _facts_of_odd_choices(chunk, choices, n)
    if usage is None and "usageMetadata" in chunk and (facts.finish or not choices):
        usage = usage_of(chunk)
        return facts if usage is None else facts._replace(usage=read_usage(usage), usage_only=not choices)
    return facts


def _facts_in_order(choices: list[Any], usage: object, n: int) -> ChunkFacts | None:
    """The facts of choices that are as OpenAI writes them; None if one is not.

    ``n``: how many were asked for. Some relays leave out the index of an only choice, which is in order.
    """
    if not choices:
        return ChunkFacts(usage=read_usage(usage) if usage else None, usage_only=usage is not None)
    text: list[str] = []
    finish = _NO_FINISH
    speaking: tuple[int, ...] = ()
    calling: tuple[int, ...] = ()
    for choice in choices:
        read = _choice_in_order(choice, n)
        if read is None:
            return None
        index, delta, reason = read
        if reason is not None:
            finish = {**finish, index: reason}
        if delta:
            if delta.get("error"):
                return ChunkFacts(error=error_of(delta))
            if _read_delta(delta, text):
                speaking += (index,)
                if delta.get("tool_calls") or delta.get("function_call"):
                    calling += (index,)
    if not (speaking or finish or usage):
        return _NOTHING_NEW
    return ChunkFacts(
        None,
        speaking != (),
        tuple(text),
        finish,
        read_usage(usage) if usage else None,
        False,
        False,
        speaking,
        calling,
    )


def _choice_in_order(choice: object, n: int) -> tuple[int, dict[str, Any] | None, str | None] | None:
    """The index, the delta and the reason of a choice that is as OpenAI writes it; None if it is not."""
    if type(choice) is not dict:
        return None
    index, delta, reason = choice.get("index", 0), choice.get("delta"), choice.get("finish_reason")
    if type(index) is not int or not 0 <= index < n or (type(delta) is not dict and delta is not None):
        return None
    if ("message" in choice and (not delta or choice["message"])) or ("text" in choice and not delta):
        return None
    if reason is not None and (type(reason) is not str or reason.lower() in NO_REASONS):
        return None
    return index, delta, reason


def _facts_of_no_object(chunk: object, event: bytes | None) -> ChunkFacts:
    """The facts of JSON that is no object: Google sends its errors in an array; all else says nothing."""
    for entry in chunk if isinstance(chunk, list) else ():
        if isinstance(entry, dict) and entry.get("error"):
            return ChunkFacts(error=error_of(entry, event))
    return _SAYS_NOTHING


def _facts_of_odd_choices(chunk: dict[str, Any], choices: list[Any], n: int) -> ChunkFacts:
    usage = chunk.get("usage")
    tidied = tidy_choices(choices, n)
    if not tidied and not isinstance(usage, dict):
        return _SAYS_NOTHING
    deltas = [{name: value for name, value in one.items() if name != "message"} for one in tidied]
    facts = _facts_in_order(deltas, usage, MAX_CHOICES)
    assert facts is not None  # now they are in order
    if facts.error is not None:
        return facts
    wholes = [{"index": one["index"], "delta": message} for one in tidied if (message := one.get("message"))]
    messages = _facts_in_order(wholes, None, MAX_CHOICES)
    assert messages is not None
    if messages.error is not None:
        return messages
    return facts._replace(
        meaningful=facts.meaningful or messages.meaningful,
        speaking=facts.speaking + messages.speaking,
        calling=facts.calling + messages.calling,
        so_far="".join(messages.text),
        tidied={**chunk, "choices": tidied},
    )


def _read_delta(delta: dict[str, Any], text: list[str]) -> bool:
    """Whether a delta is meaningful; its text is added to ``text``."""
    meaningful = False
    for name, value in delta.items():
        if name == "role":
            continue
        kind = type(value)
        if kind in _NUMBERS and name == "content":  # a careless relay's word for a text of digits
            value, kind = str(value), str
        if not value:
            continue
        if kind is str:
            meaningful = True
            if name in _SPOKEN or (name in _REASONING and name == _reasoning_name(delta)):
                text.append(value)
        elif kind is list or kind is dict:
            meaningful = True
            _read_structure(name, value, text)
    return meaningful


def _read_structure(name: str, value: list[Any] | dict[str, Any], text: list[str]) -> None:
    if name == "tool_calls" and isinstance(value, list):
        for call in value:
            if isinstance(call, dict):
                _read_call(call.get("function") or call.get("custom"), text)
    elif name == "function_call":
        _read_call(value, text)
    elif name == "content":
        _read_parts(value, text)


def _reasoning_name(delta: dict[str, Any]) -> str:
    return _REASONING[0] if delta.get(_REASONING[0]) else _REASONING[1]


def _read_call(function: object, text: list[str]) -> None:
    if isinstance(function, dict):
        for name in ("name", "arguments", "input"):
            piece = function.get(name)
            if type(piece) is str:
                text.append(piece)
            elif piece:
                text.append(dump_json(piece).decode())


def _read_parts(parts: object, text: list[str]) -> None:
    """Take the texts of content sent as parts, thoughts among them."""
    if isinstance(parts, list):
        for part in parts:
            _read_parts(part, text)
    elif isinstance(parts, dict):
        for name in _TEXTS_OF_A_PART:
            piece = parts.get(name)
            if type(piece) is str:
                text.append(piece)
            else:
                _read_parts(piece, text)
    elif isinstance(parts, str):
        text.append(parts)


def error_of(document: object, event: bytes | None = None) -> UpstreamError | None:
    """The error that a chunk or a whole JSON answer is, or None: what core/upstream_errors/upstream_error.py finds,
    anything under ``event: error``, and a flat ``{"message": …}`` where there are no choices.
    """
    return error_in(document, expects_choices=True, is_error=event == b"error")


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
    return [*(encode_event(dump_json(chunk, heavy=True)) for chunk in _chunks_of(completion, choices)), DONE]


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
    for index, choice in zip(choice_indexes(choices), choices, strict=True):
        message = message_of(choice)
        rest = {name: value for name, value in choice.items() if name not in (*_MESSAGES, "index", "finish_reason")}
        reason = finish_reason(choice.get("finish_reason")) or usual_finish_reason(message)
        extra, once = once, {}
        delta = _message_as_delta(message)
        yield {**head, **extra, "choices": [{"index": index, "delta": delta, **rest, "finish_reason": None}]}
        yield {**head, "choices": [{"index": index, "delta": {}, "finish_reason": reason}]}
    if usage := usage_of(completion):
        yield {**head, **once, "choices": [], "usage": usage}


def choice_indexes(choices: list[Any]) -> list[int]:
    """The indexes of a whole answer's choices: their own if these tell several apart, else their places."""
    named = [choice.get("index") for choice in choices if isinstance(choice, dict)]
    indexes = [index for index in named if type(index) is int]
    return indexes if len(set(indexes)) == len(choices) > 1 else [*range(len(choices))]


def message_of(choice: Any) -> dict[str, Any]:
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
