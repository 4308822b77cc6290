"""A client that reads the events of a stream as JSON."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.sandbox import Sandbox
from tests.sandbox.client import STREAM, ask


async def chunks(sandbox: Sandbox, scenario: str, content: Any = None) -> list[Any]:
    """The JSON events of a stream, ``[DONE]`` as text."""
    received = await ask(sandbox, content or STREAM, scenario)
    assert received.headers[b"content-type"].startswith(b"text/event-stream")
    return [payload.decode() if payload[:1] == b"[" else orjson.loads(payload) for payload in received.payloads]


def text_of(events: list[Any]) -> str:
    deltas = (event["choices"][0]["delta"] for event in events if isinstance(event, dict) and event.get("choices"))
    return "".join(delta.get("content") or "" for delta in deltas)
