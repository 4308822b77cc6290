"""A chat's answer as a message of Anthropic's: whole, or as the events of a stream. Pure: chunks in, bytes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.errors import GatewayError
from gateway.core.types import Usage
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.chat_calls import BegunCall, Calls
from gateway.wire.chat_choices import choices_in, tidy_choices
from gateway.wire.chat_pieces import pieces_of, unsaid_of
from gateway.wire.messages.errors import ANTHROPIC_ERRORS
from gateway.wire.messages.telling import MessageTelling, is_complete
from gateway.wire.sse import encode_event
from gateway.wire.writable import dump_json

_STOP_REASONS = {
    "length": "max_tokens",
    "max_tokens": "max_tokens",
    "content_filter": "refusal",
    "refusal": "refusal",
    "pause_turn": "pause_turn",
    "model_context_window_exceeded": "model_context_window_exceeded",
}
_STOPPED_BY = ("stop_reason", "matched_stop", "stop_sequence")
"""Where upstreams name the sequence that ended a choice: vLLM, SGLang, and such as pass on Anthropic's own."""

_PING = encode_event(b'{"type":"ping"}', b"ping")


@dataclass(frozen=True, slots=True)
class MessageFacts:
    """What is known of a message before it is made.

    ``model``: as the client named it. ``stops``: the sequences that end it. ``offered``: the names of its tools.
    """

    id: str
    model: str
    stops: tuple[str, ...] = ()
    offered: frozenset[str] = frozenset()


class MessagePresenter:
    """The writer of one attempt's answer. Implements ``translate.translated_chat.Presenter``."""

    def __init__(self, facts: MessageFacts) -> None:
        self._facts = facts
        self._telling = MessageTelling()
        self._calls = Calls(facts.offered, f"toolu_{facts.id.removeprefix('msg_')}")
        self._late: list[tuple[str, str]] = []  # what came while a call was not yet complete
        self._begun = False
        self._model = ""
        self._finish: str | None = None
        self._refused = False
        self._stopped_by: str | None = None

    def chunk(self, chunk: dict[str, Any]) -> bytes:
        """Take a chunk. Returns the events that are due."""
        self._begin(chunk)
        for choice in tidy_choices(choices_in(chunk), 1):
            if choice["index"] == 0:
                self._take(choice)
        return self._telling.due()

    def alive(self) -> bytes:
        """A ping; before the message has begun a comment, which every client passes over."""
        return _PING if self._begun else b": ping\n\n"

    def end(self, usage: Usage, cost: AnswerCost | None) -> bytes:
        """The events that end what is still open, and the message."""
        self._begin({})
        self._finish_blocks()
        reason, sequence = self._ending()
        told = _usage(usage, cost)
        self._telling.event("message_delta", delta={"stop_reason": reason, "stop_sequence": sequence}, usage=told)
        self._telling.event("message_stop")
        return self._telling.due()

    def failed(self, error: GatewayError) -> bytes:
        """An event ``error``: Anthropic's SDKs raise on it."""
        return self._telling.due() + ANTHROPIC_ERRORS.last_event(error)

    def whole(self, completion: dict[str, Any], usage: Usage, cost: AnswerCost | None) -> bytes:
        """The message."""
        self._begin(completion)
        for choice in completion["choices"][:1]:
            self._take({**choice, "delta": choice.get("message")}, whole=True)
        self._finish_blocks()
        reason, sequence = self._ending()
        message = {
            **self._message(),
            "content": self._telling.content,
            "stop_reason": reason,
            "stop_sequence": sequence,
            "usage": _usage(usage, cost),
        }
        return dump_json(message, heavy=True)

    def _begin(self, chunk: Mapping[str, Any]) -> None:
        if self._begun:
            return
        self._begun = True
        model = chunk.get("model")
        self._model = model if isinstance(model, str) and model else self._facts.model
        self._telling.event("message_start", message={**self._message(), "usage": _usage(Usage(), None)})

    def _message(self) -> dict[str, Any]:
        return {
            "id": self._facts.id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
        }

    def _take(self, choice: Mapping[str, Any], *, whole: bool = False) -> None:
        delta = choice.get("delta") or {}
        self._take_delta(delta, whole=whole)
        if isinstance(message := choice.get("message"), dict) and not whole:
            self._take_delta(unsaid_of(message, self._telling.text, beside=bool(delta.get("content"))), whole=True)
        self._finish = choice.get("finish_reason") or self._finish
        named = [choice.get(name) for name in _STOPPED_BY]
        self._stopped_by = next((one for one in named if one in self._facts.stops), self._stopped_by)

    def _take_delta(self, delta: dict[str, Any], *, whole: bool) -> None:
        for piece in pieces_of(delta):
            if piece.kind == "thought":
                self._say("thinking", piece.text)
            elif piece.kind == "picture":
                self._say("text", f"![image]({piece.text})")
            elif piece.text:
                self._refused = self._refused or piece.kind == "refusal"
                self._say("text", piece.text)
        for call, _ in self._calls.take(delta, whole=whole):
            self._call(call)

    def _say(self, kind: str, text: str) -> None:
        if self._between_blocks():
            self._telling.say(kind, text)
        else:
            self._late.append((kind, text))

    def _call(self, call: BegunCall) -> None:
        """Tell what has come of a call. Blocks follow each other: one beside an open call waits for its end."""
        telling = self._telling
        if not telling.calls(call.call_id):
            if not self._between_blocks():
                return
            telling.begin_call(call.call_id, call.name)
        telling.argue(call.so_far[len(telling.arguments) :])

    def _between_blocks(self) -> bool:
        """Whether another block may begin: calls are told whole."""
        return not self._telling.is_calling or is_complete(self._telling.arguments)

    def _finish_blocks(self) -> None:
        telling = self._telling
        told = {block["id"] for block in telling.content if block["type"] == "tool_use"}
        for call in self._calls.result():
            if telling.calls(call.call_id):
                telling.argue(_rest(telling.arguments, call.arguments))
            elif call.call_id not in told:
                telling.begin_call(call.call_id, call.name)
                telling.argue(call.arguments)
        for kind, text in self._late:
            telling.say(kind, text)
        telling.stop()

    def _ending(self) -> tuple[str, str | None]:
        """``stop_reason`` and ``stop_sequence``."""
        reason = _STOP_REASONS.get(self._finish or "")
        if reason is not None:
            return reason, None
        if any(block["type"] == "tool_use" for block in self._telling.content):
            return "tool_use", None
        if self._refused:
            return "refusal", None
        return ("end_turn", None) if self._stopped_by is None else ("stop_sequence", self._stopped_by)


def _rest(told: str, whole: str) -> str:
    """What of ``whole`` has not been told yet. What differs cannot be taken back."""
    return whole[len(told) :] if whole.startswith(told) else ""


def _usage(usage: Usage, cost: AnswerCost | None) -> dict[str, Any]:
    """The usage as Anthropic counts: input that was neither read from the cache nor written to it stands alone."""
    cached, written = usage.cached_input_tokens, usage.cache_write_tokens
    told: dict[str, Any] = {
        "input_tokens": max(0, usage.input_tokens - cached - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.output_tokens,
    }
    if usage.reasoning_tokens:
        told["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return told if cost is None else cost.in_usage(told)
