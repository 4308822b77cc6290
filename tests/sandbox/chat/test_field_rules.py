"""Fields that OpenAI refuses, in its words."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.sandbox.chat.completions import answer_chat
from gateway.sandbox.wire.answers import Reply
from gateway.sandbox.wire.options import Options
from tests.sandbox.chat.answers import TOOLS, body
from tests.sandbox.chat.refusals import refused, taken


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"temperature": 2.1}, "temperature", "decimal_above_max_value"),
        ({"temperature": -1}, "temperature", "decimal_below_min_value"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"temperature": True}, "temperature", "invalid_type"),
        ({"top_p": 1.5}, "top_p", "decimal_above_max_value"),
        ({"presence_penalty": -3}, "presence_penalty", "decimal_below_min_value"),
        ({"frequency_penalty": 3}, "frequency_penalty", "decimal_above_max_value"),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"n": 129}, "n", "integer_above_max_value"),
        ({"n": 1.5}, "n", "invalid_type"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"max_completion_tokens": "9"}, "max_completion_tokens", "invalid_type"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens", "invalid_parameter_combination"),
        ({"stop": 5}, "stop", "invalid_type"),
        ({"stop": []}, "stop", "empty_array"),
        ({"stop": ["a", 5]}, "stop[1]", "invalid_type"),
        ({"stop": list("abcde")}, "stop", "array_above_max_length"),
        ({"logprobs": 5}, "logprobs", "invalid_type"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
        ({"top_logprobs": 2}, "top_logprobs", None),
        ({"seed": "x"}, "seed", "invalid_type"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"stream_options": {"include_usage": True}}, "stream_options", None),
        ({"stream": True, "stream_options": 5}, "stream_options", "invalid_type"),
        ({"user": 7}, "user", "invalid_type"),
        ({"metadata": "m"}, "metadata", "invalid_type"),
        ({"modalities": "text"}, "modalities", "invalid_type"),
        ({"reasoning_effort": {"level": 1}}, "reasoning_effort", "invalid_type"),
    ],
)
def test_a_field_out_of_bounds(fields: dict[str, Any], param: str, code: str | None) -> None:
    assert refused("api", **fields)[:2] == (param, code)


def test_the_words_are_openais() -> None:
    assert refused(temperature=5)[2] == (
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 5 instead."
    )
    assert refused(messages="hi")[2] == (
        "Invalid type for 'messages': expected an array of objects, but got a string instead."
    )
    assert refused(model=...)[2] == "you must provide a model parameter"


def test_only_the_backup_refuses_what_openai_does_not_know() -> None:
    assert refused("backup", brand_new=1) == ("brand_new", "unknown_parameter", "Unknown parameter: 'brand_new'.")
    assert refused("backup", reasoning_effort="low")[:2] == ("reasoning_effort", "unsupported_parameter")
    taken("api", brand_new=1, reasoning_effort="low")
    taken("proxy", brand_new=1)
    opened = answer_chat(body(brand_new=1, tools=[{"type": "web_search"}]), Options(any_fields=1), id="x", created=0)
    assert isinstance(opened, Reply)
    assert opened.status == 200
    taken("backup", model="claude-sonnet-4-6", thinking={"type": "enabled"})


def test_what_openai_knows_is_taken() -> None:
    fields: dict[str, Any] = {
        **{"temperature": 2, "top_p": 0, "n": 2, "stop": "x", "seed": -1, "logprobs": True, "top_logprobs": 0},
        **{"user": "u", "store": False, "metadata": {}, "logit_bias": {}, "modalities": ["text"], "verbosity": "low"},
        **{"service_tier": "auto", "prompt_cache_key": "k", "safety_identifier": "s", "prediction": {}},
        **{"tools": TOOLS, "tool_choice": "auto", "parallel_tool_calls": True, "response_format": {"type": "text"}},
        **{"stream": True, "stream_options": {"include_usage": False}, "web_search_options": {}, "max_tokens": 9},
    }
    taken(**fields)
    taken(**dict.fromkeys(fields), model="gpt-4o")
