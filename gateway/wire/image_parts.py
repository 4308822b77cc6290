"""The parts of gpt-4o-image's text: the order given to the image tool, the text for the reader, and the terminal JSON.

The text begins with the order as JSON (``prompt``, ``ratio`` …), in a fence or bare. It is the model's own wording of
the user's wish, so it may quote an image, or a sentence about failure, and neither is a result. Every step takes time
linear in the text, for any text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.core.json_weight import read_json

FENCE = "```"

# A brace alone may open a sentence; in an object a name or the end follows.
_LEAD = re.compile(r'\s*+(?P<fence>```[^\n`{]*+\s*+)?(?=\{\s*+["}])')
_CLOSED_AT_ONCE = re.compile(r"\s*+```")
_CLOSING_LINE = re.compile(r"^[ \t]*+```[ \t]*+$", re.MULTILINE)
# Possessive, and closed or not: no character is looked at twice.
_STRING_OR_BRACE = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?P<closed>"?)|[{}]', re.DOTALL)
_TERMINAL = re.compile(r'\{\s*+"type"\s*+:\s*+"terminal"')

_ORDER_FIELDS = frozenset({"prompt", "ratio", "size", "n", "gen_id", "referenced_image_ids", "transparent_background"})
_THOUGHTS = frozenset({"think", "thinking", "thought", "reasoning"})


@dataclass(frozen=True, slots=True)
class AnswerParts:
    """The parts of one answer.

    ``order``: the JSON of what the image tool was asked for; empty if there is none or it cannot be read.
    ``terminal``: the JSON by which the relay's backend reports the end of a task; None without one.
    ``body``: the text outside fences and the order; only images in it can be results.
    ``words``: the text for the reader: the body and fenced text, without JSON and reasoning.
    ``documents``: JSON in the place of an order that is none; it may be the answer itself.
    """

    order: Mapping[str, Any] = field(repr=False)
    terminal: Mapping[str, Any] | None
    body: str = field(repr=False)
    words: str = field(repr=False)
    documents: Sequence[Mapping[str, Any]] = field(default=(), repr=False)


def take_apart(text: str) -> AnswerParts:
    """The parts of a whole answer. Accepts any text and never raises."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    found_so_far = _Findings()
    _read_fences(text[_read_lead(text, found_so_far) :], found_so_far)
    terminal, words = found_so_far.terminal, "\n".join(found_so_far.words)
    if found_so_far.cut_off:
        words = ""
    elif terminal is None:
        terminal, words = _cut_terminal(words)
    return AnswerParts(found_so_far.order, terminal, "\n".join(found_so_far.body), words, found_so_far.documents)


@dataclass(slots=True)
class _Findings:
    """The parts found so far.

    ``cut_off``: the order has no end, so that only images can be read from the text.
    """

    order: Mapping[str, Any] = field(default_factory=dict)
    terminal: Mapping[str, Any] | None = None
    body: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    documents: list[Mapping[str, Any]] = field(default_factory=list)
    cut_off: bool = False

    def take_object(self, text: str) -> None:
        """Take a JSON object in the place of an order. One that cannot be read counts as an order."""
        document = _parsed(text)
        if document.get("type") == "terminal":
            self.terminal = document
        elif document and not document.keys() & _ORDER_FIELDS:
            self.words.append(text)  # perhaps an error: it may be all that the answer says
            self.documents.append(document)
        else:
            self.order = self.order or document

    def take_block(self, opening: str, lines: list[str]) -> None:
        """Take a complete fenced block.

        ``opening``: its first line.
        ``lines``: its content.
        """
        content = "\n".join(lines)
        if content.lstrip().startswith("{"):
            self.take_object(content)
        elif opening.strip().lstrip("`").strip().lower() not in _THOUGHTS:
            self.words += lines

    def take_lines(self, lines: Sequence[str]) -> None:
        """Take lines outside fences."""
        self.body += lines
        self.words += lines


def _read_lead(text: str, found_so_far: _Findings) -> int:
    """Take the JSON at the text's beginning, if there is any. Returns where the rest begins."""
    found = _LEAD.match(text)
    if found is None:
        return 0
    fenced, start = found["fence"] is not None, found.end()
    end = _object_end(text, start)
    if end is None:
        # A fence that ends takes it out of the body like any other. Otherwise it stays text: it could hold an image.
        found_so_far.cut_off = not fenced or _CLOSING_LINE.search(text, start) is None
        return 0
    found_so_far.take_object(text[start:end])
    closing = (_CLOSED_AT_ONCE.match(text, end) or _CLOSING_LINE.search(text, end)) if fenced else None
    return closing.end() if closing else end


def _read_fences(text: str, found_so_far: _Findings) -> None:
    """Take the lines inside fences and outside."""
    held: list[str] | None = None
    for line in text.split("\n"):
        mark = line.strip()
        if held is not None:
            if mark == FENCE:
                found_so_far.take_block(held[0], held[1:])
                held = None
            else:
                held.append(line)
        elif mark.startswith(FENCE) and "`" not in mark[len(FENCE) :]:
            held = [line]
        else:
            found_so_far.take_lines((line,))
    if held is not None:
        found_so_far.take_lines(held)  # a fence that is never closed counts as text, since it could hold an image


def _object_end(text: str, start: int) -> int | None:
    """Where the JSON object that begins at ``start`` ends; None if it does not end."""
    depth = 0
    for piece in _STRING_OR_BRACE.finditer(text, start):
        mark = text[piece.start()]
        if mark == "{":
            depth += 1
        elif mark == "}":
            depth -= 1
            if depth == 0:
                return piece.end()
        elif not piece["closed"]:
            return None
    return None


def _parsed(text: str) -> Mapping[str, Any]:
    """A JSON object, or an empty one for anything else."""
    try:
        document = read_json(text.encode())
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _cut_terminal(words: str) -> tuple[Mapping[str, Any] | None, str]:
    """The terminal JSON that stands outside fences, and the text without it."""
    found = _TERMINAL.search(words)
    if found is None:
        return None, words
    end = _object_end(words, found.start())
    if end is None:
        return {}, words[: found.start()]
    return _parsed(words[found.start() : end]), words[: found.start()] + words[end:]
