"""Formats, tools and schemas that OpenAI refuses, in its words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.chat.answers import TOOLS
from tests.sandbox.chat.refusals import refused, taken

CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def by_schema(schema: Any, **more: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "shape", "schema": schema, **more}}


def tool(**function: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f", **function}}]}


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"response_format": "json"}, "response_format", "invalid_type"),
        ({"response_format": {}}, "response_format.type", "missing_required_parameter"),
        ({"response_format": {"type": "yaml"}}, "response_format.type", "invalid_value"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            "response_format.json_schema.name",
            "missing_required_parameter",
        ),
        ({"response_format": by_schema({}, name="has blanks")}, "response_format.json_schema.name", "invalid_value"),
        ({"response_format": by_schema(5)}, "response_format.json_schema.schema", "invalid_type"),
        ({"tools": []}, "tools", "empty_array"),
        ({"tools": {}}, "tools", "invalid_type"),
        ({"tools": [{"function": {"name": "f"}}]}, "tools[0].type", "missing_required_parameter"),
        ({"tools": [{"type": "computer_2027"}]}, "tools[0].type", "invalid_value"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name", "missing_required_parameter"),
        ({"tools": [*TOOLS, *tool(name="a.b")["tools"]]}, "tools[2].function.name", "invalid_value"),
        (tool(parameters=[]), "tools[0].function.parameters", "invalid_type"),
        (tool(parameters={"type": "array"}), "tools[0].function.parameters", "invalid_function_parameters"),
        ({"tools": TOOLS * 65}, "tools", "array_above_max_length"),
        ({"functions": []}, "functions", "empty_array"),
        ({"tool_choice": "auto"}, "tool_choice", None),
        ({"parallel_tool_calls": True}, "parallel_tool_calls", None),
        ({"function_call": "auto"}, "function_call", None),
        ({"tools": TOOLS, "tool_choice": "sometimes"}, "tool_choice", "invalid_value"),
        ({"tools": TOOLS, "tool_choice": ["f"]}, "tool_choice", "invalid_type"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice", None),
    ],
)
def test_a_format_or_tool_of_another_shape(fields: dict[str, Any], param: str, code: str | None) -> None:
    assert refused(**fields)[:2] == (param, code)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "array"}, "schema must be a JSON Schema of 'type: \"object\"', got 'type: \"array\"'."),
        ({"type": "object", "properties": {}}, "In context=(), 'additionalProperties' is required to be supplied"),
        ({**CLOSED, "required": []}, "'required' is required to be supplied and to be an array"),
        (
            {**CLOSED, "properties": {"a": {"type": "array", "items": {"type": "object"}}}},
            "In context=('properties', 'a', 'items'), 'additionalProperties' is required",
        ),
        ({**CLOSED, "$defs": {"x": {"type": "object"}}}, "In context=('$defs', 'x')"),
        ({**CLOSED, "properties": {"a": {"anyOf": [CLOSED, {"type": "object"}]}}}, "('properties', 'a', 'anyOf', '1')"),
    ],
)
def test_strict_schemas_are_held_to_it(schema: dict[str, Any], words: str) -> None:
    param, code, message = refused(response_format=by_schema(schema, strict=True))
    assert (param, code) == ("response_format", None)
    assert message.startswith("Invalid schema for response_format 'shape': ")
    assert words in message
    taken(response_format=by_schema(schema))
    if schema["type"] == "object":
        _, code, message = refused(**tool(parameters=schema, strict=True))
        assert code == "invalid_function_parameters"
        assert message.startswith("Invalid schema for function 'f': ")


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": by_schema(CLOSED, strict=True)},
        {"response_format": by_schema(None)},
        tool(parameters=CLOSED, strict=True),
        tool(parameters={}),
        {**tool(), "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {**tool(), "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
        {"tools": [{"type": "custom", "custom": {"name": "shell"}}], "parallel_tool_calls": False},
        {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
    ],
)
def test_what_openai_takes(fields: dict[str, Any]) -> None:
    taken(**fields)
