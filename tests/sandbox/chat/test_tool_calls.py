"""Tool calls: which are made, whole and in pieces, with arguments that fit."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.sandbox.chat.schema_examples import example_of
from gateway.sandbox.wire.options import Options
from tests.sandbox.chat.answers import TOOLS, streamed, whole


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"prompt": "call get_weather please"}, ["get_weather"]),
        ({"prompt": "get_weather and get_time"}, ["get_weather", "get_time"]),
        ({"tool_choice": "required"}, ["get_weather"]),
        ({"tool_choice": {"type": "function", "function": {"name": "get_time"}}}, ["get_time"]),
        ({"options": Options(calls=3)}, ["get_weather", "get_time", "get_weather"]),
    ],
)
def test_tools_are_called_whole_and_in_pieces(fields: dict[str, Any], names: list[str]) -> None:
    answer = whole(**fields, tools=TOOLS)["choices"][0]
    calls = answer["message"]["tool_calls"]
    folded: dict[int, dict[str, str]] = {}
    for chunk in streamed(**fields, tools=TOOLS):
        for part in chunk["choices"][0]["delta"].get("tool_calls", ()):
            call = folded.setdefault(part["index"], {"id": part.get("id", ""), "name": "", "arguments": ""})
            call["name"] += part["function"].get("name", "")
            call["arguments"] += part["function"]["arguments"]

    assert answer["finish_reason"] == "tool_calls"
    assert answer["message"]["content"] is None
    assert [call["function"]["name"] for call in calls] == names
    assert [{"id": call["id"], **call["function"]} for call in calls] == list(folded.values())
    assert orjson.loads(calls[0]["function"]["arguments"]) == {
        "city": fields.get("prompt", "hello there"),
        "days": 42,
        "unit": "C",
    }


def test_tools_that_are_not_wanted_are_not_called() -> None:
    assert "tool_calls" not in whole(tools=TOOLS)["choices"][0]["message"]
    assert "tool_calls" not in whole(prompt="get_time", tools=TOOLS, tool_choice="none")["choices"][0]["message"]


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("What is the weather in Rome?", ["get_weather"]),
        ("the time, and the WEATHER", ["get_weather", "get_time"]),
        ("get_time of the weather", ["get_time"]),
        ("Sometimes I wonder whether", []),
    ],
)
def test_what_the_prompt_means_is_called(prompt: str, names: list[str]) -> None:
    calls = whole(prompt=prompt, tools=TOOLS)["choices"][0]["message"].get("tool_calls", [])
    assert [call["function"]["name"] for call in calls] == names


def test_one_call_at_a_time_if_that_is_asked_for() -> None:
    one = whole(prompt="get_weather get_time", tools=TOOLS, parallel_tool_calls=False)["choices"][0]["message"]
    assert [call["function"]["name"] for call in one["tool_calls"]] == ["get_weather"]


def test_allowed_tools_are_the_only_ones() -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "get_time"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    message = whole(prompt="get_weather", tools=TOOLS, tool_choice=choice)["choices"][0]["message"]
    assert [call["function"]["name"] for call in message["tool_calls"]] == ["get_time"]


def test_a_tool_of_free_text_gets_the_prompt() -> None:
    tools = [{"type": "custom", "custom": {"name": "shell"}}]
    [call] = whole(prompt="use the shell", tools=tools)["choices"][0]["message"]["tool_calls"]
    assert call == {"id": "call_sandbox_0", "type": "custom", "custom": {"name": "shell", "input": "use the shell"}}
    deltas = [chunk["choices"][0]["delta"] for chunk in streamed(prompt="use the shell", tools=tools)[1:-1]]
    assert "".join(delta["tool_calls"][0]["custom"]["input"] for delta in deltas) == "use the shell"


def test_a_conversation_has_no_id_twice_and_goes_on_if_it_must() -> None:
    first = whole(prompt="get_time", tools=TOOLS)["choices"][0]["message"]
    [call] = first["tool_calls"]
    told = [
        {"role": "user", "content": "get_time"},
        first,
        {"role": "tool", "tool_call_id": call["id"], "content": "get_weather"},
    ]
    assert "tool_calls" not in whole(messages=told, tools=TOOLS)["choices"][0]["message"]
    again = whole(messages=told, tools=TOOLS, tool_choice="required")["choices"][0]["message"]["tool_calls"]
    assert [one["id"] for one in again] == ["call_sandbox_1"]
    both = whole(prompt="get_time", tools=TOOLS, n=2)["choices"]
    assert both[0]["message"]["tool_calls"][0]["id"] != both[1]["message"]["tool_calls"][0]["id"]


def test_a_call_is_cut_where_its_tokens_end() -> None:
    forced = {"type": "function", "function": {"name": "get_weather"}}
    for limit in (1, 3):
        choice = whole(tools=TOOLS, tool_choice=forced, max_completion_tokens=limit)["choices"][0]
        [call] = choice["message"]["tool_calls"]
        assert choice["finish_reason"] == "length"
        assert len(call["function"]["arguments"]) == 8 * (limit - 1)


def test_the_opening_of_a_stream_of_calls() -> None:
    chunks = streamed(prompt="get_time", tools=TOOLS)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": None, "refusal": None}
    [opened] = chunks[1]["choices"][0]["delta"]["tool_calls"]
    function = {"name": "get_time", "arguments": ""}
    assert opened == {"index": 0, "id": "call_sandbox_0", "type": "function", "function": function}
    assert chunks[-1]["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "tool_calls"}


def test_the_legacy_way_to_call_a_function() -> None:
    functions = [tool["function"] for tool in TOOLS]
    answer = whole(prompt="get_time get_weather", functions=functions)["choices"][0]
    deltas = [
        chunk["choices"][0]["delta"].get("function_call") for chunk in streamed(prompt="get_time", functions=functions)
    ]

    assert answer["finish_reason"] == "function_call"
    assert answer["message"]["function_call"]["name"] == "get_weather"
    assert "tool_calls" not in answer["message"]
    assert next(filter(None, deltas)) == {"name": "get_time", "arguments": ""}


def test_examples_fit_their_schema_and_end() -> None:
    endless: dict[str, Any] = {"type": "array"}
    endless["items"] = endless

    assert example_of({"type": "boolean"}, "x") is True
    assert example_of({"type": "null"}, "x") is None
    assert example_of({"type": ["string", "null"]}, "x") == "x"
    assert orjson.dumps(example_of(endless, "x")).count(b"[") > 3


def test_arguments_that_may_be_left_out_can_be() -> None:
    """As models do it: an agent's tools have parameters that only few calls need."""
    function = TOOLS[0]["function"]
    tool = {
        "type": "function",
        "function": {**function, "parameters": {**function["parameters"], "required": ["city"]}},
    }
    message = whole(prompt="get_weather", tools=[tool], options=Options(required=1))["choices"][0]["message"]
    assert orjson.loads(message["tool_calls"][0]["function"]["arguments"]) == {"city": "get_weather"}
