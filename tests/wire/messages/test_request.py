"""Requests of Anthropic's Messages API as chats: what becomes of each field, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.errors import ClientError
from gateway.wire.messages.request import read_request

USER = {"role": "user", "content": "hi"}
WEATHER = {"name": "weather", "description": "tells it", "input_schema": {"type": "object", "properties": {}}}
AS_FUNCTION = {
    "type": "function",
    "function": {"name": "weather", "description": "tells it", "parameters": {"type": "object", "properties": {}}},
}
PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "max_tokens": 50, "messages": [USER], **fields}


def chat(**fields: Any) -> dict[str, Any]:
    return read_request(asked(**fields)).chat


def test_a_plain_request_is_a_plain_chat() -> None:
    assert chat() == {"model": "gpt-4o", "messages": [USER], "max_completion_tokens": 50}


def test_a_claude_keeps_its_own_names() -> None:
    thinking = {"type": "enabled", "budget_tokens": 2000}
    assert chat(model="claude-sonnet-4", thinking=thinking) == {
        "model": "claude-sonnet-4",
        "messages": [USER],
        "max_tokens": 50,
        "thinking": thinking,
    }


@pytest.mark.parametrize(
    ("fields", "becomes"),
    [
        ({"system": "Be brief."}, {"messages": [{"role": "system", "content": "Be brief."}, USER]}),
        (
            {"system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]},
            {"messages": [{"role": "system", "content": "Be brief.\n\nBe kind."}, USER]},
        ),
        ({"stop_sequences": ["END"]}, {"stop": ["END"]}),
        ({"temperature": 0.5, "top_p": 0.9, "top_k": 5}, {"temperature": 0.5, "top_p": 0.9, "top_k": 5}),
        ({"stream": True}, {"stream": True}),
        ({"service_tier": "standard_only"}, {"service_tier": "default"}),
        ({"tools": [WEATHER]}, {"tools": [AS_FUNCTION]}),
        ({"tools": [{**WEATHER, "type": "custom"}]}, {"tools": [AS_FUNCTION]}),
        ({"tools": [WEATHER], "tool_choice": {"type": "auto"}}, {"tools": [AS_FUNCTION], "tool_choice": "auto"}),
        ({"tools": [WEATHER], "tool_choice": {"type": "any"}}, {"tools": [AS_FUNCTION], "tool_choice": "required"}),
        ({"tools": [WEATHER], "tool_choice": {"type": "none"}}, {"tools": [AS_FUNCTION], "tool_choice": "none"}),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}},
            {
                "tools": [AS_FUNCTION],
                "tool_choice": {"type": "function", "function": {"name": "weather"}},
                "parallel_tool_calls": False,
            },
        ),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"reasoning_effort": "low"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 10_000}}, {"reasoning_effort": "medium"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 32_000}}, {"reasoning_effort": "high"}),
        ({"thinking": {"type": "disabled"}}, {}),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
        ({"a_field_of_next_year": [1]}, {"a_field_of_next_year": [1]}),
    ],
)
def test_what_a_field_becomes(fields: dict[str, Any], becomes: dict[str, Any]) -> None:
    assert chat(**fields) == {**chat(), **becomes}


@pytest.mark.parametrize("model", ["gpt-5", "openai/gpt-6-sol", "o3", "gpt-oss-120b", "gemini-2.5-flash", "gpt-45"])
def test_an_effort_is_asked_of_a_model_that_reasons(model: str) -> None:
    fields = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}
    assert chat(model=model, **fields) == {**chat(model=model), "reasoning_effort": "low"}


@pytest.mark.parametrize(
    "model",
    ["gpt-4o", "openai/gpt-4o-mini", "GPT-4.1-nano", "gpt-4", "gpt-4-turbo", "gpt-3.5-turbo", "chatgpt-4o-latest"],
)
def test_no_effort_is_asked_of_a_model_that_would_refuse_it(model: str) -> None:
    """Claude Code names one in every request, whichever model it is led to."""
    request = read_request(asked(model=model, thinking={"type": "adaptive"}, output_config={"effort": "high"}))
    assert request.chat == chat(model=model)
    assert request.ignored == ["output_config.effort"]


@pytest.mark.parametrize(
    ("message", "becomes"),
    [
        ({"role": "user", "content": [{"type": "text", "text": "hi"}]}, [USER]),
        (
            {"role": "user", "content": [{"type": "text", "text": "what?"}, {"type": "image", "source": PNG}]},
            [{"role": "user", "content": [{"type": "text", "text": "what?"}, PICTURE]}],
        ),
        (
            {
                "role": "user",
                "content": [{"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}}],
            },
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]}],
        ),
        (
            {
                "role": "user",
                "content": [
                    {
                        "type": "document",
                        "title": "a.pdf",
                        "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
                    }
                ],
            },
            [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "file",
                            "file": {"file_data": "data:application/pdf;base64,JVBERg==", "filename": "a.pdf"},
                        }
                    ],
                }
            ],
        ),
        (
            {
                "role": "user",
                "content": [
                    {
                        "type": "document",
                        "title": "T",
                        "source": {"type": "text", "media_type": "text/plain", "data": "words"},
                    }
                ],
            },
            [{"role": "user", "content": "T\nwords"}],
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "document", "source": {"type": "content", "content": [{"type": "image", "source": PNG}]}}
                ],
            },
            [{"role": "user", "content": [PICTURE]}],
        ),
        (
            {
                "role": "user",
                "content": [
                    {
                        "type": "search_result",
                        "title": "T",
                        "source": "https://a.example",
                        "content": [{"type": "text", "text": "found"}],
                    }
                ],
            },
            [{"role": "user", "content": "T\nhttps://a.example\nfound"}],
        ),
        ({"role": "assistant", "content": "The answer is"}, [{"role": "assistant", "content": "The answer is"}]),
        (
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "text", "text": "Let me look."},
                    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}},
                ],
            },
            [
                {
                    "role": "assistant",
                    "content": "Let me look.",
                    "tool_calls": [
                        {
                            "id": "toolu_1",
                            "type": "function",
                            "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
                        }
                    ],
                }
            ],
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"},
                    {"type": "text", "text": "and tomorrow?"},
                ],
            },
            [
                {"role": "tool", "tool_call_id": "toolu_1", "content": "sunny"},
                {"role": "user", "content": "and tomorrow?"},
            ],
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True, "content": "no such city"}
                ],
            },
            [{"role": "tool", "tool_call_id": "toolu_1", "content": "Error: no such city"}],
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "image", "source": PNG}]},
                    {"type": "tool_result", "tool_use_id": "b"},
                ],
            },
            [
                {"role": "tool", "tool_call_id": "a", "content": "See what follows."},
                {"role": "tool", "tool_call_id": "b", "content": ""},
                {"role": "user", "content": [PICTURE]},
            ],
        ),
    ],
)
def test_what_a_message_becomes(message: dict[str, Any], becomes: list[Any]) -> None:
    assert chat(messages=[message])["messages"] == becomes


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"fallbacks": [{"model": "x"}]}, ["fallbacks"]),
        ({"metadata": {"user_id": "u"}}, ["metadata"]),
        ({"system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]}, ["cache_control"]),
        ({"tools": [{**WEATHER, "cache_control": {"type": "ephemeral"}}]}, ["cache_control"]),
        (
            {"messages": [USER, {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]}]},
            ["thinking of earlier answers"],
        ),
        ({"tools": [{**WEATHER, "defer_loading": True}]}, ["tools defer_loading"]),
        ({"speed": "fast", "context_management": {"edits": []}}, ["context_management", "speed"]),
        ({"messages": [{**USER, "newer": 1}]}, ["messages newer"]),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "newer": 1}]}]}, ["text newer"]),
        ({"system": [{"type": "text", "text": "a", "newer": 1, "newest": None}]}, ["text newer"]),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {**PNG, "newer": 1}}]}]},
            ["image source newer"],
        ),
        ({"tools": [WEATHER], "tool_choice": {"type": "auto", "newer": 1}}, ["tool_choice newer"]),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted"}}, ["thinking display"]),
        ({"thinking": {"type": "newer"}}, ["thinking"]),
        ({"output_config": {"effort": "low", "newer": 1}, "model": "gpt-6"}, ["output_config newer"]),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {}, "newer": 1}}},
            ["output_config.format newer"],
        ),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000, "newer": 1}, "model": "claude-sonnet-5"}, []),
        ({"n": 1}, []),
        ({}, []),
    ],
)
def test_what_has_no_effect_is_named(fields: dict[str, Any], named: list[str]) -> None:
    assert read_request(asked(**fields)).ignored == named


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "container_upload"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": "x"}}]}]},
            "messages[0].content[0].source.media_type",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": "x"}]}]},
            "messages[0].content[0].tool_use_id",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "b", "input": "x"}]}
                ]
            },
            "messages[0].content[0].input",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "server_tool_use", "id": "a", "name": "b"}]}]},
            "messages[0].content[0].type",
        ),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "50"}, "max_tokens"),
        ({"n": 2}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"system": [{"type": "image", "source": PNG}]}, "system[0].type"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"tools": [{"name": "weather"}]}, "tools[0].input_schema"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
        ({"tools": [WEATHER], "tool_choice": "auto"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"budget_tokens": 5}}, "thinking.type"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"output_format": {"type": "xml"}}, "output_format.type"),
        ({"mcp_servers": [{"url": "https://a.example"}]}, "mcp_servers"),
        ({"container": "container_1"}, "container"),
    ],
)
def test_what_cannot_be_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ClientError) as raised:
        chat(**fields)
    assert (raised.value.status, raised.value.param) == (400, param)


def test_a_file_of_anthropics_was_not_made_here() -> None:
    image = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
    with pytest.raises(ClientError) as raised:
        chat(messages=[{"role": "user", "content": [image]}])
    assert (raised.value.status, raised.value.code) == (404, "file_not_found")


def test_counting_needs_no_bound_of_the_output() -> None:
    assert read_request({"model": "gpt-4o", "messages": [USER]}, counting=True).chat["messages"] == [USER]
