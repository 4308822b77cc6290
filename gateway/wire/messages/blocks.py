"""The messages of a Messages request as a chat's, block by block.

What a tool answered stands in a user's message there, and in a message of its own in a chat. What a model thought
earlier has no place in a chat and is left out; the client is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gateway.core.errors import invalid_request, not_made_here, shorten
from gateway.wire.field_checks import a_string, an_array, an_object, missing, wrong_type, wrong_value
from gateway.wire.writable import dump_json

_THOUGHTS = ("thinking", "redacted_thinking")
_IN_A_MESSAGE_OF_THE_TOOL = "See what follows."

_OF_A_MESSAGE = frozenset({"role", "content"})
_OF_A_BLOCK = frozenset(
    {
        *("type", "text", "cache_control", "citations", "source", "title", "context", "content"),
        *("id", "name", "input", "caller", "tool_use_id", "is_error", "thinking", "signature", "data"),
    }
)
_OF_A_SOURCE = frozenset({"type", "media_type", "data", "url", "file_id", "content"})
"""Fields that are carried over, noted by themselves, or mean nothing outside of the answer they come from."""

Part = dict[str, Any]


def chat_messages(body: Mapping[str, Any], ignored: set[str]) -> list[dict[str, Any]]:
    """The messages of a chat. ``body``: a Messages request, whose ``messages`` are an array that is not empty.

    ``ignored``: gets the names of what a chat has no place for.
    Raises ClientError 400 with ``param`` naming the place.
    """
    reader = _Reader(ignored)
    if (system := body.get("system")) is not None:
        reader.system(system, "system")
    for place, message in enumerate(body["messages"]):
        reader.message(message, f"messages[{place}]")
    return reader.messages


class _Reader:
    def __init__(self, ignored: set[str]) -> None:
        self._ignored = ignored
        self.messages: list[dict[str, Any]] = []

    def message(self, message: Any, where: str) -> None:
        an_object(message, where)
        role, content = message.get("role"), message.get("content")
        if role is None:
            raise missing(f"{where}.role")
        if content is None:
            raise missing(f"{where}.content")
        self._note("messages", message, _OF_A_MESSAGE)
        if role == "user":
            self._of_user(content, f"{where}.content")
        elif role == "assistant":
            self._of_assistant(content, f"{where}.content")
        elif role == "system":
            self.system(content, f"{where}.content")
        else:
            raise wrong_value(f"{where}.role", "it must be user or assistant")

    def system(self, content: Any, where: str) -> None:
        """Instructions: a text, or blocks of text."""
        if isinstance(content, str):
            text = content
        else:
            blocks = self._blocks(content, where)
            for block, at in blocks:
                if block.get("type") != "text":
                    raise wrong_value(f"{at}.type", "instructions are blocks of text")
            text = "\n\n".join(_text(block, "text", at) for block, at in blocks)
        if text:
            self.messages.append({"role": "system", "content": text})

    def _of_user(self, content: Any, where: str) -> None:
        """What tools answered comes first, as Anthropic demands it, and after the calls, as chats demand it."""
        if isinstance(content, str):
            self.messages.append({"role": "user", "content": content})
            return
        parts: list[Part] = []
        for block, at in self._blocks(content, where):
            if block.get("type") == "tool_result":
                self._result(block, at, parts)
            else:
                parts += self._parts_of(block, at)
        if parts:
            self.messages.append({"role": "user", "content": _plain(parts)})

    def _result(self, block: Mapping[str, Any], where: str, parts: list[Part]) -> None:
        """A tool's answer: text in a message of the tool; pictures and files after it, in the user's."""
        id = _text(block, "tool_use_id", where)
        content = block.get("content")
        told: list[Part] = []
        if isinstance(content, str):
            told = [{"type": "text", "text": content}]
        elif content is not None:
            for inner, at in self._blocks(content, f"{where}.content"):
                told += self._parts_of(inner, at)
        others = [part for part in told if part["type"] != "text"]
        text = "\n".join(part["text"] for part in told if part["type"] == "text")
        if block.get("is_error") is True:
            text = f"Error: {text}" if text else "Error"
        self.messages.append(
            {"role": "tool", "tool_call_id": id, "content": text or (_IN_A_MESSAGE_OF_THE_TOOL if others else "")}
        )
        parts += others

    def _of_assistant(self, content: Any, where: str) -> None:
        if isinstance(content, str):
            self.messages.append({"role": "assistant", "content": content})
            return
        texts, calls = [], []
        for block, at in self._blocks(content, where):
            kind = block.get("type")
            if kind == "text":
                texts.append(_text(block, "text", at))
            elif kind == "tool_use":
                calls.append(_call(block, at))
            elif kind in _THOUGHTS:
                self._ignored.add("thinking of earlier answers")
            else:
                raise _not_a_chats(kind, at)
        message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) or (None if calls else "")}
        if calls:
            message["tool_calls"] = calls
        self.messages.append(message)

    def _parts_of(self, block: Mapping[str, Any], where: str) -> list[Part]:
        kind = block.get("type")
        if kind is None:
            raise missing(f"{where}.type")
        if kind == "document" and _source(block, where).get("type") == "content":
            return self._content_of(block, where)
        make = _PARTS.get(kind) if isinstance(kind, str) else None
        if make is None:
            raise _not_a_chats(kind, where)
        if (block.get("citations") or {}) not in ({}, {"enabled": False}) and kind != "text":
            self._ignored.add("citations")
        return make(block, where)

    def _content_of(self, block: Mapping[str, Any], where: str) -> list[Part]:
        content = _source(block, where).get("content")
        if isinstance(content, str):
            return [{"type": "text", "text": _titled(block, content)}]
        parts: list[Part] = []
        for inner, at in self._blocks(content, f"{where}.source.content"):
            parts += self._parts_of(inner, at)
        return parts

    def _blocks(self, content: Any, where: str) -> list[tuple[Mapping[str, Any], str]]:
        if not isinstance(content, list):
            raise wrong_type(where, "a string or an array of blocks", content)
        blocks = []
        for place, block in enumerate(content):
            an_object(block, f"{where}[{place}]")
            if block.get("cache_control") is not None:
                self._ignored.add("cache_control")
            self._note(str(block.get("type")), block, _OF_A_BLOCK)
            if isinstance(source := block.get("source"), dict):
                self._note(f"{block.get('type')} source", source, _OF_A_SOURCE)
            blocks.append((block, f"{where}[{place}]"))
        return blocks

    def _note(self, what: str, fields: Mapping[str, Any], known: frozenset[str]) -> None:
        """Name the fields that are newer than this file, which no chat has a place for."""
        if not fields.keys() <= known:
            self._ignored.update(unknown_in(what, fields, known))


def unknown_in(what: str, fields: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    """The names, after ``what`` they are fields of, of those that are not known and not null."""
    return [f"{what} {name}" for name, value in fields.items() if name not in known and value is not None]


def _text_part(block: Mapping[str, Any], where: str) -> list[Part]:
    return [{"type": "text", "text": _text(block, "text", where)}]


def _image(block: Mapping[str, Any], where: str) -> list[Part]:
    source = _source(block, where)
    return [{"type": "image_url", "image_url": {"url": _address(source, f"{where}.source")}}]


def _document(block: Mapping[str, Any], where: str) -> list[Part]:
    """A document, as its text, its data, or its link in the place of data: the upstream judges whether it fetches."""
    source = _source(block, where)
    if source.get("type") == "text":
        return [{"type": "text", "text": _titled(block, _text(source, "data", f"{where}.source"))}]
    file = {"file_data": _address(source, f"{where}.source")}
    title = block.get("title")
    file["filename"] = title if isinstance(title, str) and title else "document.pdf"
    return [{"type": "file", "file": file}]


def _search_result(block: Mapping[str, Any], where: str) -> list[Part]:
    content = block.get("content")
    an_array(content, f"{where}.content")
    texts = [_text(one, "text", f"{where}.content[{place}]") for place, one in enumerate(content or ())]
    heading = "\n".join(str(block[name]) for name in ("title", "source") if block.get(name))
    return [{"type": "text", "text": "\n".join([heading, *texts] if heading else texts)}]


_PARTS: Mapping[str, Callable[[Mapping[str, Any], str], list[Part]]] = {
    "text": _text_part,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
}


def _source(block: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    source = block.get("source")
    if source is None:
        raise missing(f"{where}.source")
    an_object(source, f"{where}.source")
    return source  # type: ignore[no-any-return]


def _address(source: Mapping[str, Any], where: str) -> str:
    """The link of a source, which for data is a data URL."""
    kind = source.get("type")
    if kind == "base64":
        return f"data:{_text(source, 'media_type', where)};base64,{_text(source, 'data', where)}"
    if kind == "url":
        return _text(source, "url", where)
    if kind == "file":
        raise not_made_here("file", _text(source, "file_id", where), f"{where}.file_id")
    raise wrong_value(f"{where}.type", "it must be base64 or url")


def _titled(block: Mapping[str, Any], text: str) -> str:
    heading = [str(block[name]) for name in ("title", "context") if block.get(name)]
    return "\n".join([*heading, text])


def _call(block: Mapping[str, Any], where: str) -> dict[str, Any]:
    given = block.get("input")
    if given is not None:
        an_object(given, f"{where}.input")
    arguments = dump_json(given or {}).decode()
    function = {"name": _text(block, "name", where), "arguments": arguments}
    return {"id": _text(block, "id", where), "type": "function", "function": function}


def _plain(parts: list[Part]) -> str | list[Part]:
    """One text alone is a string, which every upstream can read."""
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _text(fields: Any, name: str, where: str) -> str:
    an_object(fields, where)
    value = fields.get(name)
    if value is None:
        raise missing(f"{where}.{name}")
    a_string(value, f"{where}.{name}")
    return str(value)


def _not_a_chats(kind: Any, where: str) -> Exception:
    if kind is None:
        return missing(f"{where}.type")
    a_string(kind, f"{where}.type")
    return invalid_request(
        f"A block of type '{shorten(kind)}' cannot be carried over to a chat, by which this model is asked.",
        param=f"{where}.type",
        code="unsupported_value",
    )
