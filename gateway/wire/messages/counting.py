"""How many tokens a request of Anthropic's Messages API has: an estimate, by a vocabulary of another vendor's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from gateway.wire.tokens import MOST_COUNTED

_A_PICTURE = 1_568
_A_BYTE_OF_A_FILE = 1 / 16
"""Tokens of a picture of the largest size that is not made smaller (Anthropic's "Vision": 1,568), and of a file's text:
a page of some 2,000 tokens takes 30 KB as a PDF."""

_A_MESSAGE = 4
"""Tokens around a message."""

_UNREAD = frozenset({"type", "role", "cache_control", "signature", "media_type", "id", "tool_use_id", "data", "url"})
"""Fields that the model does not read, or not as text."""


def count_message(fields: Mapping[str, Any], count: Callable[[str], int]) -> int:
    """Input tokens of a request. ``count``: counts a text's tokens and bounds its own work for each."""
    texts: list[str] = []
    tokens = 0
    for place in (fields.get("system"), *fields["messages"]):
        tokens += _A_MESSAGE if place else 0
        for found in _read(place):
            if isinstance(found, str):
                texts.append(found)
            else:
                tokens += found
    if tools := fields.get("tools"):
        texts.append(orjson.dumps(tools).decode())
    if sum(map(len, texts)) + 16 * len(texts) > MOST_COUNTED:
        texts = [" ".join(texts)]
    return tokens + sum(map(count, texts))


def _read(value: Any) -> Iterator[str | int]:
    """The texts in a value, and the tokens of its pictures and files."""
    unseen = [value]
    while unseen:
        one = unseen.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list):
            unseen += reversed(one)
        elif isinstance(one, dict):
            if one.get("type") == "image":
                yield _A_PICTURE
            elif one.get("type") == "document" and isinstance(source := one.get("source"), dict):
                data = source.get("data")
                is_text = source.get("type") in ("text", "content")
                if isinstance(data, str):
                    yield data if is_text else int(len(data) * _A_BYTE_OF_A_FILE)
                unseen.append(source.get("content"))
                unseen += [one.get("title"), one.get("context")]
            elif one.get("type") == "tool_use":
                yield orjson.dumps({"name": one.get("name"), "input": one.get("input")}).decode()
            else:
                unseen += reversed([inner for name, inner in one.items() if name not in _UNREAD])
