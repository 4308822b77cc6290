"""A whole message as the events that would have said the same, for a client that asked for these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.wire.sse import encode_event
from gateway.wire.writable import dump_json

_TOLD_IN_PIECES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "text": (("text", "text_delta"),),
    "thinking": (("thinking", "thinking_delta"), ("signature", "signature_delta")),
}
"""Kinds of blocks, their fields that are told by deltas, and the kinds of these."""


def message_as_events(document: Mapping[str, Any]) -> bytes:
    """The events of a message, from its begin to its stop. ``document``: the whole message, which may be odd."""
    return b"".join(encode_event(dump_json(event), event["type"].encode("ascii")) for event in _events(document))


def _events(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    content, usage = document.get("content"), document.get("usage")
    begun = {**document, "content": [], "stop_reason": None, "stop_sequence": None}
    yield {"type": "message_start", "message": begun}
    for index, block in enumerate(content if isinstance(content, list) else ()):
        if isinstance(block, dict):
            yield from _of_block(index, block)
    ended = {"stop_reason": document.get("stop_reason"), "stop_sequence": document.get("stop_sequence")}
    yield {"type": "message_delta", "delta": ended, "usage": usage if isinstance(usage, dict) else {"output_tokens": 0}}
    yield {"type": "message_stop"}


def _of_block(index: int, block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    kind = block.get("type")
    opened, deltas = dict(block), []
    for field, delta in _TOLD_IN_PIECES.get(kind, ()) if isinstance(kind, str) else ():
        if isinstance(text := block.get(field), str):
            opened[field] = ""
            deltas += [{"type": delta, field: text}] if text else []
    if kind in ("tool_use", "server_tool_use"):
        opened["input"] = {}
        deltas.append({"type": "input_json_delta", "partial_json": dump_json(block.get("input") or {}).decode()})
    yield {"type": "content_block_start", "index": index, "content_block": opened}
    for one in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": one}
    yield {"type": "content_block_stop", "index": index}
