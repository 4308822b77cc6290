"""The choices of a chunk as upstreams really send them, and the same choices as they should be.

Odd are: an index that is text, or grows with every chunk; a delta that is a bare text or a list of parts; the words
``"null"`` and ``""`` as a finish reason; a ``message`` or a ``text`` in place of a delta; what is no object at all.
"""

from __future__ import annotations

from typing import Any

from gateway.wire.chat_request import MAX_CHOICES

NO_REASONS = frozenset({"", "null", "none"})
"""Words, in lower case, that relays write where a choice has no finish reason yet."""


SPEAKING = frozenset({"delta", "message", "text", "finish_reason"})
"""The fields of a choice that say something."""


def choices_in(chunk: dict[str, Any]) -> list[Any]:
    """The choices of a chunk: an array, or one that stands alone in its place; empty if there are none."""
    choices = chunk.get("choices")
    return choices if isinstance(choices, list) else [choices] if isinstance(choices, dict) else []


def tidy_choices(choices: list[Any], n: int) -> list[dict[str, Any]]:
    """The choices of one chunk as they should be; each has an ``index``, and a ``delta`` that is an object or absent.

    ``n``: how many choices were asked for. Where one was asked for and one came, its index means nothing.

    A ``message`` stays where it is, since only all chunks together say what is new in it.
    """
    only = n == 1 and len(choices) == 1
    tidied = []
    for position, choice in enumerate(choices):
        if isinstance(choice, dict):
            tidied.append(_tidied(choice, 0 if only else index_of(choice.get("index"), position)))
    return tidied


def _tidied(choice: dict[str, Any], index: int) -> dict[str, Any]:
    tidied = {**choice, "index": index}
    delta = tidied.pop("delta", None)
    text = tidied.pop("text", None)
    if isinstance(delta, dict) and (delta or not text):
        tidied["delta"] = delta
    elif delta and isinstance(delta, str | list):
        tidied["delta"] = {"content": delta}
    elif text and isinstance(text, str) and not choice.get("message"):
        tidied["delta"] = {"content": text}
    reason = tidied.pop("finish_reason", None)
    if isinstance(reason, str) and reason.lower() not in NO_REASONS:
        tidied["finish_reason"] = reason
    if not isinstance(tidied.get("message"), dict):
        tidied.pop("message", None)
    return tidied


def index_of(value: object, position: int) -> int:
    """The index that ``value`` stands for, which may be a text or a float; else the choice's place in its chunk."""
    if type(value) is int and 0 <= value < MAX_CHOICES:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int and 0 <= value < MAX_CHOICES:
        return value
    return position if position < MAX_CHOICES else MAX_CHOICES - 1
