"""What the tests of streams share: ways of asking, and ways of looking at a stream's bytes."""

from __future__ import annotations

import re
from typing import Any

from gateway.sandbox import Sandbox

from .harness import PIAPI_KEY, Answer, RawClient, chat_body

UNASKED: dict[str, Any] = {"stream": True}
ASKED: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("sun", "rain")]

SHORT = "chunks=3"
"""A short stream: role, three words, finish, usage, ``[DONE]``."""

ROLE, WORDS, FINISHED, EVERYTHING = 1, 4, 5, 7
"""How many events of it have come with its role, its last word, its finish reason, its terminator."""


async def direct(sandbox: Sandbox, scenario: str, **fields: Any) -> Answer:
    """The sandbox's own answer to a request, without the gateway."""
    client = await RawClient.connect(sandbox.urls["api"])
    try:
        await client.ask(chat_body(**fields), PIAPI_KEY, {"x-sandbox-scenario": scenario})
        return await client.rest(await client.head())
    finally:
        await client.close()


def plain(data: bytes) -> bytes:
    """Without what differs between two answers to the same request: their numbers and the time; and without the cost,
    which the gateway tells.
    """
    data = re.sub(rb',"cost":\d+\.\d+', b"", data)
    return re.sub(rb"chatcmpl-sandbox-\d+", b"ID", re.sub(rb'"created": ?\d+', b"TIME", data))


def until_done(data: bytes) -> bytes:
    """A stream's bytes before its terminator."""
    return data[: data.rindex(b"data:")]


def is_whole(answer: Answer) -> bool:
    return answer.complete and answer.body.endswith(b"data: [DONE]\n\n")
