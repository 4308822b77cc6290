"""The accumulator that joins the chunks of a streamed chat completion into one whole completion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.core.types import Usage
from gateway.wire.chat_choices import index_of
from gateway.wire.chat_template import PlainText
from gateway.wire.finish_reasons import finish_reason, usual_finish_reason
from gateway.wire.folded_message import FoldedMessage
from gateway.wire.folded_values import append, plain, replace
from gateway.wire.usage_reading import read_usage, usage_for_clients, usage_of

# Fields of a chunk that a completion does not have, or has elsewhere.
_ITS_NAMES: tuple[str, ...] = ("id", "created", "model")
_ELSEWHERE = frozenset({"object", "choices", "usage", "obfuscation", *_ITS_NAMES})

_LATEST = 1 << 53  # of times, in seconds: every language reads such a number exactly


class ChatAccumulator:
    """Takes chunks in order; ``result`` is the completion so far.

    ``id``, ``created``, ``model``: used if no chunk names them. ``created`` is Unix seconds.
    ``n``: how many choices were asked for; 0 if that is not known. Where one was, an index that changes on the way is
    none.
    ``tools``: the names of the functions and custom tools that were offered, which tell where a split name ends.

    A chunk may be any JSON object: what cannot be understood is passed over. No chunk is changed or kept whole.
    """

    __slots__ = ("_choices", "_extra", "_first", "_n", "_tools", "_unnamed", "_usage")

    def __init__(
        self, id: str = "", created: int = 0, model: str = "", *, n: int = 0, tools: frozenset[str] = frozenset()
    ) -> None:
        self._first: dict[str, Any] = {"id": id, "created": created, "model": model}
        self._unnamed = _ITS_NAMES
        self._extra: dict[str, Any] = {}
        self._usage: tuple[dict[str, Any], Usage] | None = None  # as it was stated, and what it says
        self._choices: dict[int, _Choice] = {}
        self._n = n
        self._tools = tools

    def add(self, chunk: dict[str, Any], read: Usage | None = None) -> None:
        """Take the next chunk's parsed JSON.

        ``read``: what was read of its usage, if that was done already.
        """
        if self._unnamed:
            self._name(chunk)
        extra = self._extra
        for name, value in chunk.items():
            if name in _ELSEWHERE or value is None or (type(value) is str and extra.get(name) == value):
                continue  # most that are left are in every chunk
            replace(extra, name, value)
        if read is not None or chunk.get("usage") or "usageMetadata" in chunk:
            usage = usage_of(chunk)
            if usage and (read := read or read_usage(usage)) is not None:
                self._usage = usage, read
        choices = chunk.get("choices")
        if type(choices) is list:
            for place, said in enumerate(choices):
                if type(said) is dict:
                    index = said.get("index")
                    choice = self._choices.get(index) if type(index) is int else None
                    if choice is None:
                        choice = self._choice(index_of(index, place), alone=len(choices) == 1)
                    choice.add(said)

    def further(self, plain: PlainText, chunk: dict[str, Any]) -> Callable[[list[str]], None] | None:
        """Takes the texts of chunks that are like ``chunk``, which was taken last, but for the text ``plain``; None if
        such chunks add more than their text.
        """
        choice = self._choices.get(plain.choice)
        if choice is None:
            return None
        [said] = chunk["choices"]
        # Lists grow with every chunk that brings one.
        lists = [value for value in (*chunk.values(), *said.values()) if type(value) is list and value]
        if len(lists) > 1:  # the choices are one
            return None
        return choice.further(plain)

    def result(self) -> dict[str, Any]:
        """The ``chat.completion`` as OpenAI writes it, unknown fields included; ``usage`` only if one was sent.

        ``dump_json`` writes it, for any chunks: what they held that no JSON can hold is in it as it came.
        """
        indexes = sorted(self._choices)
        completion = {
            "id": self._first["id"],
            "object": "chat.completion",
            "created": self._first["created"],
            "model": self._first["model"],
            "choices": [
                self._choices[index].result(place if self._n == 1 else index) for place, index in enumerate(indexes)
            ],
        }
        if self._usage is not None:
            completion["usage"] = {**usage_for_clients(*self._usage)}
        if self._extra:
            completion |= plain(self._extra)
        return completion

    def _name(self, chunk: dict[str, Any]) -> None:
        """Take the names of a chunk. Azure's first has an empty id and model and no time of creation."""
        unnamed = []
        for name in self._unnamed:
            if named := _as_type_of(self._first[name], chunk.get(name)):
                self._first[name] = named
            else:
                unnamed.append(name)
        self._unnamed = tuple(unnamed)

    def _choice(self, index: int, *, alone: bool) -> _Choice:
        """The choice of an index. ``alone``: its chunk has no other."""
        choice = self._choices.get(index)
        if choice is None and self._n == 1 and alone and self._choices:
            last = next(reversed(self._choices.values()))
            choice = None if last.finished else last
        if choice is None:
            choice = self._choices[index] = _Choice(self._tools)
        return choice


class _Choice:
    """One choice under construction."""

    __slots__ = ("_extra", "_finish_reason", "_logprobs", "_message")

    def __init__(self, tools: frozenset[str]) -> None:
        self._message = FoldedMessage(tools)
        self._logprobs: dict[str, Any] = {}  # under the one key "logprobs", if there are any
        self._finish_reason: str | None = None
        self._extra: dict[str, Any] = {}

    @property
    def finished(self) -> bool:
        return self._finish_reason is not None

    def add(self, choice: dict[str, Any]) -> None:
        for name, value in choice.items():
            if value is None or name == "index":
                continue
            if name == "delta":
                self._message.add_delta(value if type(value) is dict else _as_delta(value))
            elif name == "message":
                if isinstance(value, dict):
                    self._message.add_message(value)
            elif name == "text":
                # As the older completions have it; some send it beside the delta.
                if isinstance(value, str) and not choice.get("delta") and not choice.get("message"):
                    self._message.add_text(value)
            elif name == "finish_reason":
                self._finish_reason = finish_reason(value) or self._finish_reason
            elif name == "logprobs":
                append(self._logprobs, name, value)
            else:
                replace(self._extra, name, value)

    def further(self, plain: PlainText) -> Callable[[list[str]], None] | None:
        return self._message.further(plain)

    def result(self, index: int) -> dict[str, Any]:
        message = self._message.result()
        logprobs = plain(self._logprobs["logprobs"]) if self._logprobs else None
        return {
            "index": index,
            "message": message,
            "logprobs": {"content": None, "refusal": None, **logprobs} if isinstance(logprobs, dict) else None,
            # A complete stream had a reason to end even where the upstream did not send it.
            "finish_reason": self._finish_reason or usual_finish_reason(message),
            **(plain(self._extra) if self._extra else {}),
        }


def _as_delta(said: Any) -> dict[str, Any]:
    """The delta that is meant by what is no object."""
    return {"content": said} if isinstance(said, str | list) else {}


def _as_type_of(known: str | int, value: Any) -> str | int | None:
    """An id, a model's name or a time that a chunk states, as OpenAI writes it; None or empty if it is none."""
    if type(known) is str:
        return value if type(value) is str else str(value) if type(value) is int else None
    if type(value) is int and 0 < value < _LATEST:
        return value
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 16:
        value = int(value)
    return int(value) if type(value) in (int, float) and 0 < value < _LATEST else None
