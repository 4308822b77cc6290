"""Tool calls an answer makes, with arguments that fit the tool's JSON schema."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import orjson

from gateway.sandbox.chat.schema_examples import example_of
from gateway.sandbox.wire.answers import Json
from gateway.sandbox.wire.options import Options

RESULT_ROLES = ("tool", "function")
"""Who hands over what a tool said, today and in the legacy way."""

_NAME_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_EVERYDAY = frozenset(
    (
        *("a", "an", "and", "at", "by", "call", "check", "create", "current", "do", "execute", "fetch", "find"),
        *("for", "from", "function", "get", "give", "in", "info", "into", "list", "look", "lookup", "make", "my"),
        *("new", "of", "on", "or", "query", "read", "run", "search", "send", "set", "show", "tell", "the", "this"),
        *("to", "tool", "up", "use", "what", "with"),
    )
)
"""Words of a tool's name that say nothing of when it is meant."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool; ``pieces`` joined are its arguments, or its input if the tool is a ``custom`` one."""

    id: str
    name: str
    pieces: tuple[str, ...]
    kind: str = "function"

    def opened(self) -> dict[str, Any]:
        """The call without its arguments."""
        words = "arguments" if self.kind == "function" else "input"
        return {"id": self.id, "type": self.kind, self.kind: {"name": self.name, words: ""}}

    def piece(self, text: str) -> dict[str, Any]:
        return {self.kind: {"arguments" if self.kind == "function" else "input": text}}

    def document(self) -> dict[str, Any]:
        """The call as an answer that is not streamed has it."""
        opened = self.opened()
        opened[self.kind] |= self.piece("".join(self.pieces))[self.kind]
        return opened


@dataclass(frozen=True, slots=True)
class _Offer:
    """A tool that may be called."""

    kind: str
    name: str
    schema: Any


def choose_calls(body: Json, options: Options, prompt: str, number: int = 0) -> tuple[tuple[ToolCall, ...], bool]:
    """The calls that choice ``number`` makes: those forced, those the prompt means, or ``options.calls`` of them.

    A tool is meant where the prompt has its name, or the telling words of it: "the weather in Rome" means
    ``get_weather``. What has been answered by a tool is answered in words, unless a call is forced.

    Returned beside them: whether they go out in the legacy ``function_call``.
    """
    legacy = not body.get("tools") and bool(body.get("functions"))
    offered = _offered(body, legacy=legacy)
    wish = body.get("function_call" if legacy else "tool_choice")
    if isinstance(wish, dict) and isinstance(allowed := wish.get("allowed_tools"), dict):
        names = [_name_in(tool) for tool in allowed.get("tools") or () if isinstance(tool, dict)]
        offered, wish = [offer for offer in offered if offer.name in names], allowed.get("mode")
    told = body["messages"][-1].get("role") in RESULT_ROLES
    if not offered or wish == "none" or (told and wish in (None, "auto")):
        return (), legacy
    if isinstance(wish, dict):
        forced = wish.get("name") if legacy else _name_in(wish)
        chosen = [offer for offer in offered if offer.name == forced][:1]
    elif options.calls:
        chosen = [offered[index % len(offered)] for index in range(options.calls)]
    else:
        chosen = [offer for offer in offered if offer.name in prompt] or [
            offer for offer in offered if _is_meant(offer.name, prompt)
        ]
        if not chosen and wish == "required":
            chosen = offered[:1]
    if legacy or body.get("parallel_tool_calls") is False:
        chosen = chosen[:1]
    made, another = _calls_before(body["messages"]), f"_choice_{number}" if number else ""
    sparse = bool(options.required)
    return tuple(
        _call(offer, prompt, f"{made + index}{another}", required_only=sparse) for index, offer in enumerate(chosen)
    ), legacy


def cut_calls(calls: tuple[ToolCall, ...], limit: int) -> tuple[ToolCall, ...]:
    """The calls as far as ``limit`` tokens go; a call's name is one."""
    kept = []
    for call in calls:
        if limit <= 0:
            break
        kept.append(replace(call, pieces=call.pieces[: limit - 1]))
        limit -= 1 + len(call.pieces)
    return tuple(kept)


def _offered(body: Json, *, legacy: bool) -> list[_Offer]:
    if legacy:
        return [_offer("function", function) for function in body["functions"] if isinstance(function, dict)]
    kinds = ("function", "custom")
    return [
        _offer(kind, tool[kind])
        for tool in body.get("tools") or ()
        for kind in kinds
        if isinstance(tool, dict) and isinstance(tool.get(kind), dict)
    ]


def _offer(kind: str, described: Json) -> _Offer:
    schema = described.get("parameters")
    return _Offer(
        kind, str(described.get("name")), schema if isinstance(schema, dict) and schema else {"type": "object"}
    )


def _name_in(tool: Json) -> str | None:
    """The name in ``{"type": "function", "function": {"name": …}}``."""
    for kind in ("function", "custom"):
        if isinstance(tool.get(kind), dict):
            name = tool[kind].get("name")
            return name if isinstance(name, str) else None
    return None


def _is_meant(name: str, prompt: str) -> bool:
    telling = {word.lower() for word in _NAME_WORDS.findall(name)} - _EVERYDAY
    return bool(telling) and telling <= {word.lower() for word in re.findall(r"[^\W\d_]+", prompt)}


def _calls_before(messages: list[Json]) -> int:
    """How many calls the conversation has made already, so that no two ids are the same."""
    return sum(len(calls) for message in messages if isinstance(calls := message.get("tool_calls"), list))


def _call(offer: _Offer, prompt: str, id: str, *, required_only: bool) -> ToolCall:
    text = prompt
    if offer.kind != "custom":
        text = orjson.dumps(example_of(offer.schema, prompt, required_only=required_only)).decode()
    return ToolCall(f"call_sandbox_{id}", offer.name, in_pieces(text), offer.kind)


def in_pieces(text: str) -> tuple[str, ...]:
    """JSON as it is streamed."""
    return tuple(text[start : start + 8] for start in range(0, len(text), 8))
