"""The message of a choice, joined from deltas, from whole messages, or from both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

from gateway.wire.chat_template import PlainText
from gateway.wire.folded_arguments import as_value
from gateway.wire.folded_content import Content
from gateway.wire.folded_tool_calls import ToolCalls
from gateway.wire.folded_values import FRAGMENTED, Entries, Pieces, is_label, merge, plain
from gateway.wire.writable import dump_json

_OF_CALLS = frozenset({"tool_calls", "function_call"})
_NOTHING: tuple[Any, ...] = (None, "", [], {})


class FoldedMessage:
    """One message under construction.

    OpenAI streams deltas. Some upstreams stream a ``message`` in each chunk, which may be a piece, or hold all so far;
    others end with one that says all that the deltas said. What was said twice stands in the result once.

    ``offered``: the names of the request's tools, if known. ``add_delta``: takes a ``delta``.
    """

    __slots__ = ("_offered", "_said", "_stated", "_stated_calls", "_stated_first", "add_delta")

    def __init__(self, offered: frozenset[str] = frozenset()) -> None:
        self._offered = offered
        self._said = said = _Deltas(offered)
        self.add_delta = said.add
        self._stated: list[dict[str, Any]] = []  # each whole message but its calls
        self._stated_calls: _Calls | None = None
        self._stated_first = False

    def add_text(self, text: str) -> None:
        """Take a delta that is only the next piece of the content."""
        self._said.content.add_text(text)

    def further(self, plain: PlainText) -> Callable[[list[str]], None] | None:
        """Takes the texts of deltas that are like the one before but for the text ``plain``; None if there is more to
        them.
        """
        return self._said.further(plain)

    def add_message(self, message: dict[str, Any]) -> None:
        """Take a ``message``."""
        if not self._stated:
            self._stated_first = self._said.message().get("content") in _NOTHING
        calls = self._stated_calls = self._stated_calls or _Calls(self._offered)
        alone = _Deltas()
        alone.add({name: value for name, value in message.items() if not calls.take(name, value, True)})
        self._stated.append(alone.message())

    def result(self) -> dict[str, Any]:
        """The message as OpenAI writes it, unknown fields included."""
        message, (made, made_once) = self._said.message(), self._said.results()
        if self._stated_calls is not None:
            message = _with(message, _united(self._stated), stated_first=self._stated_first)
            stated, stated_once = self._stated_calls.result()
            made, made_once = _with_calls(made, stated), made_once or stated_once
        content, refusal = message.pop("content", None), message.pop("refusal", None) or None
        if made_once:
            message["function_call"] = made_once[0]["function"]
        if content == "" and (made or made_once or refusal or message.get("audio")):
            # Every stream opens with an empty text; a whole answer has no text beside these.
            content = None
        message = {"role": "assistant", "content": content, "refusal": refusal, **message}
        if made:
            message["tool_calls"] = made
        return message


class _Calls:
    """The calls of a message: ``made`` by ``tool_calls``, ``made_once`` by the older ``function_call``."""

    __slots__ = ("_offered", "made", "made_once")

    def __init__(self, offered: frozenset[str] = frozenset()) -> None:
        self._offered = offered
        self.made: ToolCalls | None = None  # until there is one
        self.made_once: ToolCalls | None = None

    def take(self, name: str, piece: Any, numbered: bool = False) -> bool:
        """Take a field of a delta if it is one of calls; False if it is not."""
        if name == "tool_calls":
            if piece and isinstance(piece, list | dict):
                self.made = self.made or ToolCalls(self._offered)
                self.made.extend(piece, numbered=numbered)
        elif name == "function_call":
            if isinstance(piece, dict):
                self.made_once = self.made_once or ToolCalls(self._offered)
                self.made_once.extend({"index": 0, "id": name, "function": piece})
        else:
            return False
        return True

    def result(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The calls of either form."""
        return (
            [] if self.made is None else self.made.result(),
            [] if self.made_once is None else self.made_once.result(),
        )


