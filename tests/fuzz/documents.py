"""Whole answers in one JSON document, where a stream was asked for."""

from __future__ import annotations

import json
from typing import Any

from tests.fuzz.deltas import message_of
from tests.fuzz.drawing import Draw
from tests.fuzz.meaning import Ending, Meaning
from tests.fuzz.stream_writing import Stream

AS_DOCUMENTS = frozenset({Ending.DONE, Ending.CLOSED, Ending.HALF, Ending.RESET})
"""The endings that such an answer may have, too."""


def write_document(draw: Draw, meaning: Meaning) -> Stream:
    """A ``chat.completion``, under any label."""
    choices = []
    for place, said in enumerate(meaning.choices):
        choice: dict[str, Any] = {"index": place, "message": message_of(draw, said), "finish_reason": said.finish}
        if said.finish is None and draw.chance(0.5):
            choice["finish_reason"] = draw.one_of("null", "")
        if len(meaning.choices) == 1 and draw.chance(0.2):
            choice["index"] = draw.one_of(None, "0", 0.0, 1)
        if said.text and draw.chance(0.2):
            odd = draw.one_of(float("nan"), float("-inf"), -0.5)
            choice["logprobs"] = {"content": [{"token": "x", "logprob": odd, "bytes": None, "top_logprobs": []}]}
            said.tokens = 1
        if draw.chance(0.2):
            choice["x_choice"] = draw.value()
        choices.append(choice)
    document: dict[str, Any] = {"id": "chatcmpl-w", "object": "chat.completion", "created": 1, "model": "m-up"}
    if draw.chance(0.15):
        document = {name: draw.one_of(None, draw.wrong(type(value))) for name, value in document.items()}
    document["choices"] = choices
    if meaning.usage is not None:
        document["usage"] = meaning.usage
    elif draw.chance(0.3):
        document["usage"] = draw.one_of(None, {}, "12", [])
    text = json.dumps(document, indent=draw.mostly(None, 1, 2, odd=0.2))
    data = draw.mostly(b"", b"\xef\xbb\xbf", b"\n", b"  \r\n ", odd=0.2) + text.encode() + draw.one_of(b"", b"\n")
    end = "close"
    if not meaning.complete:
        data = data[: draw.number(1, len(data) - 3)]
        end = "close" if meaning.ending is Ending.HALF else "reset"
    label = draw.mostly(b"application/json", b"text/event-stream", b"text/plain", b"application/octet-stream", None)
    return Stream(data, [], end, label=label)
