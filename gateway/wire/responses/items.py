"""The items of a Responses input as the messages of a chat.

A chat wants every call's output right behind the message with the call, and one message for all that an assistant said
and called in a row; in a Responses input the items may lie apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from gateway.core.errors import invalid_request, shorten
from gateway.wire.field_checks import an_array, an_object, missing
from gateway.wire.responses.compaction import SUMMARY_OF_BEFORE, summary_in
from gateway.wire.responses.parts import message_content, not_a_chats, output_of, spoken, text_of
from gateway.wire.responses.tools import SEARCH, spaced_name
from gateway.wire.writable import dump_json

_ROLES = ("user", "assistant", "system", "developer")

_OF_OPENAI = re.compile(r"(?:gpt-|chatgpt-|chat-|codex|o[0-9])")
"""Models, by the beginning of their names, whose chats know the role of a developer; for the others it is the system's,
which is what it was called before."""

_THINKS_ALOUD = re.compile(r"(?:deepseek|kimi|glm-|minimax|qwen|mimo)")
"""Models, by the beginning of their names, whose chats take the thoughts behind a call back, some of them only so. The
others' chats have no place for thoughts, and OpenAI's refuse them."""


@dataclass(slots=True)
class _Turn:
    """One message, and the outputs of its calls, which follow it though other items came between."""

    message: dict[str, Any]
    outputs: list[dict[str, Any]] = field(default_factory=list)
    shown: list[dict[str, Any]] = field(default_factory=list)  # parts of outputs that no tool message can hold


class Messages:
    """Takes items in order; ``result`` are the messages.

    ``model``: as the client named it.
    ``ignored``: what was left out because a chat has no place for it.
    """

    def __init__(self, model: str) -> None:
        self.ignored: set[str] = set()
        self._turns: list[_Turn] = []
        self._calls: dict[str, _Turn] = {}
        self._thought: list[str] = []
        name = model.rpartition("/")[2].lower()
        self._takes_thoughts = _THINKS_ALOUD.match(name) is not None
        self._knows_developers = _OF_OPENAI.match(name) is not None

    def add(self, item: Any, where: str) -> None:
        """Take an item. ``where``: its path. Raises ClientError 400 for one that no chat can have."""
        an_object(item, where)
        kind = item.get("type")
        if kind in (None, "") and "role" in item:
            kind = "message"
        if kind is None:
            raise missing(f"{where}.type")
        take = _TAKEN.get(kind) if isinstance(kind, str) else None
        if take is None:
            raise not_a_chats(kind, f"{where}.type")
        take(self, item, where)
        if kind in _WITH_STATUS and not item.keys() <= _OF_ITEMS:
            self.ignored |= {f"input {name}" for name in item.keys() - _OF_ITEMS if item[name] is not None}

    def result(self) -> list[dict[str, Any]]:
        """All messages."""
        messages = []
        for turn in self._turns:
            messages.append(turn.message)
            messages += turn.outputs
            if turn.shown:
                messages.append({"role": "user", "content": turn.shown})
        return messages

    def _message(self, item: Mapping[str, Any], where: str) -> None:
        role = item.get("role")
        if role is None:
            raise missing(f"{where}.role")
        if role not in _ROLES:
            raise invalid_request(
                f"Invalid value: '{shorten(str(role))}'. Supported values are: {', '.join(_ROLES)}.",
                param=f"{where}.role",
                code="invalid_value",
            )
        content = item.get("content")
        if content is None:
            raise missing(f"{where}.content")
        if role == "assistant":
            self._said(content, f"{where}.content")
        else:
            role = role if role != "developer" or self._knows_developers else "system"
            self._turns.append(_Turn({"role": role, "content": message_content(content, f"{where}.content")}))
            self._thought = []

    def _said(self, content: Any, where: str) -> None:
        """What the assistant said: it goes with its calls into one message, as long as none of these has an output."""
        text, refusal = spoken(content, where)
        last = self._turns[-1] if self._turns else None
        if last is not None and last.message.get("tool_calls") and not last.outputs:
            known = last.message.get("content")
            last.message["content"] = f"{known}\n{text}" if known else text
            return
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if refusal:
            message |= {"content": text or None, "refusal": refusal}
        self._turns.append(_Turn(message))

    def _function_call(self, item: Mapping[str, Any], where: str) -> None:
        arguments = text_of(item, "arguments", where)
        called = {"name": _name_of(item, where), "arguments": arguments}
        self._called({"id": text_of(item, "call_id", where), "type": "function", "function": called})

    def _custom_call(self, item: Mapping[str, Any], where: str) -> None:
        called = {"name": _name_of(item, where), "input": text_of(item, "input", where)}
        self._called({"id": text_of(item, "call_id", where), "type": "custom", "custom": called})

    def _search_call(self, item: Mapping[str, Any], where: str) -> None:
        arguments = item.get("arguments")
        text = arguments if isinstance(arguments, str) else dump_json(arguments).decode()
        self._called(
            {"id": text_of(item, "call_id", where), "type": "function", "function": {"name": SEARCH, "arguments": text}}
        )

    def _search_output(self, item: Mapping[str, Any], where: str) -> None:
        """What a search found stands among the tools; its output says that it does."""
        self._output({**item, "output": "What was found can be called now."}, where)

    def _more_tools(self, item: Mapping[str, Any], where: str) -> None:
        """They stand among the tools."""

    def _called(self, call: dict[str, Any]) -> None:
        turn = self._turns[-1] if self._turns else None
        if turn is None or turn.message["role"] != "assistant" or turn.outputs:
            turn = _Turn({"role": "assistant", "content": None})
            self._turns.append(turn)
        turn.message.setdefault("tool_calls", []).append(call)
        if self._thought and self._takes_thoughts:
            turn.message["reasoning_content"] = "\n".join(self._thought)
        self._thought = []
        self._calls[call["id"]] = turn

    def _output(self, item: Mapping[str, Any], where: str) -> None:
        call_id = text_of(item, "call_id", where)
        output = item.get("output")
        if output is None:
            raise missing(f"{where}.output")
        text, others = output_of(output, f"{where}.output")
        told = {"role": "tool", "tool_call_id": call_id, "content": text}
        turn = self._calls.get(call_id)
        if turn is None:  # a call that is not there: the upstream says so
            self._turns.append(_Turn(told))
            return
        turn.outputs.append(told)
        if others:
            turn.shown += [{"type": "text", "text": f"What the call {call_id} returned:"}, *others]

    def _reasoning(self, item: Mapping[str, Any], where: str) -> None:
        for name in ("content", "summary"):
            told = item.get(name)
            for part in told if isinstance(told, list) else ():
                if isinstance(part, dict) and isinstance(text := part.get("text"), str):
                    self._thought.append(text)
        if not self._takes_thoughts:
            self.ignored.add("input reasoning items")

    def _compacted(self, item: Mapping[str, Any], where: str) -> None:
        summary = summary_in(item.get("encrypted_content"))
        if summary is None:
            raise invalid_request(
                "The content of this compaction was not made here, so it cannot be read.",
                param=f"{where}.encrypted_content",
                code="invalid_value",
            )
        self._turns.append(_Turn({"role": "user", "content": SUMMARY_OF_BEFORE + summary}))

    def _nothing(self, item: Mapping[str, Any], where: str) -> None:
        """A reference without an id."""
        raise missing(f"{where}.id")

    def _picture(self, item: Mapping[str, Any], where: str) -> None:
        """A picture that was made before: what a chat is shown comes from its user."""
        result = text_of(item, "result", where)
        kind = item.get("output_format") or "png"
        link = result if result.startswith(("https:", "data:")) else f"data:image/{kind};base64,{result}"
        shown = {"type": "image_url", "image_url": {"url": link}}
        self._turns.append(
            _Turn({"role": "user", "content": [{"type": "text", "text": "The picture that was made:"}, shown]})
        )


_TAKEN: Mapping[str, Callable[[Messages, Mapping[str, Any], str], None]] = {
    "message": Messages._message,
    "function_call": Messages._function_call,
    "custom_tool_call": Messages._custom_call,
    "function_call_output": Messages._output,
    "custom_tool_call_output": Messages._output,
    "tool_search_call": Messages._search_call,
    "tool_search_output": Messages._search_output,
    "additional_tools": Messages._more_tools,
    "item_reference": Messages._nothing,
    "reasoning": Messages._reasoning,
    "image_generation_call": Messages._picture,
    "compaction": Messages._compacted,
    "compaction_summary": Messages._compacted,
}


COMPACTION_TRIGGER = "compaction_trigger"
"""The type of the last item of an input that is to be summed up."""


def kept_items(items: Sequence[Any], prefix: str) -> list[dict[str, Any]]:
    """The items of an input as they are kept: each with an id and a status, a message's text as a part.

    ``prefix``: begins the ids of those that have none.
    """
    kept = []
    for place, item in enumerate(items):
        item = {"type": "message", **item}
        if item["type"] == COMPACTION_TRIGGER:
            continue
        if item["type"] in _WITH_STATUS:
            item.setdefault("status", "completed")
        if item["type"] == "message":
            item["content"] = _kept_content(item.get("content"), item.get("role"))
        id = item.pop("id", None)
        kept.append({"id": id if isinstance(id, str) and id else f"{_prefix(item)}_{prefix}i{place:02x}", **item})
    return kept


def _kept_content(content: Any, role: Any) -> Any:
    """A message's parts as an answer has them."""
    if isinstance(content, str):
        content = [{"type": "output_text" if role == "assistant" else "input_text", "text": content}]
    if not isinstance(content, list):
        return content
    beside: dict[str, Any] = {"annotations": [], "logprobs": []}
    return [
        {**beside, **part} if isinstance(part, dict) and part.get("type") == "output_text" else part for part in content
    ]


