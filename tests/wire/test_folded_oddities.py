"""Whatever chunks hold, folding them does not fail; what is answered can be written, and can come back."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gateway.wire.chat_accumulator import ChatAccumulator
from gateway.wire.chat_request import parse_chat_request
from gateway.wire.writable import dump_json

from .vendor_streams import STREAMS, Vendor

# Making a failing example smaller takes minutes here, and the chunks are small.
FUZZ = settings(max_examples=300, phases=[Phase.explicit, Phase.reuse, Phase.generate])

NAMES = [
    *("id", "created", "model", "object", "choices", "usage", "index", "delta", "message", "text", "finish_reason"),
    *(
        "logprobs",
        "content",
        "refusal",
        "role",
        "tool_calls",
        "function_call",
        "function",
        "custom",
        "name",
        "arguments",
    ),
    *("input", "type", "thinking", "signature", "data", "reasoning_content", "reasoning_details", "thinking_blocks"),
    *("annotations", "citations", "audio", "summary", "format", "error"),
]

odd_scalars = st.sampled_from(
    [None, True, False, 0, 1, -1, 2**70, 1.5, math.nan, math.inf, "", "a", "null", "{}", '{"a":1}', "\ud83d", "\ude00"]
)
odd_values = st.recursive(
    odd_scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=10,
)


def some(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names), odd_values, max_size=4)


odd_functions = some("name", "arguments", "input", "other")
odd_calls = st.fixed_dictionaries(
    {}, optional={"index": odd_scalars, "id": odd_scalars, "type": odd_scalars, "function": odd_functions | odd_values}
)
odd_parts = some("type", "text", "thinking", "signature", "data", "refusal", "annotations", "index", "summary")
odd_deltas = st.fixed_dictionaries(
    {},
    optional={
        "content": st.lists(odd_parts, max_size=3) | odd_values,
        "tool_calls": st.lists(odd_calls | odd_values, max_size=3) | odd_values,
        "function_call": odd_functions,
        "reasoning_content": odd_values,
        "reasoning_details": st.lists(odd_parts, max_size=3) | odd_values,
        "thinking_blocks": st.lists(odd_parts, max_size=3),
        "annotations": odd_values,
        "audio": odd_values,
        "new": odd_values,
    },
)
odd_choices = st.fixed_dictionaries(
    {},
    optional={
        "index": odd_values,
        "delta": odd_deltas | odd_values,
        "message": odd_deltas | odd_values,
        "text": odd_values,
        "finish_reason": odd_values,
        "logprobs": odd_values,
        "new": odd_values,
    },
)
odd_chunks = st.fixed_dictionaries(
    {},
    optional={
        "id": odd_values,
        "created": odd_values,
        "model": odd_values,
        "usage": odd_values,
        "choices": st.lists(odd_choices | odd_values, max_size=3) | odd_values,
        "citations": odd_values,
        "new": odd_values,
    },
)


@FUZZ
@given(st.lists(odd_chunks, max_size=5), st.sampled_from([0, 1, 2]))
def test_no_chunk_makes_folding_fail(chunks: list[Any], n: int):
    accumulator = ChatAccumulator("chatcmpl-1", 1, "m", n=n)
    for chunk in chunks:
        accumulator.add(chunk)
    completion = accumulator.result()
    written = orjson.loads(dump_json(completion))
    assert (type(written["id"]), type(written["created"]), type(written["model"])) == (str, int, str)
    for choice in written["choices"]:
        message = choice["message"]
        assert isinstance(choice["finish_reason"], str)
        assert isinstance(message["content"], str | list | None)
        for call in message.get("tool_calls", ()):
            body = call["function"] if "function" in call else call["custom"]
            assert all(isinstance(body[name], str) for name in body if name in ("name", "arguments", "input"))
            assert isinstance(call["id"], str | None)
        assert parse_chat_request({"model": "m", "messages": [{"role": "user", "content": "?"}, called(message)]})


def called(message: dict[str, Any]) -> dict[str, Any]:
    """What a client must be able to send back of any answer: what it said, and the calls."""
    return {name: message[name] for name in ("role", "content", "tool_calls", "function_call") if name in message}


@FUZZ
@given(st.lists(odd_chunks, max_size=3), st.text("abc", min_size=1, max_size=4))
def test_odd_chunks_do_not_cost_the_text_of_the_others(chunks: list[Any], text: str):
    accumulator = ChatAccumulator(n=1)
    accumulator.add({"choices": [{"index": 0, "delta": {"content": f"<{text}"}}]})
    for chunk in chunks:
        accumulator.add(chunk)
    accumulator.add({"choices": [{"index": 0, "delta": {"content": f"{text}>"}}]})
    written = dump_json(accumulator.result()).decode()
    assert f"<{text}" in written
    assert f"{text}>" in written


@pytest.mark.parametrize("vendor", STREAMS, ids=[vendor.name for vendor in STREAMS])
def test_a_folded_message_is_accepted_when_it_comes_back(vendor: Vendor):
    accumulator = ChatAccumulator()
    for chunk in vendor.chunks:
        accumulator.add(chunk)
    message = accumulator.result()["choices"][0]["message"]
    calls = [
        {"role": "tool", "tool_call_id": call["id"] or "", "content": "4"} for call in message.get("tool_calls", ())
    ]
    history = [{"role": "user", "content": "?"}, message, *calls]
    assert parse_chat_request({"model": "m", "messages": history}).body["messages"] == history
