"""The content of a message, joined from texts and parts: what was said, what was thought, and what is neither.

A whole answer has a text where it can, because that is what clients read. Thoughts that came as parts of the content
stand in ``reasoning_content`` then and, if they were signed, in ``thinking_blocks`` too, so that they can be sent back.
Parts of another kind (an image, a reference) keep the content an array, in order.
"""

from __future__ import annotations

from typing import Any

from gateway.wire.folded_values import Entries, Pieces, plain
from gateway.wire.writable import dump_json

_TEXTS = frozenset({None, "", "text", "output_text", "text_delta"})
_THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning", "thought", "reasoning_text", "thinking_delta"})
_TYPED = frozenset({"image_url", "file", "input_audio"})  # types that are named like their field, an object
_WORDS = ("thinking", "text", "reasoning", "summary", "content")


class Content:
    """The content of one message under construction."""

    __slots__ = ("_beside", "_parts")

    def __init__(self) -> None:
        self._parts: list[Any] = []  # a run of text is Pieces
        self._beside: _Beside | None = None

    def add_text(self, text: str) -> None:
        """Take the next piece of text."""
        parts = self._parts
        if parts and type(parts[-1]) is Pieces:
            parts[-1].append(text)
        else:
            parts.append(Pieces([text]))

    @property
    def last_text(self) -> Pieces | None:
        """The text that the next piece of text goes on with; None if that begins one."""
        last = self._parts[-1] if self._parts else None
        return last if type(last) is Pieces else None

    def add(self, piece: Any) -> None:
        """Take the next piece: a text, an array of parts, one part; None is none."""
        if type(piece) is str:
            self.add_text(piece)
        elif isinstance(piece, list):
            for part in piece:
                self._add_part(part)
        elif piece is not None:
            self._add_part(piece)

    def _add_part(self, part: Any) -> None:
        if not isinstance(part, dict):
            self.add_text(part if isinstance(part, str) else dump_json(part).decode())
            return
        kind, text = part.get("type"), part.get("text")
        kind = kind if isinstance(kind, str) else None
        if isinstance(text, dict):
            text = text.get("value")
        if kind in _THOUGHTS or part.get("thought") is True:
            self._what_is_beside().add_thought(part, kind or "thinking")
        elif kind in _TEXTS and text is not None:
            self.add_text(text if isinstance(text, str) else dump_json(text).decode())
            for name in ("annotations", "citations"):
                if isinstance(part.get(name), list):
                    self._what_is_beside().notes.setdefault(name, Entries(name)).extend(part[name])
        elif kind in ("refusal", None) and isinstance(part.get("refusal"), str):
            self._what_is_beside().refusal.append(part["refusal"])
        elif kind not in _TEXTS:
            self._parts.append(part)
        elif names := [
            name
            for name in part.keys() - {"type", "text", "refusal"}
            if name not in _TYPED or isinstance(part[name], dict)
        ]:
            # Without a type it could not be sent back; that of an image is the name of its field.
            self._parts.append({**part, "type": min(names)})

    def _what_is_beside(self) -> _Beside:
        if self._beside is None:
            self._beside = _Beside()
        return self._beside

    def fill(self, message: dict[str, Any]) -> None:
        """Set the fields of a message, which may have some of them from elsewhere: a thought that is there already is
        not there twice.
        """
        parts = [plain(part) for part in self._parts]
        if len(parts) == 1 and type(parts[0]) is str:
            message["content"] = parts[0]
        elif {*map(type, parts)} <= {str}:
            message["content"] = "".join(parts) if parts else None
        else:
            texts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
            message["content"] = [part for part in texts if part != {"type": "text", "text": ""}]
        if self._beside is not None:
            self._beside.fill(message)


class _Beside:
    """What the parts of a content say that is not content: thoughts, a refusal, notes."""

    __slots__ = ("_blocks", "_signed", "_thoughts", "notes", "refusal")

    def __init__(self) -> None:
        self._thoughts = Pieces()
        self._blocks = Entries("thinking_blocks")
        self._signed = False
        self.refusal = Pieces()
        self.notes: dict[str, Entries] = {}

    def add_thought(self, part: dict[str, Any], kind: str) -> None:
        words = _words(part)
        self._thoughts.append(words)
        marks = {name: part[name] for name in ("signature", "data") if isinstance(part.get(name), str) and part[name]}
        self._signed = self._signed or bool(marks)
        self._blocks.extend([{"type": kind, **({"thinking": words} if words else {}), **marks}])

    def fill(self, message: dict[str, Any]) -> None:
        thoughts = plain(self._thoughts)
        if thoughts and thoughts not in (message.get("reasoning_content"), message.get("reasoning")):
            known = message.get("reasoning_content")
            message["reasoning_content"] = known + thoughts if isinstance(known, str) else thoughts
        if self._signed and not message.get("thinking_blocks"):
            message["thinking_blocks"] = self._blocks.plain()
        if self.refusal and not message.get("refusal"):
            message["refusal"] = plain(self.refusal)
        for name, notes in self.notes.items():
            if not message.get(name):
                message[name] = notes.plain()


def _words(thought: Any) -> str:
    """The text of a thought, wherever in it the upstream puts it."""
    if isinstance(thought, str):
        return thought
    if isinstance(thought, list):
        return "".join(map(_words, thought))
    if isinstance(thought, dict):
        return next((words for name in _WORDS if (words := _words(thought.get(name)))), "")
    return ""
