"""Assistant messages, made from the request alone, whole and in deltas for streaming."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import orjson

from gateway.sandbox.chat.schema_examples import example_of
from gateway.sandbox.chat.tool_calls import RESULT_ROLES, ToolCall, choose_calls, cut_calls, in_pieces
from gateway.sandbox.wire.answers import Json
from gateway.sandbox.wire.options import Options

SCENARIO_MARKER = re.compile(r"\[\[sandbox:\s*([^\[\]]{1,200})\]\]")
"""``[[sandbox: NAME;parameter=value]]`` in a user's message chooses a scenario."""

_INSTRUCTIONS = ("system", "developer")
_REMINDER = re.compile(r"<(system-reminder)>.*?</\1>", re.DOTALL)
"""What an agent adds to a message for the model alone."""

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
    spoken: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    legacy: bool = False
    finish: str = "stop"

    @property
    def tokens(self) -> int:
        """Completion tokens: one a delta (a call's first delta, with its name, is one too)."""
        calls = sum(1 + len(call.pieces) for call in self.calls)
        return len(self.content) + len(self.reasoning) + len(self.refusal) + len(self.spoken) + calls

    def opening(self) -> dict[str, Any]:
        """The first delta of a stream."""
        return {"role": "assistant", "content": None if self.calls or self.spoken else "", "refusal": None}

    def choice(self, number: int, *, logprobs: int | None) -> dict[str, Any]:
        """The choice of an answer that is not streamed. ``logprobs``: as for ``deltas``."""
        elsewhere = self.calls or self.refusal or self.spoken
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self.content) if self.content or not elsewhere else None,
            "refusal": "".join(self.refusal) if self.refusal else None,
        }
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if self.legacy and self.calls:
            message["function_call"] = self.calls[0].document()["function"]
        elif self.calls:
            message["tool_calls"] = [call.document() for call in self.calls]
        if self.spoken:
            message["audio"] = {**_SOUND, "transcript": "".join(self.spoken)}
        told = None if logprobs is None else _told(self.content, self.refusal, logprobs)
        return {"index": number, "message": message, "logprobs": told, "finish_reason": self.finish}

    def deltas(self, *, logprobs: int | None) -> Iterator[Delta]:
        """The same message piece by piece; parallel calls one after the other, as OpenAI streams them.

        ``logprobs``: how many probable tokens are told for each; None tells nothing.
        """
        for piece in self.reasoning:
            yield Delta({"reasoning_content": piece})
        for piece in self.content:
            yield Delta({"content": piece}, None if logprobs is None else _told((piece,), (), logprobs))
        for piece in self.refusal:
            yield Delta({"refusal": piece}, None if logprobs is None else _told((), (piece,), logprobs))
        for index, call in enumerate(self.calls):
            yield from self._call_deltas(index, call)
        for piece in self.spoken:
            yield Delta({"audio": {"id": _SOUND["id"], "transcript": piece}})
        if self.spoken:
            yield Delta({"audio": {"data": _SOUND["data"], "expires_at": _SOUND["expires_at"]}})

    def _call_deltas(self, index: int, call: ToolCall) -> Iterator[Delta]:
        if self.legacy:
            yield Delta({"function_call": {"name": call.name, "arguments": ""}})
            for piece in call.pieces:
                yield Delta({"function_call": {"arguments": piece}})
            return
        yield Delta({"tool_calls": [{"index": index, **call.opened()}]})
        for piece in call.pieces:
            yield Delta({"tool_calls": [{"index": index, **call.piece(piece)}]})


_SOUND: Json = {"id": "audio_sandbox", "data": b64encode(bytes(4800)).decode(), "expires_at": 2_000_000_000}
"""A tenth of a second of silence in PCM at 24 kHz, also if another format was asked for."""


def _told(content: tuple[str, ...], refusal: tuple[str, ...], top: int) -> dict[str, Any]:
    """The probabilities of a message's tokens."""
    return {
        "content": [_logprob(piece, top) for piece in content] if content or not refusal else None,
        "refusal": [_logprob(piece, top) for piece in refusal] if refusal else None,
    }


def _logprob(piece: str, top: int) -> dict[str, Any]:
    token = {"token": piece, "logprob": -0.25, "bytes": list(piece.encode())}
    others = [(f"{piece}{rank}", -1.5 - rank) for rank in range(1, top)]
    likely = [token, *({"token": other, "logprob": low, "bytes": list(other.encode())} for other, low in others)]
    return {**token, "top_logprobs": likely if top else []}


