"""The accumulator that joins the chunks of a streamed chat completion into one whole completion."""

from __future__ import annotations

from typing import Any

from gateway.wire.chat_chunk import read_usage

# Fields of a chunk that a completion does not have, or has elsewhere.
_CHUNK_ONLY = frozenset({"object", "choices", "usage", "obfuscation"})
# Complete in each piece: some upstreams repeat them in every one, so joining them would be wrong.
_NAMED_ONCE = frozenset({"id", "type", "name", "role"})


class ChatAccumulator:
    """Takes chunks in order; ``result`` is the completion so far.

    ``id``, ``created``, ``model``: used if no chunk names them. ``created`` is Unix seconds.

    Chunks must have passed ``chunk_facts``: choices is an array of objects with a valid index, or absent. No chunk is
    changed or kept whole.
    """

    def __init__(self, id: str = "", created: int = 0, model: str = "") -> None:
        self._first: dict[str, Any] = {"id": id, "created": created, "model": model}
        self._unnamed = {"id", "created", "model"}
        self._extra: dict[str, Any] = {}
        self._usage: dict[str, Any] | None = None
        self._choices: dict[int, _Choice] = {}

    def add(self, chunk: dict[str, Any]) -> None:
        """Take the next chunk's parsed JSON."""
        first = self._first
        for name, value in chunk.items():
            if value is None or name in _CHUNK_ONLY:
                continue
            if name not in first:
                self._extra[name] = value
            elif self._unnamed and value and name in self._unnamed:
                # Azure's first chunk has an empty id and model and no time of creation.
                self._unnamed.discard(name)
                first[name] = value
        usage = chunk.get("usage")
        if usage and read_usage(usage) is not None:
            self._usage = usage
        for choice in chunk.get("choices") or ():
            index = choice.get("index", 0)
            whole = self._choices.get(index)
            if whole is None:
                whole = self._choices[index] = _Choice()
            whole.add(choice)

    def add_text(self, index: int, text: str) -> None:
        """Take a chunk that only continues the text of a choice which has text already."""
        self._choices[index].add_text(text)

    def result(self) -> dict[str, Any]:
        """The ``chat.completion`` as OpenAI writes it, unknown fields included; ``usage`` only if one was sent."""
        completion = {
            "id": self._first["id"],
            "object": "chat.completion",
            "created": self._first["created"],
            "model": self._first["model"],
            "choices": [self._choices[index].result(index) for index in sorted(self._choices)],
        }
        if self._usage is not None:
            usage = completion["usage"] = {**self._usage}
            if type(usage.get("total_tokens")) is not int:
                usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
        return {**completion, **self._extra}


class _Choice:
    """One choice under construction."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._calls: dict[int | str, dict[str, Any]] = {}  # by index or, where there is none, by id
        self._logprobs: dict[str, Any] = {}  # under the one key "logprobs", if there are any
        self._finish_reason: object = None
        self._extra: dict[str, Any] = {}

    def add(self, choice: dict[str, Any]) -> None:
        for name, value in choice.items():
            if value is None or name in ("index", "message"):
                continue
            if name == "delta":
                self._add_delta(value)
            elif name == "finish_reason":
                self._finish_reason = value
            elif name == "logprobs":
                _merge(self._logprobs, name, value)
            else:
                self._extra[name] = value

    def add_text(self, text: str) -> None:
        _merge(self._message, "content", text)

    def _add_delta(self, delta: dict[str, Any]) -> None:
        for name, piece in delta.items():
            if name == "tool_calls" and isinstance(piece, list):
                for call in piece:
                    if isinstance(call, dict):
                        self._add_call(call)
            elif name != "role":
                _merge(self._message, name, piece)

    def _add_call(self, call: dict[str, Any]) -> None:
        """Join a piece to its call: by index, else by id; a piece without either continues the last call."""
        mark = next((mark for name in ("index", "id") if isinstance(mark := call.get(name), int | str)), None)
        if mark is None:
            mark = next(reversed(self._calls), 0)
        whole = self._calls.setdefault(mark, {})
        for name, piece in call.items():
            if name != "index":
                _merge(whole, name, piece)

    def result(self, index: int) -> dict[str, Any]:
        message = _plain(self._message)
        calls = [_plain(call) for _, call in sorted(self._calls.items(), key=_call_order)]
        content, refusal = message.pop("content", None), message.pop("refusal", None)
        if content == "" and (calls or refusal or message.get("function_call") or message.get("audio")):
            # Every stream opens with an empty text; a whole answer has no text beside these.
            content = None
        message = {"role": "assistant", "content": content, "refusal": refusal, **message}
        if calls:
            message["tool_calls"] = calls
        logprobs = _plain(self._logprobs).get("logprobs")
        return {
            "index": index,
            "message": message,
            "logprobs": {"content": None, "refusal": None, **logprobs} if isinstance(logprobs, dict) else None,
            # A complete stream had a reason to end even where the upstream did not send it.
            "finish_reason": self._finish_reason or ("tool_calls" if calls else "stop"),
            **self._extra,
        }


def _call_order(marked: tuple[int | str, dict[str, Any]]) -> int:
    """Calls by index; those known by id stay in the order they came."""
    return marked[0] if isinstance(marked[0], int) else 0


class _Pieces(list[str]):
    """A text under construction; joined once at the end, so that a long one costs no quadratic copying."""


def _merge(into: dict[str, Any], name: str, piece: Any) -> None:
    """Add one piece of a field: texts are appended, arrays extended, objects merged; other values are replaced."""
    if piece is None:
        into.setdefault(name, None)
        return
    known = into.get(name)
    if isinstance(piece, str):
        if name in _NAMED_ONCE:
            into[name] = known or piece
        elif isinstance(known, _Pieces):
            known.append(piece)
        else:
            into[name] = _Pieces([piece])
    elif isinstance(piece, dict):
        if not isinstance(known, dict):
            known = into[name] = {}
        for field, inner in piece.items():
            _merge(known, field, inner)
    elif isinstance(piece, list):
        if isinstance(known, list) and not isinstance(known, _Pieces):
            known.extend(piece)
        else:
            into[name] = list(piece)
    else:
        into[name] = piece


def _plain(value: Any) -> Any:
    """The value with its texts joined. It shares nothing that a later chunk may change."""
    if isinstance(value, _Pieces):
        return "".join(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return list(value) if isinstance(value, list) else value
