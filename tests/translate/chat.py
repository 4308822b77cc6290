"""Chat requests and the pieces of chat streams that the tests of conversations are made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from gateway.core.types import Credential, Endpoint, Outcome, Price, Target, Upstream, Usage
from gateway.telemetry.redaction import Redactor
from gateway.translate.chat_to_chat import ChatConversation
from gateway.translate.context import EVENT_LIMIT, AttemptContext
from gateway.wire.answer_head import Head
from gateway.wire.chat_ending import ChatEnding
from gateway.wire.chat_request import parse_chat_request
from gateway.wire.sse import encode_event

from .transcript import Pieces, lines, transcript

KEY = "piapi-0123456789abcdefghijklmnopqrstuvwxyz"
HOST = Endpoint("https://api.piapi.ai", "https", "api.piapi.ai", 443)
PIAPI = Upstream("piapi", "piapi", (HOST,), (Credential("first", KEY),))
BILLED = Target(PIAPI, "gpt-4o-upstream", price=Price(input=1, output=1))
SOLD_BY_IMAGE = Target(PIAPI, "gpt-4o-image", price=Price(image=20_000_000, no_image=660_000))
STREAM_HEAD = Head(200, ((b"content-type", b"text/event-stream"),))
INPUT_TOKENS = 7
ESTIMATED = Usage(INPUT_TOKENS, 0, 11, confidence="estimated")
"""A token for each letter of "Hello world"."""


def chunk(*choices: dict[str, Any], **fields: Any) -> bytes:
    """One event, written as upstreams write it."""
    document = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-upstream",
        "choices": choices,
    }
    return b"data: " + orjson.dumps(document | fields) + b"\n\n"


def delta(finish: str | None = None, index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"index": index, "delta": fields, "finish_reason": finish}


USAGE = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
PIECES: Pieces = {
    "role": chunk(delta(role="assistant", content="")),
    "hello": chunk(delta(content="Hello")),
    "world": chunk(delta(content=" world")),
    "escaped": chunk(delta(content='"\n')),
    "finish": chunk(delta("stop")),
    "usage": chunk(usage=USAGE),
    "estimated": encode_event(
        orjson.dumps(ChatEnding(1, id="chatcmpl-1", created=1, model="gpt-4o-upstream").usage_chunk(ESTIMATED))
    ),
    "done": b"data: [DONE]\n\n",
    "none": b"data:[none]\n\n",
    "comment": b": keep-alive of theirs\n\n",
    "ping": b": ping\n\n",
    "error": b'data: {"error":{"message":"It broke","type":"server_error","code":"server_error"}}\n\n',
    "limited": b'data: {"error":{"message":"Slow down","code":"rate_limit_exceeded"}}\n\n',
    "half": chunk(delta(content="Hello"))[:-20],
    "nonsense": b"data: {nonsense\n\n",
    "id": b"id: 7\n",
}
"""What transcripts call their bytes."""

STREAM: dict[str, Any] = {"stream": True}
ASKING: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


def attempt_context(target: Target = BILLED, endpoint: Endpoint = HOST) -> AttemptContext:
    return AttemptContext(target, endpoint, wall_seconds=1_700_000_000.0, redact=Redactor([KEY]).data)


def conversation(
    target: Target = BILLED, count: Callable[[str], int] = len, event_limit: int = EVENT_LIMIT, **fields: Any
) -> ChatConversation:
    """A request with these fields, about to be tried."""
    request = parse_chat_request({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], **fields})
    return ChatConversation(
        request,
        replace(attempt_context(target), event_limit=event_limit),
        count=count,
        input_tokens=lambda: INPUT_TOKENS,
    )


def tell(talk: ChatConversation, text: str) -> Outcome:
    """Play a transcript and hold it against what was said."""
    said, outcome = transcript(talk, text, PIECES)
    assert said.split("\n") == lines(text)
    return outcome


def folded(talk: ChatConversation) -> dict[str, Any]:
    assert talk.answer is not None
    document: dict[str, Any] = json.loads(talk.answer)
    return document
