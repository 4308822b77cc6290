"""Assistant messages: their parts, their length, and the same text in pieces."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.sandbox.wire.options import Options
from tests.sandbox.chat.answers import TOOLS, streamed, whole


def streamed_text(chunks: list[Any], field: str) -> str:
    return "".join(chunk["choices"][0]["delta"].get(field) or "" for chunk in chunks if chunk["choices"])


def test_a_tools_result_is_told() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "get_time"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "noon"},
    ]

    message = whole(messages=messages, tools=TOOLS)["choices"][0]["message"]
    assert message["content"] == "Sandbox ✓ The tool said: noon"


def test_reasoning_and_refusals_have_fields_of_their_own() -> None:
    options = Options(reasoning=3, refusal=1)
    message = whole(options)["choices"][0]["message"]
    chunks = streamed(options)

    assert message["content"] is None
    assert message["reasoning_content"] == streamed_text(chunks, "reasoning_content") == "This is the"
    assert message["refusal"] == streamed_text(chunks, "refusal") == "Sandbox: I will not answer that."
    assert whole(options)["usage"]["completion_tokens_details"]["reasoning_tokens"] == 3


def test_log_probabilities_come_with_every_piece() -> None:
    told = whole(logprobs=True)["choices"][0]["logprobs"]["content"]
    pieces = [chunk["choices"][0]["logprobs"]["content"][0] for chunk in streamed(logprobs=True)[1:-1]]

    assert told == pieces
    assert told[0] == {"token": "Sandbox", "logprob": -0.25, "bytes": list(b"Sandbox"), "top_logprobs": []}


def test_json_is_answered_with_json() -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}, "tags": {"type": "array"}}}
    by_schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    first = whole(prompt="hello in JSON", response_format={"type": "json_object"})["choices"][0]["message"]["content"]
    second = whole(response_format=by_schema)["choices"][0]["message"]["content"]
    assert orjson.loads(first) == {"sandbox": True, "you_said": "hello in JSON"}
    assert orjson.loads(second) == {"name": "hello there", "tags": ["hello there"]}


def test_an_answer_can_be_cut_to_size() -> None:
    short = whole(max_tokens=3)["choices"][0]
    assert (short["message"]["content"], short["finish_reason"]) == ("Sandbox ✓ This", "length")
    assert whole(max_completion_tokens=2)["usage"]["completion_tokens"] == 2

    assert whole(Options(chunks=1000))["usage"]["completion_tokens"] == 1000
    assert [chunk["choices"][0]["delta"].get("content") for chunk in streamed(Options(chunk_size=4))][1:3] == [
        "Sand",
        "box ",
    ]