_WITH_STATUS = frozenset({"message", "function_call", "function_call_output", "custom_tool_call_output"})

_OF_ITEMS = frozenset(
    {
        *("type", "id", "status", "role", "content", "phase", "call_id", "name", "namespace", "arguments", "output"),
        *("caller", "created_by"),
    }
)
"""Fields of such items that are carried over, or mean nothing outside of the answer they come from."""
_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "custom_tool_call": "ctc"}


def _prefix(item: Mapping[str, Any]) -> str:
    return _PREFIXES.get(str(item["type"]), "item")


def is_reference(item: Any) -> bool:
    """Whether an item only names another one, which is kept here."""
    if not isinstance(item, dict):
        return False
    kind = item.get("type")
    if not isinstance(item.get("id"), str):
        return False
    if kind == "image_generation_call":
        return not item.get("result")
    return kind == "item_reference" or (kind is None and "role" not in item)


def _name_of(call: Mapping[str, Any], where: str) -> str:
    """The name of a call as a chat has it."""
    name, namespace = text_of(call, "name", where), call.get("namespace")
    return spaced_name(namespace, name) if isinstance(namespace, str) and namespace else name


def as_items(given: Any) -> list[Any]:
    """The items of ``input``: a text is a message of the user."""
    if given is None:
        return []
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    an_array(given, "input")
    return list(given)


