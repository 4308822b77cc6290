"""A whole answer keeps every field on its way through the chunks."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.wire.chat_accumulator import ChatAccumulator
from gateway.wire.chat_chunk import completion_as_chunks
from gateway.wire.sse import Event, SSEParser
from gateway.wire.whole_completion import with_every_field


def through_chunks(completion: dict[str, Any]) -> dict[str, Any]:
    accumulator = ChatAccumulator()
    for event in SSEParser(1 << 20).feed(b"".join(completion_as_chunks(completion))):
        if isinstance(event, Event) and event.data != b"[DONE]":
            accumulator.add(orjson.loads(event.data))
    return with_every_field(accumulator.result(), completion)


def test_nothing_is_lost() -> None:
    completion: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-audio",
        "service_tier": None,
        "system_fingerprint": None,
        "provider": {"name": "x", "note": None},
        "choices": [
            {
                "index": index,
                "message": {
                    "role": "assistant",
                    "content": None,
                    "refusal": None,
                    "annotations": [],
                    "function_call": None,
                    "reasoning_content": None,
                    "audio": {"id": f"audio_{index}", "data": "UklGRg==", "expires_at": 9, "transcript": "hello"},
                },
                "logprobs": None,
                "finish_reason": "stop",
                "stop_reason": None,
                "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}},
            }
            for index in (0, 1)
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cost": None},
    }
    assert through_chunks(completion) == completion


def test_a_choice_without_an_index_is_found_by_its_place() -> None:
    completion = {"choices": [{"message": {"content": "a", "x": None}}, {"message": {"content": "b", "y": None}}]}
    first, second = through_chunks(completion)["choices"]
    assert "x" in first["message"]
    assert "y" in second["message"]


def test_a_choice_is_found_wherever_its_message_stands_and_whatever_its_index() -> None:
    choices = [
        {"index": 0, "delta": {"content": "a", "x": None}},
        {"index": 0, "text": "b", "y": None},
        {"index": "2", "message": {"content": "c", "z": None}},
    ]
    whole = through_chunks({"choices": choices})["choices"]
    assert [choice["message"]["content"] for choice in whole] == ["a", "b", "c"]
    assert "x" in whole[0]["message"]
    assert "y" in whole[1]
    assert "z" in whole[2]["message"]
