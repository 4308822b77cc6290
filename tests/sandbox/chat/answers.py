"""Chat answers made without a server, and two tools to call."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.sandbox.chat.completions import answer_chat
from gateway.sandbox.wire.answers import EventStream, Reply
from gateway.sandbox.wire.options import Options

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}},
            },
        },
    }
    for name in ("get_weather", "get_time")
]


def whole(options: Options | None = None, **fields: Any) -> Any:
    reply = answer_chat(body(**fields), options or Options(), id="chatcmpl-1", created=5)
    assert isinstance(reply, Reply)
    return orjson.loads(reply.body)


def streamed(options: Options | None = None, **fields: Any) -> list[Any]:
    stream = answer_chat(body(**fields, stream=True), options or Options(), id="chatcmpl-1", created=5)
    assert isinstance(stream, EventStream)
    return [orjson.loads(event.data) for event in stream.events if event.kind != "done"]


def body(prompt: str = "hello there", **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}], **fields}
