"""Joining the pieces of a streamed field into the value that a whole answer has.

Texts are appended, objects merged, lists united; what names something (an id, a type, a signature) comes whole in each
piece and is never appended to itself. Nothing that is given is changed or kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.wire.writable import dump_json, with_whole_characters

_LABELS = frozenset({
    "id", "type", "name", "role", "format", "signature", "index", "object", "model", "provider", "status", "title",
    "url", "mime_type", "media_type", "finish_reason",
})  # fmt: skip
_LABEL_ENDS = ("_id", "_type", "_url", "signature")
# Of an entry that comes in fragments; its other texts are labels, encrypted data among them, which comes whole.
_GROWING = frozenset({"text", "thinking", "summary", "reasoning", "content", "transcript"})
FRAGMENTED = frozenset({"reasoning_details", "thinking_blocks"})
_WHOLE = frozenset({"citations", "annotations", "sources", "search_results", "images"})
_FLAT = frozenset({str, int, float, bool, type(None)})
# Two of these that differ belong to two entries, even under one index.
_OF_ONE_ENTRY = ("type", "signature", "data")


class Pieces(list[str]):
    """A text under construction; joined once at the end, so that a long one costs no quadratic copying."""


class Entries:
    """A list under construction.

    ``name``: the field's. The fragments of ``reasoning_details`` and ``thinking_blocks``, and of lists whose entries
    have an index and a text, are joined: by index, or where there is none with the entry before if it has the same type
    and is not signed yet (a signature ends its entry). Other lists are united: an entry that was there before is not
    there again, because citations and sources are repeated, or grow, in every chunk. Numbers are data, and never
    repeats.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._entries: list[Any] = []
        self._known: dict[bytes, int] = {}  # how many of each, as they are written
        self._newest: dict[tuple[Any, ...], dict[str, Any]] = {}  # by index, and by index and type

    def extend(self, entries: Iterable[Any]) -> None:
        """Take the next piece of the list."""
        here: dict[bytes, int] = {}
        for entry in entries:
            if isinstance(entry, dict) and self._is_fragment(entry):
                self._take_fragment(entry)
            elif isinstance(entry, int | float):
                self._entries.append(entry)
            else:
                mark = dump_json(entry)
                here[mark] = here.get(mark, 0) + 1
                if here[mark] > self._known.get(mark, 0):
                    self._known[mark] = here[mark]
                    self._append({**entry} if isinstance(entry, dict) else entry)

    def plain(self) -> list[Any]:
        """The list."""
        return [plain(entry) for entry in self._entries]

    def _is_fragment(self, entry: dict[str, Any]) -> bool:
        if self._name in FRAGMENTED:
            return True
        return self._name not in _WHOLE and _index(entry) is not None and not _GROWING.isdisjoint(entry)

    def _take_fragment(self, entry: dict[str, Any]) -> None:
        whole = self._begun(entry)
        if whole is None or _is_another(whole, entry):
            whole = {name: entry[name] for name in ("index", "type") if name in entry}
            self._append(whole)
        for name, piece in entry.items():
            if isinstance(piece, str) and name not in _GROWING:
                whole[name] = whole.get(name) or piece
            else:
                merge(whole, name, piece)

    def _append(self, entry: Any) -> None:
        self._entries.append(entry)
        if isinstance(entry, dict) and (index := _index(entry)) is not None:
            self._newest[(index,)] = self._newest[index, _kind(entry)] = entry

    def _begun(self, entry: dict[str, Any]) -> dict[str, Any] | None:
        index = _index(entry)
        if index is None:
            last = self._entries[-1] if self._entries else None
            return last if isinstance(last, dict) else None
        return self._newest.get((index, _kind(entry)) if entry.get("type") not in (None, "") else (index,))


def _kind(entry: dict[str, Any]) -> str | bytes:
    kind = entry.get("type")
    return kind if isinstance(kind, str) else dump_json(kind)


def _index(entry: dict[str, Any]) -> int | str | None:
    index = entry.get("index")
    return index if isinstance(index, int | str) and index != "" else None


def _is_another(whole: dict[str, Any], entry: dict[str, Any]) -> bool:
    """Whether ``entry`` cannot be a piece of ``whole``."""
    names = _OF_ONE_ENTRY if _index(entry) is not None else set(entry) - _GROWING
    if any(
        isinstance(entry.get(name), str) and entry[name] and whole.get(name) not in (None, "", entry[name])
        for name in names
    ):
        return True
    # What a signature was made for cannot grow any more, or it could not be sent back.
    return bool(whole.get("signature") and not entry.get("signature") and _has_text(whole) and _has_text(entry))


def _has_text(entry: dict[str, Any]) -> bool:
    return any(entry.get(name) for name in _GROWING)


def is_label(name: str) -> bool:
    """Whether a field names something, so that its pieces are never appended to one another."""
    return name in _LABELS or name.endswith(_LABEL_ENDS)


def merge(into: dict[str, Any], name: str, piece: Any) -> None:
    """Add one piece of a field: texts are appended, lists united, objects merged; labels stay, other values are
    replaced.
    """
    known = into.get(name)
    if piece is None:
        into.setdefault(name, None)
    elif isinstance(piece, str):
        if is_label(name):
            into[name] = known or piece
        elif isinstance(known, Pieces):
            known.append(piece)
        else:
            into[name] = Pieces([piece])
    elif isinstance(piece, dict):
        if not isinstance(known, dict):
            known = into[name] = {}
        for field, inner in piece.items():
            merge(known, field, inner)
    elif isinstance(piece, list):
        if not isinstance(known, Entries):
            known = into[name] = Entries(name)
        known.extend(piece)
    else:
        into[name] = piece


def append(into: dict[str, Any], name: str, piece: Any) -> None:
    """Add one piece of a field of logprobs: lists are appended, since two equal tokens are two tokens; objects are
    merged, other values replaced.
    """
    known = into.get(name)
    if piece is None:
        into.setdefault(name, None)
    elif isinstance(piece, dict):
        if not isinstance(known, dict):
            known = into[name] = {}
        for field, inner in piece.items():
            append(known, field, inner)
    elif isinstance(piece, list) and isinstance(known, list):
        known.extend(piece)
    else:
        into[name] = list(piece) if isinstance(piece, list) else piece


def replace(into: dict[str, Any], name: str, value: Any) -> None:
    """Take a field that stands beside the pieces (of a chunk, of a choice) and is whole each time it comes: the last
    value counts, but lists are united, objects keep the fields that only came before, and an empty text says nothing.
    """
    known = into.get(name)
    if isinstance(value, list):
        if not isinstance(known, Entries):
            known = into[name] = Entries(name)
        known.extend(value)
    elif isinstance(value, dict) and isinstance(known, dict):
        into[name] = {**known, **value}
    elif value is not None and (value != "" or name not in into):
        into[name] = value


def plain(value: Any) -> Any:
    """The value as JSON has it, its texts joined. It shares no list or object that a later piece may change."""
    kind = type(value)
    if kind is dict:
        return {name: inner if type(inner) in _FLAT else plain(inner) for name, inner in value.items()}
    if kind is Pieces:
        return with_whole_characters("".join(value))  # the halves of a character may have come in two pieces
    if kind is Entries:
        return value.plain()
    return list(value) if kind is list else value
