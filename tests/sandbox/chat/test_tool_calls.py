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
