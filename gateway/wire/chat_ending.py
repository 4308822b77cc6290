"""The end of a chat stream: whether it has come, and the chunks that are still missing when it has.

A finish reason is a word, not an end: some upstreams write one in every chunk, and some write ``tool_calls``, run a
tool of their own and go on. So what comes after a reason counts, and a choice that spoke after its reason is believed
to have ended only by a reason in a chunk of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway.core.types import Usage
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.chat_choices import choices_in
from gateway.wire.chat_chunk import ChunkFacts
from gateway.wire.chat_request import ChatRequest
from gateway.wire.sse import Event, encode_event
from gateway.wire.usage_reading import tier_in, usage_for_clients, usage_of, write_usage
from gateway.wire.writable import dump_json

_CALLING_REASONS = frozenset({"tool_calls", "function_call"})
_NO_CHOICE = frozenset[int]()
_NONE_NAMED: Mapping[int, str] = MappingProxyType({})
_ITS_NAMES: tuple[str, ...] = ("id", "created", "model")
_NAMED = {"id": str, "created": int, "model": str}


class ChatEnding:
    """What one stream has said about its end.

    ``n``: how many choices were asked for.
    ``id``, ``created``, ``model``: for chunks of our own in a stream that names none. ``created`` is Unix seconds.

    ``reasons``: choice → the reason it named last.
    ``tier``, ``answered_model``: the service tier and the model that the stream names last; None for none.
    """

    __slots__ = (
        "_calling",
        "_finished",
        "_n",
        "_names",
        "_read",
        "_spoke_on",
        "_spoken",
        "_unnamed",
        "_unreasoned",
        "_usage",
        "_usage_event",
        "answered_model",
        "reasons",
        "tier",
    )

    def __init__(self, n: int, *, id: str, created: int, model: str) -> None:
        self._n = n
        self._names: dict[str, Any] = {
            "id": id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
        }
        self._unnamed = _ITS_NAMES
        self.reasons = _NONE_NAMED
        self._finished = _NO_CHOICE
        self._spoke_on = _NO_CHOICE
        self._unreasoned = _NO_CHOICE  # choices that have spoken since they last named a reason
        self._spoken = _NO_CHOICE
        self._calling = _NONE_NAMED  # choice → the reason for which it ends
        self.tier: str | None = None
        self.answered_model: str | None = None
        self._usage: dict[str, Any] | None = None
        self._read: Usage | None = None  # what ``_usage`` says
        self._usage_event: tuple[dict[str, Any], bytes] | None = None  # a chunk of usage, and the event it came in

    @property
    def finished(self) -> bool:
        """Whether every choice has named a reason that can be believed."""
        return len(self._finished) >= self._n

    @property
    def has_reasons(self) -> bool:
        """Whether every choice has named a reason, which is enough where the stream was closed properly."""
        return len(self.reasons) >= self._n

    @property
    def named_last(self) -> bool:
        """Whether a reason is the last that every choice has said, so that silence ends the answer."""
        return not self._unreasoned and len(self.reasons) >= self._n

    @property
    def runs_a_tool(self) -> bool:
        """Whether a choice ended in order to call a tool, without a call: then the upstream calls one of its own."""
        calling = [index for index in self._finished if self.reasons[index] in _CALLING_REASONS]
        return bool(calling) and not self._calling.keys() >= {*calling}

    def take(self, chunk: dict[str, Any], facts: ChunkFacts) -> bool:
        """Take the next chunk. Returns whether it says more than has been said: content, or the reason of a choice
        that had none.
        """
        if self._unnamed:
            self._name(chunk)
        elif facts.finish or facts.usage is not None:
            self._read_terms(chunk)
        if facts.speaking and (self.reasons or facts.calling or not self._spoken.issuperset(facts.speaking)):
            self._speaks(facts, chunk)
        if facts.usage is not None:
            self._usage, self._read = usage_of(chunk), facts.usage
        news = self._ends(facts) if facts.finish else False
        return news or facts.meaningful

    def _ends(self, facts: ChunkFacts) -> bool:
        """Take the reasons of a chunk. Returns whether any choice had none before."""
        news = False
        for index, reason in facts.finish.items():
            news = news or index not in self.reasons
            self.reasons = {**self.reasons, index: reason}
            if index not in facts.speaking or index not in self._spoke_on:
                self._finished |= {index}
        self._unreasoned = self._unreasoned.difference(facts.finish)
        return news

    def _speaks(self, facts: ChunkFacts, chunk: dict[str, Any]) -> None:
        """Take what the choices of a chunk say."""
        self._spoken = self._spoken.union(facts.speaking)
        if self.reasons:
            speaking = frozenset(facts.speaking)
            self._unreasoned |= speaking
            self._spoke_on |= self._finished & speaking
            self._finished -= speaking
        for index in facts.calling:
            if index not in self._calling:
                self._calling = {**self._calling, index: _kind_of_call(chunk)}

    def hold_usage(self, chunk: dict[str, Any], raw: bytes) -> None:
        """Keep a chunk that only carries usage for the very end, as it came if it is as OpenAI writes it.

        ``raw``: the event it came in.
        """
        exact = chunk.get("choices") == [] and all(
            type(value := chunk.get(name)) is kind and value for name, kind in _NAMED.items()
        )
        self._usage_event = (chunk, raw) if exact else None

    def missing_reasons(self) -> list[bytes]:
        """The events that end the choices of a complete stream which named no reason."""
        return [
            self._event([{"index": index, "delta": {}, "finish_reason": self._reason(index)}])
            for index in sorted(self._spoken.difference(self.reasons))
        ]

    def usage_event(self, usage: Usage, cost: AnswerCost | None = None) -> bytes:
        """The event with the usage, which ends a stream for a client that asked for it.

        ``usage``: as it is charged. The upstream's own words are used if they say the same, as they say more.
        ``cost``: what the usage is to say of it; None to leave that as it came.
        """
        chunk, raw, read = self.usage_chunk(usage), None, self._read
        if read is not None and (read.input_tokens, read.output_tokens) == (usage.input_tokens, usage.output_tokens):
            assert self._usage is not None
            told = usage_for_clients(self._usage, read)
            named, as_it_came = self._usage_event or (chunk, None)
            chunk, raw = {**named, "usage": told}, as_it_came if told is self._usage else None
        if cost is None:
            return raw or encode_event(dump_json(chunk))
        return encode_event(dump_json({**chunk, "usage": cost.in_usage(chunk["usage"])}))

    def usage_chunk(self, usage: Usage) -> dict[str, Any]:
        """A chunk of our own that carries ``usage``."""
        return {**self._names, "choices": [], "usage": write_usage(usage)}

    def named(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A chunk of our own, with the names of this stream where it has none itself."""
        return {**self._names, **fields}

    def _reason(self, index: int) -> str:
        return self._calling.get(index, "stop")

    def _event(self, choices: list[dict[str, Any]]) -> bytes:
        return encode_event(dump_json({**self._names, "choices": choices}))

    def _read_terms(self, chunk: dict[str, Any]) -> None:
        self.tier = tier_in(chunk) or self.tier
        if (model := chunk.get("model")) and type(model) is str:
            self.answered_model = model

    def _name(self, chunk: dict[str, Any]) -> None:
        """Remember what the stream calls itself; Azure's first chunk has an empty id and model."""
        unnamed = []
        for name in self._unnamed:
            value = chunk.get(name)
            if value and type(value) is _NAMED[name]:
                self._names[name] = value
            else:
                unnamed.append(name)
        self._unnamed = tuple(unnamed)
        if (tier := chunk.get("service_tier")) and type(tier) is str:
            self._names["service_tier"] = tier
        self._read_terms(chunk)


