"""Histories that OpenAI refuses, in its words, and those it takes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.chat.refusals import refused, taken

USER = {"role": "user", "content": "hi"}


def call(id: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}}


def calls(*ids: str) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [call(id) for id in ids]}


def result(id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": "said"}


ORPHAN = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
UNANSWERED = "The following tool_call_ids did not have response messages: "


@pytest.mark.parametrize(
    ("messages", "param", "words"),
    [
        ([USER, result("a")], "messages.[1].role", ORPHAN),
        ([USER, {"role": "assistant", "content": "x"}, result("a")], "messages.[2].role", ORPHAN),
        ([USER, calls("a"), result("a"), USER, result("a")], "messages.[4].role", ORPHAN),
        ([USER, calls("a"), USER], "messages.[2].role", UNANSWERED + "a"),
        ([USER, calls("a")], "messages.[2].role", UNANSWERED + "a"),
        ([USER, calls("a", "b", "c"), result("b")], "messages.[3].role", UNANSWERED + "a, c"),
        ([USER, calls("a"), calls("b"), result("b")], "messages.[2].role", UNANSWERED + "a"),
        ([USER, calls("a"), result("z")], "messages.[2].tool_call_id", "'z' not found in 'tool_calls' of previous"),
        ([USER, calls("a"), {"role": "tool", "content": "x"}], "messages.[2].tool_call_id", "must have a"),
        ([USER, {"role": "function", "content": "x"}], "messages.[1].name", "must have a 'name'"),
        ([{"role": "user", "content": None}], "messages.[0].content", "expected a string, got null"),
        ([{"role": "user"}], "messages.[0].content", "expected a string, got null"),
        ([USER, {"role": "assistant"}], "messages.[1].content", "expected a string, got null"),
    ],
)
def test_a_history_that_does_not_hold_together(messages: list[Any], param: str, words: str) -> None:
    found, code, message = refused(messages=messages)
    assert (found, code) == (param, None)
    assert words in message


@pytest.mark.parametrize(
    ("messages", "param", "code"),
    [
        (..., "messages", "missing_required_parameter"),
        (None, "messages", "invalid_type"),
        ("hi", "messages", "invalid_type"),
        ([], "messages", "empty_array"),
        (["hi"], "messages[0]", "invalid_type"),
        ([{"content": "x"}], "messages[0].role", "missing_required_parameter"),
        ([{"role": "critic", "content": "x"}], "messages[0].role", "invalid_value"),
        ([{"role": 5, "content": "x"}], "messages[0].role", "invalid_type"),
        ([USER, {"role": "user", "content": 5}], "messages[1].content", "invalid_type"),
        ([{"role": "user", "content": ["hi"]}], "messages[0].content[0]", "invalid_type"),
        ([{"role": "user", "content": [{"text": "hi"}]}], "messages[0].content[0].type", "missing_required_parameter"),
        ([{"role": "user", "content": [{"type": "hologram"}]}], "messages[0].content[0].type", "invalid_value"),
        (
            [{"role": "user", "content": [{"type": "text"}]}],
            "messages[0].content[0].text",
            "missing_required_parameter",
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": "https://x"}]}],
            "messages[0].content[0].image_url",
            "invalid_type",
        ),
        ([{**USER, "name": "has blanks"}], "messages[0].name", "invalid_value"),
        ([{**USER, "name": "x" * 65}], "messages[0].name", "string_above_max_length"),
        ([USER, {"role": "assistant", "tool_calls": []}], "messages[1].tool_calls", "empty_array"),
        (
            [USER, {"role": "assistant", "tool_calls": [{}]}],
            "messages[1].tool_calls[0].id",
            "missing_required_parameter",
        ),
        (
            [USER, {"role": "assistant", "tool_calls": [{**call("a"), "function": {"name": "f", "arguments": {}}}]}],
            "messages[1].tool_calls[0].function.arguments",
            "invalid_type",
        ),
        (
            [USER, {"role": "assistant", "tool_calls": [{**call("a"), "type": "magic"}]}],
            "messages[1].tool_calls[0].type",
            "invalid_value",
        ),
    ],
)
def test_a_message_of_another_shape(messages: Any, param: str, code: str) -> None:
    assert refused(messages=messages)[:2] == (param, code)


@pytest.mark.parametrize(
    "messages",
    [
        [USER, calls("a", "b"), result("b"), result("a")],
        [USER, calls("a"), result("a"), calls("a"), result("a"), USER],
        [USER, {"role": "assistant", "content": "", "tool_calls": [call("a")]}, result("a")],
        [
            USER,
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "x"},
        ],
        [{"role": "developer", "content": [{"type": "text", "text": "be kind"}]}, {**USER, "name": "Zoë"}],
        [USER, {"role": "assistant", "refusal": "no"}, USER],
        [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "https://x"}}, {"type": "file", "file": {}}],
            }
        ],
    ],
)
def test_a_history_as_openai_has_them(messages: list[Any]) -> None:
    taken(messages=messages)


def test_the_word_json_is_asked_for_with_json() -> None:
    json = {"type": "json_object"}
    assert refused(response_format=json)[:2] == ("messages", None)
    assert "must contain the word 'json'" in refused(response_format=json)[2]
    taken(messages=[{"role": "system", "content": "Answer in JSON"}, USER], response_format=json)
    taken(messages=[{"role": "user", "content": [{"type": "text", "text": "as json"}]}], response_format=json)
