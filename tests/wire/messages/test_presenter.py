"""Chats' answers as messages of Anthropic's: each story whole and streamed, with the same content at the end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.errors import UpstreamFault
from gateway.core.types import Usage
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.messages.presenter import MessageFacts, MessagePresenter

FACTS = MessageFacts("msg_1", "claude-x", ("END",), frozenset({"weather", "time"}))
USAGE = Usage(100, 30, 20, cache_write_tokens=10, reasoning_tokens=5)


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-2026", "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def call(index: int, arguments: str, id: str | None = None, name: str | None = None) -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": arguments}
    if name:
        function["name"] = name
    return {"index": index, **({"id": id, "type": "function"} if id else {}), "function": function}


def events(data: bytes) -> list[dict[str, Any]]:
    """The events, whose names are those in their data."""
    found = []
    for block in data.decode().split("\n\n")[:-1]:
        name, text = block.split("\n")
        event = json.loads(text.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found


def streamed(*chunks: dict[str, Any]) -> list[dict[str, Any]]:
    presenter = MessagePresenter(FACTS)
    return events(b"".join(map(presenter.chunk, chunks)) + presenter.end(USAGE, None))


def accumulated(told: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that a client puts together, which holds what the protocol promises: blocks one after the other."""
    message: dict[str, Any] = {}
    open_block: int | None = None
    inputs: dict[int | None, str] = {}
    for event in told:
        kind = event["type"]
        if kind == "message_start":
            assert not message
            message = event["message"]
        elif kind == "content_block_start":
            assert open_block is None
            assert event["index"] == len(message["content"])
            open_block = event["index"]
            message["content"].append(event["content_block"])
        elif kind == "content_block_delta":
            assert event["index"] == open_block
            block, change = message["content"][open_block], event["delta"]
            if change["type"] == "input_json_delta":
                inputs[open_block] = inputs.get(open_block, "") + change["partial_json"]
            elif change["type"] == "signature_delta":
                block["signature"] = change["signature"]
            else:
                field = change["type"].removesuffix("_delta")
                block[field] += change[field]
        elif kind == "content_block_stop":
            assert event["index"] == open_block
            if message["content"][open_block]["type"] == "tool_use":
                message["content"][open_block]["input"] = json.loads(inputs.get(open_block) or "{}")
            open_block = None
        elif kind == "message_delta":
            message |= event["delta"]
            message["usage"] |= event["usage"]
    assert open_block is None
    assert told[-1]["type"] == "message_stop"
    return message


TEXT = {"type": "text", "text": "Hello, you."}
IN_ROME = {"type": "tool_use", "id": "call_a", "name": "weather", "input": {"city": "Rome"}}
THE_TIME = {"type": "tool_use", "id": "call_b", "name": "time", "input": {}}

STORIES: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], str]] = {
    "plain": (
        [delta(role="assistant", content=""), delta(content="Hello, "), delta(content="you."), delta("stop")],
        [TEXT],
        "end_turn",
    ),
    "cut by its bound": ([delta(content="Hello, "), delta("length", content="you.")], [TEXT], "max_tokens"),
    "filtered": ([delta(content="Hello, you."), delta("content_filter")], [TEXT], "refusal"),
    "refused": ([delta(refusal="Hello, "), delta(refusal="you."), delta("stop")], [TEXT], "refusal"),
    "thoughts first": (
        [delta(reasoning_content="h"), delta(reasoning_content="m"), delta(content="Hello, you."), delta("stop")],
        [{"type": "thinking", "thinking": "hm", "signature": ""}, TEXT],
        "end_turn",
    ),
    "one call": (
        [
            delta(tool_calls=[call(0, "", "call_a", "weather")]),
            delta(tool_calls=[call(0, '{"city": ')]),
            delta(tool_calls=[call(0, '"Rome"}')]),
            delta("tool_calls"),
        ],
        [IN_ROME],
        "tool_use",
    ),
    "text, then two calls, the second without arguments": (
        [
            delta(content="Hello, you."),
            delta(tool_calls=[call(0, '{"city": "Rome"}', "call_a", "weather")]),
            delta(tool_calls=[call(1, "", "call_b", "time")]),
            delta("tool_calls"),
        ],
        [TEXT, IN_ROME, THE_TIME],
        "tool_use",
    ),
    "calls that come side by side": (
        [
            delta(tool_calls=[call(0, '{"city"', "call_a", "weather"), call(1, "{", "call_b", "time")]),
            delta(tool_calls=[call(1, "}"), call(0, ': "Rome"}')]),
            delta("tool_calls"),
        ],
        [IN_ROME, THE_TIME],
        "tool_use",
    ),
    "words in the midst of a call": (
        [
            delta(tool_calls=[call(0, '{"city"', "call_a", "weather")]),
            delta(content="Hello, you."),
            delta(tool_calls=[call(0, ': "Rome"}')]),
            delta("tool_calls"),
        ],
        [IN_ROME, TEXT],
        "tool_use",
    ),
    "a call that is sent whole, without an index": (
        [
            delta(
                "tool_calls",
                tool_calls=[
                    {
                        "id": "call_a",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
                    }
                ],
            )
        ],
        [IN_ROME],
        "tool_use",
    ),
    "half a character at a time": (
        [delta(content="Hello\ud83d"), delta(content="\ude00"), delta("stop")],
        [{"type": "text", "text": "Hello😀"}],
        "end_turn",
    ),
    "nothing": ([delta("stop")], [], "end_turn"),
}