def tools_in(items: Sequence[tuple[Any, str]]) -> Iterator[tuple[Any, str]]:
    """The arrays of tools that items bring along, each with its path."""
    for item, where in items:
        if isinstance(item, dict) and item.get("type") in ("additional_tools", "tool_search_output"):
            yield item.get("tools"), f"{where}.tools"


def chat_messages(items: Sequence[tuple[Any, str]], instructions: Any, model: str) -> tuple[list[Any], set[str]]:
    """The messages of a chat with these items, each with its path, and what was left out."""
    messages = Messages(model)
    if isinstance(instructions, str):
        messages.add({"role": "system", "content": instructions}, "instructions")
    elif instructions is not None:
        an_array(instructions, "instructions")
        for place, item in enumerate(instructions):
            messages.add(item, f"instructions[{place}]")
    called = [item.get("call_id") for item, _ in items if isinstance(item, dict) and "output" in item]
    answered = {call_id for call_id in called if isinstance(call_id, str)}
    for item, where in items:
        if not _came_to_nothing(item, answered):
            messages.add(item, where)
    return messages.result(), messages.ignored


def _came_to_nothing(item: Any, answered: Set[str]) -> bool:
    """Whether an item of an answer that broke off, or of a picture that could not be made, says nothing: no chat can
    have a call without its output. ``answered``: the calls that have one.
    """
    if not isinstance(item, dict) or str(item.get("status")) not in _BROKEN_OFF:
        return False
    kind = item.get("type")
    if kind == "image_generation_call":
        return not item.get("result")
    call_id = item.get("call_id")
    return kind in ("function_call", "custom_tool_call") and isinstance(call_id, str) and call_id not in answered


_BROKEN_OFF = frozenset({"in_progress", "generating", "incomplete", "failed"})