def compose_message(body: Json, options: Options, number: int) -> AssistantMessage:
    """The message of choice ``number`` for this request."""
    prompt = last_message_text(body["messages"])
    reasoning = tuple(_counted(options.reasoning))
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    limit = limit if type(limit) is int and limit > 0 else None
    if options.refusal:
        return AssistantMessage(reasoning=reasoning, refusal=_words("Sandbox: I will not answer that."))
    calls, legacy = choose_calls(body, options, prompt, number)
    if calls:
        made = AssistantMessage(reasoning=reasoning, calls=calls, legacy=legacy)
        if limit is not None and limit < made.tokens - len(reasoning):
            return replace(made, calls=cut_calls(calls, limit), finish="length")
        return replace(made, finish="function_call" if legacy else "tool_calls")
    text, is_json = _text(body, prompt, number)
    pieces = _until_stop(in_pieces(text) if is_json and not options.chunks else _cut(text, options), body.get("stop"))
    finish = "length" if limit is not None and limit < len(pieces) else "stop"
    pieces = pieces[:limit]
    modalities = body.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        return AssistantMessage(reasoning=reasoning, spoken=pieces, finish=finish)
    return AssistantMessage(pieces, reasoning, finish=finish)


def _until_stop(pieces: tuple[str, ...], stop: object) -> tuple[str, ...]:
    """The pieces before the first stop sequence, which is not sent itself."""
    stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    text = "".join(pieces)
    places = [place for one in stops if isinstance(one, str) and one and (place := text.find(one)) >= 0]
    if not places:
        return pieces
    kept, left = [], min(places)
    for piece in pieces:
        kept.append(piece[:left])
        left -= len(kept[-1])
    return tuple(filter(None, kept))


def last_message_text(messages: list[Json]) -> str:
    """What the last message says that is no instruction (some clients repeat theirs at the end): without scenario
    markers and reminders, cut to what an answer may repeat.
    """
    said = next((each for each in reversed(messages) if each.get("role") not in _INSTRUCTIONS), messages[-1])
    return _said(SCENARIO_MARKER.sub("", message_text(said)))


def _said(text: str) -> str:
    return _REMINDER.sub("", text).strip()[:_ECHOED]


def message_text(message: Json) -> str:
    """A message's text, its text parts joined by a blank."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(
        str(part.get("text", "")) for part in parts if isinstance(part, dict) and part.get("type") == "text"
    )


def _text(body: Json, prompt: str, number: int) -> tuple[str, bool]:
    """What is said, and whether it is JSON."""
    told = _tool_results(body["messages"])
    said = "; ".join(told) if told else prompt
    shape = body.get("response_format") or {}
    if shape.get("type") == "json_schema":
        wrapper = shape.get("json_schema")
        schema = wrapper.get("schema") if isinstance(wrapper, dict) else None
        return orjson.dumps(example_of(schema, said)).decode(), True
    if shape.get("type") == "json_object":
        return orjson.dumps({"sandbox": True, "you_said": said}).decode(), True
    ordinal = f" (choice {number + 1})" if number else ""
    if told:
        return f"Sandbox ✓ The tool{'s' if len(told) > 1 else ''} said{ordinal}: {said}", False
    return f"Sandbox ✓ This is a simulated answer{ordinal}; no model was asked. You said: {prompt}", False


def _tool_results(messages: list[Json]) -> list[str]:
    """What the tools said that were called last, if no message came since; several under their names."""
    results = list(takewhile(lambda message: message.get("role") in RESULT_ROLES, reversed(messages)))[::-1]
    texts = [_said(message_text(message)) for message in results]
    if len(texts) < 2:
        return texts
    called = messages[-len(results) - 1].get("tool_calls") if len(results) < len(messages) else None
    names = {call.get("id"): _called(call) for call in called or () if isinstance(call, dict)}
    return [
        f"{names.get(result.get('tool_call_id'), 'a tool')}: {text}"
        for result, text in zip(results, texts, strict=True)
    ]


def _called(call: Json) -> str:
    function = call.get("function") or call.get("custom")
    return str(function.get("name")) if isinstance(function, dict) else "a tool"


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
