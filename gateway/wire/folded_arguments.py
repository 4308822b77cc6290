"""The arguments of a called function, joined from however an upstream sent them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from gateway.core.json_weight import read_json
from gateway.wire.writable import dump_json, with_whole_characters

NO_ARGUMENTS = "{}"
_MOST_LOOKS = 64  # a look reads all that has come, and an upstream must not make us look at every piece


class Arguments:
    """Arguments under construction.

    Most upstreams send pieces of one JSON text. Others send an object, all so far in each piece, the whole once more at
    the end, or a placeholder ``{}`` before the true text. Which of these it was shows in what makes sense: the pieces
    joined if that is JSON, else what is.
    """

    __slots__ = ("_last", "_looks", "_object", "_pieces", "blank")

    def __init__(self) -> None:
        self.blank = True  # nothing but blanks has come yet
        self._pieces: list[str] = []
        self._last = ""  # of the pieces, but for blanks
        self._object: dict[str, Any] | None = None
        self._looks = 0

    def add(self, piece: Any) -> None:
        """Take the next piece: a text, or a JSON value of another kind; None and an empty text are none."""
        if isinstance(piece, dict):
            # The last of several objects may hold all, or only what is new.
            self._object = {**(self._object or {}), **piece}
            self.blank = False
        elif piece is not None and piece != "":
            text = as_text(piece)
            self._pieces.append(text)
            if not text.isspace():
                self._last = text
                self.blank = False

    def extend(self, pieces: list[str]) -> None:
        """Take several pieces."""
        for piece in pieces:
            self.add(piece)

    @property
    def opened(self) -> bool:
        """Whether they begin like an object."""
        return self._object is not None or any(piece.lstrip().startswith("{") for piece in self._pieces[:1])

    @property
    def in_pieces(self) -> bool:
        """Whether they came in more than one piece, so that a whole is a repeat and not another call's."""
        return len(self._pieces) > 1

    def complete(self) -> bool:
        """Whether what has come is a whole JSON object, so that more of it must be another's."""
        if self._object is not None:
            return True
        if not self._last.rstrip().endswith("}") or self._looks >= _MOST_LOOKS:
            return False
        self._looks += 1
        return _is_object(self.text())

    @property
    def placeholder(self) -> bool:
        """Whether what has come is an empty object, which some relays send before the arguments themselves."""
        return self._object == {} or (self._object is None and self._pieces[:1] == [NO_ARGUMENTS] == self._pieces)

    def within(self, piece: Any) -> bool:
        """Whether ``piece`` says again all that has come, and perhaps more."""
        return _extends(as_text(piece), self.text()) or as_text(piece).startswith("".join(self._pieces) or " ")

    def text(self) -> str:
        """The JSON text; ``{}`` if none came."""
        whole = with_whole_characters(_sense(self._pieces))
        if self._object is not None and not (whole and _extends(whole, as_text(self._object))):
            return as_text(self._object)
        return NO_ARGUMENTS if whole.strip() in ("", "null") else whole

    def raw(self) -> str:
        """All that came, joined: the input of a custom tool, which is any text."""
        joined = with_whole_characters("".join(self._pieces))
        return joined or (as_text(self._object) if self._object is not None else "")


def as_text(value: Any) -> str:
    """A JSON value as text; a text is itself."""
    return value if isinstance(value, str) else dump_json(value).decode()


def as_value(text: Any) -> Any:
    """What arguments written as JSON mean; what is no JSON is itself."""
    try:
        return _read(text)
    except (AttributeError, ValueError):
        return text


def _sense(pieces: list[str]) -> str:
    joined = "".join(pieces)
    if len(pieces) < 2 or _is_json(joined):
        return joined
    last, before = pieces[-1], joined[: -len(pieces[-1])]
    if _is_object(last) and (last == before or _extends(last, before)):
        return last  # the whole once more
    if last.startswith("{") and all(new.startswith(old) for old, new in pairwise(pieces)):
        return last  # each piece held all so far
    begin = next((place for place, piece in enumerate(pieces) if piece.strip() != NO_ARGUMENTS), 0)
    return _sense(pieces[begin:]) if begin else joined  # without the placeholders


def _is_json(text: str) -> bool:
    try:
        _read(text)
    except ValueError:
        return False
    return True


def _read(text: str) -> Any:
    """The JSON in a text. Raises ValueError."""
    return read_json(with_whole_characters(text).encode())


def _is_object(text: str) -> bool:
    text = text.strip()
    return text.startswith("{") and text.endswith("}") and _is_json(text)


def _extends(later: str, earlier: str) -> bool:
    """Whether both are JSON objects, and the later one holds all that the earlier one does."""
    if not (_is_object(later) and _is_object(earlier)):
        return False
    new, old = _read(later), _read(earlier)
    return all(name in new and new[name] == value for name, value in old.items())
