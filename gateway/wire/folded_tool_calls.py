"""Tool calls joined from the pieces of a stream.

OpenAI sends an index with every piece, and id and name with a call's first. Others leave out one of these or all, send
a new id with every piece, count every call as 0 or every piece as another, send whole calls, or the same twice. So each
piece is asked whether it *begins* a call or *continues* one: the call of its index (and of its id, if two share the
index), else the call of its id, else the one before. It begins another call

- with another name: under another index or with an id of its own, or once that call has arguments. Before that, a name
  with nothing of its own goes on with a split name; the names of the tools that were offered settle it, if known.
- with the same name: once that call's arguments are complete and these say something else, or the index or the id is
  another. A name alone may be a repeat, or begin a call whose arguments follow.
- without a name: as a head of which nothing but an index or an id of its own has come, or with a whole object under
  another index or id after that call's arguments are complete.

Everything else continues. An id or a name that is ``""`` or ``"null"`` is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from gateway.wire.folded_arguments import Arguments
from gateway.wire.folded_values import merge, plain

_NONE_OFFERED = frozenset[str]()
_NUMBER = re.compile("-?[0-9]{1,9}")
_OF_A_CALL = frozenset({"index", "id", "type", "function", "custom", "name", "arguments"})
_OF_A_PIECE = frozenset({"index", "id", "type", "function"})
_OF_A_FUNCTION = frozenset({"name", "arguments"})
_MOST_CALLS = 2_000  # no model makes as many; the call of an empty object takes a hundred times its bytes
_NO_IDS = frozenset({"", "null", "none", "undefined"})


def offered_names(body: dict[str, Any]) -> frozenset[str]:
    """The names of the functions and custom tools that a request offers; what is no tool is passed over."""
    if not (body.get("tools") or body.get("functions")):
        return _NONE_OFFERED
    entries: list[Any] = []
    for field in ("tools", "functions"):
        if isinstance(given := body.get(field), list):
            tools = [tool for tool in given if isinstance(tool, dict)]
            entries += [*tools, *(tool.get(kind) for tool in tools for kind in ("function", "custom"))]
    return frozenset(name for each in entries if isinstance(each, dict) and isinstance(name := each.get("name"), str))


class _Piece(NamedTuple):
    """One entry of ``tool_calls``, read.

    ``slot``: its index. ``body``: its ``function`` or ``custom`` object, the name of which is ``kind``.
    """

    slot: int | str | None
    id: str | None
    kind: str | None
    name: str | None
    arguments: Any
    body: dict[str, Any]
    rest: dict[str, Any]

    @property
    def speaks(self) -> bool:
        """Whether it has arguments."""
        given = self.arguments
        return bool(given.strip()) if isinstance(given, str) else given is not None

    @property
    def opens(self) -> bool:
        """Whether its arguments look like the beginning of an object."""
        given = self.arguments
        return given.lstrip().startswith("{") if isinstance(given, str) else isinstance(given, dict)


class ToolCalls:
    """The calls of one message under construction.

    ``offered``: the names of the request's tools, if known.
    """

    def __init__(self, offered: frozenset[str] = frozenset()) -> None:
        self._offered = offered
        self._calls: list[_Call] = []
        self._by_slot: dict[int | str, _Call] = {}
        self._by_id: dict[str, _Call] = {}

    def extend(self, pieces: Any, *, numbered: bool = False) -> None:
        """Take the ``tool_calls`` of a delta: an array, or its only entry. What is no object is passed over.

        ``numbered``: they are a whole message's: an entry without an index has its place in the array as one, and two
        entries are two calls.
        """
        before: _Piece | None = None  # in the same array: no upstream splits a name within one
        for place, call in enumerate(pieces if isinstance(pieces, list) else [pieces]):
            if isinstance(call, dict) and not _OF_A_CALL.isdisjoint(call):
                piece = _read(call)
                if numbered and piece.slot is None:
                    piece = piece._replace(slot=place)
                apart = numbered and piece.slot not in self._by_slot
                if before is not None and (piece.slot == before.slot or piece.slot not in self._by_slot):
                    apart = apart or _are_two(before, piece)
                self._take(piece, apart=apart)
                before = piece

    def further(self, piece: dict[str, Any]) -> Callable[[list[str]], None] | None:
        """Takes the arguments of pieces that are like ``piece``, the last, but for those; None if they say more."""
        slot, kind = piece.get("index"), piece.get("type")
        if type(slot) is not int or piece.get("id") or not (kind is None or isinstance(kind, str)):
            return None
        if not (_OF_A_PIECE.issuperset(piece) and _OF_A_FUNCTION.issuperset(piece["function"])):
            return None
        call = self._by_slot.get(slot)
        return None if call is None else call.arguments.extend

    def result(self) -> list[dict[str, Any]]:
        """The calls as OpenAI writes them, by index or, where one has none, as they came. Heads that were followed by
        nothing are left out.
        """
        if not self._calls:
            return []
        calls = [call for call in self._calls if not call.empty]
        slots = [call.slot for call in calls]
        if all(isinstance(slot, int) for slot in slots):
            calls.sort(key=lambda call: call.slot if isinstance(call.slot, int) else 0)
        return [call.result() for call in calls]

    def _take(self, piece: _Piece, *, apart: bool) -> None:
        call = None if apart else self._before(piece)
        if call is None or (len(self._calls) < _MOST_CALLS and self._begins(piece, call)):
            call = _Call(piece.slot, echo=call is not None and self._may_repeat(piece, call))
            self._calls.append(call)
        call.take(piece, self._offered)
        if piece.slot is not None:
            self._by_slot[piece.slot] = call
        if call.id is not None:
            self._by_id[call.id] = call

    def _before(self, piece: _Piece) -> _Call | None:
        """The call that a piece would continue."""
        of_slot = self._by_slot.get(piece.slot) if piece.slot is not None else None
        of_id = self._by_id.get(piece.id) if piece.id is not None else None
        if of_slot is not None and (of_id is None or of_slot.id == piece.id):
            return of_slot
        return of_id or of_slot or (self._calls[-1] if self._calls else None)

    def _may_repeat(self, piece: _Piece, call: _Call) -> bool:
        """Whether a piece says nothing but the name of the call before."""
        bare = piece.id is None and not piece.speaks and piece.name == call.name
        return bare and (piece.slot is None or self._by_slot.get(piece.slot) is call)

    def _begins(self, piece: _Piece, call: _Call) -> bool:
        """Whether a piece begins another call than the one it would continue."""
        other = _Other(
            slot=None not in (piece.slot, call.slot)
            and piece.slot != call.slot
            and self._by_slot.get(piece.slot or 0) is not call,
            id=None not in (piece.id, call.id) and piece.id != call.id,
        )
        if piece.name is None:
            return _begins_without_name(piece, call, other)
        if not call.name:
            return other.slot
        if piece.kind not in (None, call.kind) and (other.slot or other.id):
            return True
        if piece.name == call.name:
            return _begins_with_same_name(piece, call, other)
        if (
            call.arguments.blank
            and not other.slot
            and (split := _splits(call.name, piece.name, self._offered)) is not None
        ):
            return not split
        if piece.id is not None and piece.id == call.id:
            return other.slot or not (call.arguments.blank or call.under_way)
        if other.slot or other.id or not call.arguments.blank:
            return True
        return call.id is None and call.headed and bool(piece.rest.get("type"))


class _Call:
    """One call under construction.

    ``slot``: the index it began with. ``echo``: it began with nothing but the name of the call before, which may have
    been a repeat. ``kind``: "function" or "custom". ``headed``: it began with a type. ``restless``: its pieces come
    with ids of their own.
    """

    __slots__ = ("_body", "_rest", "arguments", "echo", "headed", "id", "kind", "name", "restless", "slot")

    def __init__(self, slot: int | str | None, *, echo: bool = False) -> None:
        self.slot = slot
        self.echo = echo
        self.headed = False
        self.id: str | None = None
        self.name = ""
        self.arguments = Arguments()
        self.restless = False
        self.kind = "function"
        self._body: dict[str, Any] = {}
        self._rest: dict[str, Any] = {}

    @property
    def empty(self) -> bool:
        """Whether it is no call, but a head that nothing followed."""
        return self.arguments.blank and (self.echo or not (self.name or self._body or self._rest.keys() - {"type"}))

    @property
    def complete(self) -> bool:
        """Whether it has all its arguments; the input of a custom tool may always go on."""
        return self.kind != "custom" and self.arguments.complete()

    @property
    def under_way(self) -> bool:
        """Whether its arguments have begun with an object that has not ended."""
        return self.arguments.opened and not self.complete

    def take(self, piece: _Piece, offered: frozenset[str]) -> None:
        self.restless = self.restless or (self.id is not None and piece.id not in (None, self.id))
        self.id = self.id or piece.id
        self.headed = self.headed or bool(piece.rest.get("type"))
        if piece.kind is not None:
            self.kind = piece.kind
        if piece.name is not None:
            self._take_name(piece.name, offered)
        self.arguments.add(piece.arguments)
        for name, value in piece.body.items():
            if name not in ("name", "arguments", "input"):
                merge(self._body, name, value)
        for name, value in piece.rest.items():
            merge(self._rest, name, value)

    def _take_name(self, name: str, offered: frozenset[str]) -> None:
        if not self.name:
            self.name = name
        elif name != self.name and self.arguments.blank:
            grown = name.startswith(self.name) and self.name + name not in offered
            self.name = name if grown else self.name + name

    def result(self) -> dict[str, Any]:
        custom = self.kind == "custom"
        given = {"input": self.arguments.raw()} if custom else {"arguments": self.arguments.text()}
        kind = self._rest.get("type")
        rest = {name: value for name, value in plain(self._rest).items() if name != "type"}
        marks = {"id": self.id, "type": kind if kind and isinstance(kind, str) else self.kind}
        return {**marks, self.kind: {"name": self.name, **given, **plain(self._body)}, **rest}


class _Other(NamedTuple):
    """Whether a piece has an index, an id of its own: one that is not that of the call it would continue."""

    slot: bool
    id: bool


def _are_two(one: _Piece, other: _Piece) -> bool:
    """Whether two entries of one array, side by side, are the heads of two calls: both name one, and not the same."""
    return (
        None not in (one.name, other.name)
        and (other.id is None or one.id != other.id)
        and (one.name, one.arguments) != (other.name, other.arguments)
    )


def _begins_without_name(piece: _Piece, call: _Call, other: _Other) -> bool:
    if not piece.speaks:
        if not piece.body:
            return (other.slot or other.id) and not call.restless
        return other.id and (other.slot or (piece.slot is None and call.complete and not call.restless))
    if not (piece.opens and (other.slot or other.id)):
        return False
    if call.complete:
        return not (call.arguments.placeholder or call.arguments.within(piece.arguments))
    return other.slot and other.id


def _begins_with_same_name(piece: _Piece, call: _Call, other: _Other) -> bool:
    known = call.arguments
    same_id = piece.id is not None and piece.id == call.id
    if not call.complete:
        if same_id:
            return False
        if other.slot:  # an index that grows with every piece is none
            return not (call.under_way and piece.speaks and not piece.opens)
        return other.id and call.under_way and piece.opens and not known.within(piece.arguments)
    if not piece.speaks:
        return not (same_id or call.restless)
    if same_id:
        return piece.opens and not known.placeholder and not known.within(piece.arguments)
    if other.slot or other.id:
        return piece.opens and not (call.restless and known.within(piece.arguments))
    return not (known.in_pieces and known.within(piece.arguments))


def _splits(begun: str, name: str, offered: frozenset[str]) -> bool | None:
    """Whether a name goes on with the one before; None if the tools' names do not tell."""
    if begun in offered and name in offered:
        return False
    if any(tool.startswith(begun + name) for tool in offered):
        return True
    if begun in offered:
        return False
    return True if name in offered and name.startswith(begun) else None


def _read(call: dict[str, Any]) -> _Piece:
    kind = next((kind for kind in ("function", "custom") if isinstance(call.get(kind), dict)), None)
    if kind is not None:
        body = call[kind]
    else:  # flat, as in other protocols
        body = {name: call[name] for name in ("name", "arguments") if name in call}
        if isinstance(call.get("function"), str):
            body["name"] = call["function"]
        kind = "function" if body else None
        call = {name: value for name, value in call.items() if name not in body}
    index = call.get("index")
    if (isinstance(index, float) and index.is_integer()) or (isinstance(index, str) and _NUMBER.fullmatch(index)):
        index = int(index)
    given, name = call.get("id"), body.get("name")
    return _Piece(
        slot=index if type(index) is int or (isinstance(index, str) and index.lower() not in _NO_IDS) else None,
        id=_id(str(given) if type(given) is int else given),
        kind=kind,
        name=name if isinstance(name, str) and name not in ("", "null") else None,
        arguments=body.get("input" if kind == "custom" else "arguments"),
        body=body,
        rest={name: value for name, value in call.items() if name not in ("index", "id", "function", "custom")},
    )


def _id(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip().lower() not in _NO_IDS else None
