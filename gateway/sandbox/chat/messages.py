"""Assistant messages, made from the request alone, whole and in deltas for streaming."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.sandbox.chat.tool_calls import ToolCall, choose_calls, example_of
from gateway.sandbox.wire.answers import Json
from gateway.sandbox.wire.options import Options

SCENARIO_MARKER = re.compile(r"\[\[sandbox:\s*([^\[\]]{1,200})\]\]")
"""``[[sandbox: NAME;parameter=value]]`` in a user's message chooses a scenario."""

_WORD = re.compile(r"\s*\S+")
_ECHOED = 200  # characters of the prompt that an answer repeats at most
_FILLER = ("This", " is", " the", " sandbox", " ✓", " counting", " words.")
_SEPARATORS = ("\u2028", "\u2029", "\u0085")  # line ends to str.splitlines, not to server-sent events


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a message, as one chunk of a stream carries it."""

    delta: Json
    logprobs: Json | None = None


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """An assistant's message, its parts cut into pieces. ``legacy``: the call goes out as ``function_call``."""

    content: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    refusal: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    legacy: bool = False
    finish: str = "stop"

    @property
    def tokens(self) -> int:
        """Completion tokens: one a delta (a call's first delta, with its name, is one too)."""
        calls = sum(1 + len(call.pieces) for call in self.calls)
        return len(self.content) + len(self.reasoning) + len(self.refusal) + calls

    def choice(self, number: int, *, logprobs: bool) -> dict[str, Any]:
        """The choice of an answer that is not streamed."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self.content) if self.content else None,
            "refusal": "".join(self.refusal) if self.refusal else None,
        }
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        functions = [{"name": call.name, "arguments": "".join(call.pieces)} for call in self.calls]
        if self.legacy and functions:
            message["function_call"] = functions[0]
        elif functions:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": function}
                for call, function in zip(self.calls, functions, strict=True)
            ]
        told = {"content": [_logprob(piece) for piece in self.content], "refusal": None} if logprobs else None
        return {"index": number, "message": message, "logprobs": told, "finish_reason": self.finish}

    def deltas(self, *, logprobs: bool) -> Iterator[Delta]:
        """The same message piece by piece; parallel calls one after the other, as OpenAI streams them."""
        for piece in self.reasoning:
            yield Delta({"reasoning_content": piece})
        for piece in self.content:
            yield Delta({"content": piece}, {"content": [_logprob(piece)], "refusal": None} if logprobs else None)
        for piece in self.refusal:
            yield Delta({"refusal": piece})
        for index, call in enumerate(self.calls):
            yield from self._call_deltas(index, call)

    def _call_deltas(self, index: int, call: ToolCall) -> Iterator[Delta]:
        if self.legacy:
            yield Delta({"function_call": {"name": call.name, "arguments": ""}})
            for piece in call.pieces:
                yield Delta({"function_call": {"arguments": piece}})
            return
        opening = {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        yield Delta({"tool_calls": [opening]})
        for piece in call.pieces:
            yield Delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})


def _logprob(piece: str) -> dict[str, Any]:
    return {"token": piece, "logprob": -0.25, "bytes": list(piece.encode()), "top_logprobs": []}


def compose_message(body: Json, options: Options, number: int) -> AssistantMessage:
    """The message of choice ``number`` for this request."""
    prompt = last_message_text(body["messages"])
    reasoning = tuple(_counted(options.reasoning))
    if options.refusal:
        return AssistantMessage(reasoning=reasoning, refusal=_words("Sandbox: I will not answer that."))
    calls, legacy = choose_calls(body, options, prompt)
    if calls:
        finish = "function_call" if legacy else "tool_calls"
        return AssistantMessage(reasoning=reasoning, calls=calls, legacy=legacy, finish=finish)
    pieces = _cut(_text(body, prompt, number), options)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if type(limit) is int and 0 < limit < len(pieces):
        return AssistantMessage(pieces[:limit], reasoning, finish="length")
    return AssistantMessage(pieces, reasoning)


def last_message_text(messages: list[Json]) -> str:
    """The text of the last message, without scenario markers, cut to what an answer may repeat."""
    return SCENARIO_MARKER.sub("", message_text(messages[-1])).strip()[:_ECHOED]


def message_text(message: Json) -> str:
    """A message's text, its text parts joined by a blank."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(
        str(part.get("text", "")) for part in parts if isinstance(part, dict) and part.get("type") == "text"
    )


def _text(body: Json, prompt: str, number: int) -> str:
    if body["messages"][-1].get("role") == "tool":
        return f"Sandbox ✓ The tool said: {prompt}"
    shape = body.get("response_format") or {}
    if shape.get("type") == "json_schema":
        wrapper = shape.get("json_schema")
        schema = wrapper.get("schema") if isinstance(wrapper, dict) else None
        return orjson.dumps(example_of(schema, prompt)).decode()
    if shape.get("type") == "json_object":
        return orjson.dumps({"sandbox": True, "you_said": prompt}).decode()
    ordinal = f" (choice {number + 1})" if number else ""
    return f"Sandbox ✓ This is a simulated answer{ordinal}; no model was asked. You said: {prompt}"


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text))


def _counted(count: int) -> Iterator[str]:
    return (_FILLER[index % len(_FILLER)] for index in range(count))


def _cut(text: str, options: Options) -> tuple[str, ...]:
    if options.text == "u2028":
        text = text.replace(" ", _SEPARATORS[0], 1).replace(" ", _SEPARATORS[1], 1).replace(" ", _SEPARATORS[2], 1)
    if options.chunks:
        return tuple(_counted(options.chunks))
    if options.chunk_size:
        return tuple(text[start : start + options.chunk_size] for start in range(0, len(text), options.chunk_size))
    return _words(text)