@pytest.mark.parametrize("name", STORIES)
def test_a_story_streamed(name: str) -> None:
    chunks, content, stop_reason = STORIES[name]
    message = accumulated(streamed(*chunks))
    assert message["content"] == content
    assert (message["id"], message["model"], message["role"]) == ("msg_1", "gpt-4o-2026", "assistant")
    assert (message["stop_reason"], message["stop_sequence"]) == (stop_reason, None)


def test_the_usage_is_told_as_anthropic_counts() -> None:
    """Input from the cache and into it stands apart from the rest."""
    assert accumulated(streamed(delta(content="x")))["usage"] == {
        "input_tokens": 60,
        "cache_creation_input_tokens": 10,
        "cache_read_input_tokens": 30,
        "output_tokens": 20,
        "output_tokens_details": {"thinking_tokens": 5},
    }


def whole(message: dict[str, Any], finish: str = "stop", **choice: Any) -> dict[str, Any]:
    completion = {"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": finish, **choice}]}
    answer: dict[str, Any] = json.loads(MessagePresenter(FACTS).whole(completion, USAGE, AnswerCost("0.25")))
    return answer


def test_a_whole_answer_is_one_message_with_its_cost() -> None:
    answer = whole({"role": "assistant", "content": "Hello, you."})
    assert (answer["type"], answer["content"], answer["stop_reason"]) == ("message", [TEXT], "end_turn")
    assert answer["usage"]["cost"] == 0.25


def test_a_whole_answer_with_calls() -> None:
    calls = [{"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}]
    answer = whole({"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls")
    assert (answer["content"], answer["stop_reason"]) == ([IN_ROME], "tool_use")


def test_arguments_that_are_no_object_are_not_lost() -> None:
    calls = [{"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ro'}}]
    answer = whole({"role": "assistant", "content": None, "tool_calls": calls}, "length")
    assert answer["content"][0]["input"] == {"INVALID_JSON": '{"city": "Ro'}
    assert answer["stop_reason"] == "max_tokens"


def test_the_sequence_that_stopped_it_is_named_if_the_upstream_says_so() -> None:
    answer = whole({"role": "assistant", "content": "Hello"}, stop_reason="END")
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("stop_sequence", "END")


def test_a_stream_that_breaks_off_ends_in_an_error_and_in_no_stop() -> None:
    presenter = MessagePresenter(FACTS)
    error = UpstreamFault(502, "upstream_error", "upstream_stream_interrupted", "The upstream broke off.")
    told = events(presenter.chunk(delta(content="Hel")) + presenter.failed(error))
    assert told[-1] == {"type": "error", "error": {"type": "api_error", "message": "The upstream broke off."}}
    assert "message_stop" not in [event["type"] for event in told]


def test_a_ping_never_comes_ahead_of_the_message() -> None:
    presenter = MessagePresenter(FACTS)
    assert presenter.alive().startswith(b":")
    presenter.chunk(delta(content="x"))
    assert presenter.alive() == b'event: ping\ndata: {"type":"ping"}\n\n'
