"""The calls of an answer under way, told as soon as they can be.

Most upstreams send each call in order: its index, id and name, then its arguments. Their pieces are passed on as they
come. As soon as one piece is odd (wire/folded_tool_calls.py knows how odd they can be), what follows is told at the
end, when it is known which call it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.wire.folded_tool_calls import ToolCalls

_ARGUMENTS = {"function": "arguments", "custom": "input"}


@dataclass(slots=True)
class BegunCall:
    """A call that has been told of, or is about to be. ``kind``: "function" or "custom". ``told``: its arguments."""

    call_id: str
    kind: str
    name: str
    told: list[str] = field(default_factory=list)

    @property
    def so_far(self) -> str:
        return "".join(self.told)


class FinalCall(NamedTuple):
    """A call as it is at the end. ``begun``: the one that was told of; None if none was."""

    begun: BegunCall | None
    call_id: str
    kind: str
    name: str
    arguments: str


class Calls:
    """``offered``: the names of the request's tools. ``prefix``: begins the ids of calls that have none."""

    def __init__(self, offered: frozenset[str], prefix: str) -> None:
        self._made = ToolCalls(offered)
        self._made_once = ToolCalls(offered)
        self._prefix = prefix
        self._begun: dict[int, BegunCall] = {}
        self._in_order = True

    def take(self, delta: dict[str, Any], *, whole: bool = False) -> Iterator[tuple[BegunCall, str]]:
        """Take a delta. Yields what can be told of its calls now: of which call, and which piece of its arguments.

        ``whole``: it is a whole message.
        """
        if isinstance(once := delta.get("function_call"), dict):
            self._made_once.extend({"index": 0, "id": "function_call", "function": once})
        pieces = delta.get("tool_calls")
        if not pieces or not isinstance(pieces, list | dict):
            return
        self._made.extend(pieces, numbered=whole)
        if whole:
            self._in_order = False
        for piece in pieces if isinstance(pieces, list) else [pieces]:
            if not self._in_order:
                return
            told = self._told(piece)
            if told is None:
                self._in_order = False
            elif told[1]:
                told[0].told.append(told[1])
                yield told

    def _told(self, piece: Any) -> tuple[BegunCall, str] | None:
        """The call of a piece and its arguments; None if it is odd."""
        if not isinstance(piece, dict) or type(index := piece.get("index")) is not int:
            return None
        kind = next((kind for kind in _ARGUMENTS if isinstance(piece.get(kind), dict)), None)
        if kind is None:
            return None
        id, body = piece.get("id"), piece[kind]
        name, given = body.get("name"), body.get(_ARGUMENTS[kind])
        if given is not None and type(given) is not str:
            return None
        given = given or ""
        begun = self._begun.get(index)
        if begun is None:
            known = any(other.call_id == id for other in self._begun.values())
            if not (isinstance(id, str) and id.strip() and isinstance(name, str) and name.strip()) or known:
                return None
            begun = self._begun[index] = BegunCall(id, kind, name)
        elif name or id not in (None, "", begun.call_id) or kind != begun.kind or _is_odd(begun, given):
            return None
        return begun, given

    def result(self) -> list[FinalCall]:
        """All calls, those that were told of first, in their order."""
        calls = self._made.result() or self._made_once.result()
        last = {id: call for call in calls if isinstance(id := call.get("id"), str)}
        final: list[FinalCall] = []
        for begun in self._begun.values():
            if not begun.told:
                continue  # nothing was told of it yet
            call = last.pop(begun.call_id, None)
            if call is None:
                final.append(FinalCall(begun, begun.call_id, begun.kind, begun.name, begun.so_far))
            else:
                final.append(_final(call, begun, begun.call_id, begun.kind))
        told = {one.call_id for one in final}
        for place, call in enumerate(calls):
            id = call.get("id")
            if not isinstance(id, str) or id not in told:
                made = f"{self._prefix}{place}"
                final.append(_final(call, None, id if isinstance(id, str) and id != "function_call" else made, None))
        return final


def _final(call: dict[str, Any], begun: BegunCall | None, id: str, kind: str | None) -> FinalCall:
    kind = kind or ("custom" if isinstance(call.get("custom"), dict) else "function")
    body = call.get(kind) or call.get("function") or call.get("custom") or {}
    given = body.get("arguments", body.get("input", ""))
    return FinalCall(begun, id, kind, str(body.get("name") or ""), given if isinstance(given, str) else "")


def _is_odd(call: BegunCall, given: str) -> bool:
    """Whether arguments do not go on with those before, but say them again, or follow a placeholder."""
    if not given or call.kind != "function" or len(call.told) > 2:
        return False
    so_far = call.so_far
    return so_far.strip() == "{}" or (so_far.startswith("{") and given.startswith(so_far))