def _kind_of_call(chunk: dict[str, Any]) -> str:
    """The reason for which a choice ends that makes the calls of ``chunk``; ``function_call`` is the older form."""
    for choice in choices_in(chunk):
        for told in (choice.get("delta"), choice.get("message")) if isinstance(choice, dict) else ():
            if isinstance(told, dict) and told.get("tool_calls"):
                return "tool_calls"
    return "function_call"


def strip_cost(chunk: dict[str, Any]) -> dict[str, Any]:
    """The chunk without an upstream's own cost in its usage, since what an answer costs is told at its end.

    Returns the chunk itself if it has none.
    """
    usage = chunk.get("usage")
    if not isinstance(usage, dict) or "cost" not in usage:
        return chunk
    return {**chunk, "usage": AnswerCost(None).in_usage(usage)}


def running_event(event: Event, chunk: dict[str, Any], request: ChatRequest, *, tells_cost: bool) -> bytes | None:
    """An event with usage in the middle of a stream, as its client gets it; None if nothing of it is left.

    ``chunk``: what it carries. ``tells_cost``: whether what the answer costs is told at its end.
    """
    if request.continuous_usage:
        shown: dict[str, Any] | None = strip_cost(chunk) if tells_cost else chunk
    else:
        shown = strip_usage(chunk)
    if shown is None:
        return None
    return event.raw if shown is chunk else encode_event(dump_json(shown), event.event)


def strip_usage(chunk: dict[str, Any]) -> dict[str, Any] | None:
    """The chunk for a client that shall not get its usage.

    Returns the chunk itself if it carries no usage, else a copy without it; None if nothing worth sending is left.
    """
    if chunk.get("usage") is None:
        return chunk
    if not chunk.get("choices"):
        return None
    return {name: value for name, value in chunk.items() if name != "usage"}
