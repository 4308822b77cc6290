"""What the delta of a chat says, piece by piece: text, thoughts, a refusal, pictures, citations.

For clients of other APIs, whose answers keep these apart. A delta is read in every shape that upstreams send
(chat_choices.py, folded_content.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from gateway.wire.writable import dump_json, with_whole_characters

Kind = Literal["thought", "text", "refusal", "picture", "citation"]


class Piece(NamedTuple):
    """``text``: of a picture its link, which may be a data URL. ``citation``: as the upstream sent it."""

    kind: Kind
    text: str = ""
    citation: Mapping[str, Any] = {}


_TEXTS = frozenset({"text", "output_text", "text_delta"})
_THOUGHTS = frozenset({"thinking", "reasoning", "thought", "reasoning_text", "thinking_delta"})
_WORDS = ("thinking", "text", "reasoning", "summary", "content")
_REASONING = ("reasoning_content", "reasoning")


def pieces_of(delta: Mapping[str, Any]) -> Iterator[Piece]:
    """The pieces of a delta, thoughts first. Calls are none of them."""
    if thought := _thought(delta):
        yield Piece("thought", thought)
    content = delta.get("content")
    if type(content) is str:
        if content:
            yield Piece("text", content)
    elif content is not None:
        for part in content if isinstance(content, list) else [content]:
            yield from _of_part(part)
    if isinstance(refusal := delta.get("refusal"), str) and refusal:
        yield Piece("refusal", refusal)
    for picture in _listed(delta, "images"):
        yield from _of_picture(picture)
    for note in _listed(delta, "annotations"):
        yield from _of_citation(note)


def _thought(delta: Mapping[str, Any]) -> str:
    for name in _REASONING:
        if isinstance(told := delta.get(name), str) and told:
            return told
    return _words(delta.get("reasoning_details"))


def _listed(fields: Mapping[str, Any], name: str) -> list[Any]:
    return listed if isinstance(listed := fields.get(name), list) else []


def _of_part(part: Any) -> Iterator[Piece]:
    if not isinstance(part, dict):
        if part is not None and part != "":
            yield Piece("text", part if isinstance(part, str) else dump_json(part).decode())
        return
    kind = part.get("type")
    if kind in _THOUGHTS or part.get("thought") is True:
        if words := _words(part):
            yield Piece("thought", words)
    elif isinstance(part.get("refusal"), str):
        yield Piece("refusal", part["refusal"])
    elif kind in _TEXTS or (kind is None and "text" in part):
        text = part.get("text")
        text = text.get("value") if isinstance(text, dict) else text
        if isinstance(text, str) and text:
            yield Piece("text", text)
        for name in ("annotations", "citations"):
            for note in _listed(part, name):
                yield from _of_citation(note)
    else:
        yield from _of_picture(part)


def _of_picture(part: Any) -> Iterator[Piece]:
    link = part.get("image_url", part.get("url")) if isinstance(part, dict) else part
    link = link.get("url") if isinstance(link, dict) else link
    if isinstance(link, str) and link:
        yield Piece("picture", link)


def _of_citation(note: Any) -> Iterator[Piece]:
    if isinstance(note, dict) and note.get("type") == "url_citation":
        yield Piece("citation", "", note)


def _words(thought: Any) -> str:
    if isinstance(thought, str):
        return thought
    if isinstance(thought, list):
        return "".join(map(_words, thought))
    if isinstance(thought, dict):
        return next((words for name in _WORDS if (words := _words(thought.get(name)))), "")
    return ""


def unsaid_of(message: dict[str, Any], said: str, *, beside: bool) -> dict[str, Any]:
    """What a whole message says that was not said before: some upstreams send all so far in each chunk.

    ``said``: the text that was told. ``beside``: it stands beside a delta, which it may only repeat.
    """
    content = message.get("content")
    if isinstance(content, str) and said:
        if beside and said.endswith(content):
            return {**message, "content": None}
        if content.startswith(said):
            return {**message, "content": content[len(said) :]}
    return message


class WholeCharacters:
    """A text that comes in pieces, of which one may end in the middle of a character beyond Unicode's first plane."""

    __slots__ = ("_half",)

    def __init__(self) -> None:
        self._half = ""

    def take(self, text: str) -> str:
        """The next piece in whole characters; U+FFFD for a half that met no other."""
        if not self._half and text.isascii():
            return text
        text = self._half + text
        self._half = text[-1] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return with_whole_characters(text[: len(text) - len(self._half)])

    def rest(self) -> str:
        """What is left at the end."""
        half, self._half = self._half, ""
        return "\ufffd" if half else ""
