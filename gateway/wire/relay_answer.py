"""The whole answers of relayed routes, which reach their client as they came: how they are read, labelled, priced."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from gateway.wire.answer_cost import AnswerCost

_NUMBERS = re.compile(rb"\[[-+0-9.eE,\s]{256,}\]")
"""An embedding: a long array of nothing but numbers."""

_USAGE = re.compile(rb'"usage"\s*:\s*')
_MOST_USAGE = 4096

_TYPE = re.compile(
    rb"(?:audio/[a-z0-9.+-]{1,60}|text/(?:plain|vtt|srt)|application/(?:octet-stream|ogg|x-subrip|json))"
    rb"(?:;\s*charset=[a-z0-9-]{1,20})?"
)

_SOUNDS: Mapping[str, bytes] = {
    "mp3": b"audio/mpeg",
    "opus": b"audio/opus",
    "aac": b"audio/aac",
    "flac": b"audio/flac",
    "wav": b"audio/wav",
    "pcm": b"audio/pcm",
}
_TEXT = b"text/plain; charset=utf-8"


class _Head(Protocol):
    def get(self, name: bytes) -> bytes | None: ...


def shortened(body: bytes) -> bytes:
    """A JSON answer with every long array of numbers emptied: what is to be read of it stands elsewhere, and a
    thousand embeddings are a million numbers.
    """
    return _NUMBERS.sub(b"[]", body) if len(body) > 4096 else body


def with_cost(body: bytes, usage: Any, cost: AnswerCost) -> bytes:
    """A JSON answer whose ``usage`` says what the key is charged; every other byte is as it came.

    ``usage``: the answer's, as it was read; an answer without one stays as it is.
    """
    if not isinstance(usage, dict):
        return body
    at = body.rfind(b'"usage"')
    key = _USAGE.match(body, at) if at >= 0 else None
    if key is None:
        return body
    end = body.find(b"}", key.end(), key.end() + _MOST_USAGE)
    while end >= 0:
        try:
            found = orjson.loads(body[key.end() : end + 1])
        except orjson.JSONDecodeError:
            end = body.find(b"}", end + 1, key.end() + _MOST_USAGE)
            continue
        if found != usage:
            return body
        return body[: key.end()] + orjson.dumps(cost.in_usage(found)) + body[end + 1 :]
    return body


def content_type_of(head: _Head, fields: Mapping[str, Any], *, is_sound: bool) -> bytes:
    """The label of a sound or a text: the upstream's, if it is one that no browser runs, else by what was asked for."""
    told = (head.get(b"content-type") or b"").strip().lower()
    if _TYPE.fullmatch(told):
        return told
    return _SOUNDS.get(str(fields.get("response_format")), b"audio/mpeg") if is_sound else _TEXT