class _Deltas:
    """A message joined from deltas."""

    __slots__ = ("_calls", "_fields", "_offered", "content")

    def __init__(self, offered: frozenset[str] = frozenset()) -> None:
        self.content = Content()
        self._offered = offered
        self._calls: _Calls | None = None  # until there is one
        self._fields: dict[str, Any] = {}

    def add(self, delta: dict[str, Any]) -> None:
        for name, piece in delta.items():
            if name == "content":
                if type(piece) is str:
                    self.content.add_text(piece)
                else:
                    self.content.add(piece)
            elif name in _OF_CALLS:
                if piece is not None:
                    self._calls = self._calls or _Calls(self._offered)
                    self._calls.take(name, piece)
            elif name != "role":
                merge(self._fields, name, piece)

    def further(self, plain: PlainText) -> Callable[[list[str]], None] | None:
        if plain.call is not None:
            made = None if self._calls is None else self._calls.made
            return None if made is None else made.further(plain.call)
        known = self.content.last_text if plain.name == "content" else self._fields.get(plain.name)
        return known.extend if type(known) is Pieces else None

    def results(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Its calls, of either form."""
        return ([], []) if self._calls is None else self._calls.result()

    def message(self) -> dict[str, Any]:
        """All but its calls."""
        message: dict[str, Any] = plain(self._fields) if self._fields else {}
        self.content.fill(message)
        return message


def _united(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """What messages in a row say together: each may hold all so far, or go on with the ones before."""
    united: dict[str, Any] = {}
    for name in dict.fromkeys(name for message in messages for name in message):
        values: list[Any] = [value for message in messages if (value := message.get(name)) not in _NOTHING]
        if not values:
            united[name] = next((message[name] for message in messages if name in message), None)
        elif all(isinstance(value, str) for value in values):
            united[name] = values[0] if is_label(name) else _one_text(values)
        elif name == "content":
            united[name] = _one_content(values)
        elif all(isinstance(value, list) for value in values):
            united[name] = _one_list(name, values)
        else:
            united[name] = values[-1]
    return united


def _with(said: dict[str, Any], stated: dict[str, Any], *, stated_first: bool) -> dict[str, Any]:
    """What deltas and whole messages say together."""
    both = dict(said)
    for name, value in stated.items():
        known: Any = said.get(name)
        if known in _NOTHING:
            both[name] = value
        elif value in _NOTHING:
            continue
        elif name == "content" and not (isinstance(known, str) and isinstance(value, str)):
            both[name] = _one_content([value, known] if stated_first else [known, value])
        elif type(known) is not type(value):
            both[name] = value
        elif isinstance(value, str) and not is_label(name):
            both[name] = _both_texts(known, value, stated_first=stated_first)
        elif isinstance(value, dict):
            both[name] = {**known, **value}
        elif isinstance(value, list):
            longest = max((known, value), key=lambda entries: len(dump_json(entries)))
            both[name] = longest if name in FRAGMENTED else _one_list(name, [known, value])
    return both


def _both_texts(said: str, stated: str, *, stated_first: bool) -> str:
    shown, whole = said.strip(), stated.strip()
    if shown.startswith(whole) or shown.endswith(whole):
        return said
    if whole.startswith(shown):
        return stated
    return stated + said if stated_first else said + stated


def _one_text(texts: list[str]) -> str:
    growing = all(later.startswith(earlier) for earlier, later in pairwise(texts))
    return texts[-1] if growing else "".join(texts)


def _one_content(contents: list[Any]) -> Any:
    """What contents in a row say together, of which at least one is an array of parts."""
    if all(isinstance(content, list) for content in contents) and all(
        new[: len(old)] == old for old, new in pairwise(contents)
    ):
        return contents[-1]
    joined, message = Content(), dict[str, Any]()
    for content in contents:
        joined.add(content)
    joined.fill(message)
    return message["content"]


def _one_list(name: str, lists: Iterable[list[Any]]) -> list[Any]:
    if name in FRAGMENTED:
        return max(lists, key=lambda entries: len(dump_json(entries)))
    entries = Entries(name)
    for each in lists:
        entries.extend(each)
    return entries.plain()


def _with_calls(said: list[dict[str, Any]], stated: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The calls of the deltas, and those of whole messages that are not among them."""
    if not stated:
        return said
    known = {call["id"] for call in said} - {None}
    bodies = [_meant(call) for call in said]
    return said + [call for call in stated if call["id"] not in known and _meant(call) not in bodies]


def _meant(call: dict[str, Any]) -> tuple[Any, ...]:
    """What a call asks for, however its arguments are written."""
    function = call.get("function")
    if not isinstance(function, dict):
        return (call.get("custom"),)
    return (function.get("name"), as_value(function.get("arguments")))
