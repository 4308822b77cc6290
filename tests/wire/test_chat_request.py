"""What clients may ask of chat completions, and what an upstream is asked instead."""

from __future__ import annotations

import copy
import dataclasses

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import completion_create_params as sdk

from gateway.core.errors import ClientError, model_not_allowed, model_not_found
from gateway.core.types import NO_WISHES, Wish
from gateway.wire.chat_request import CHAT_PARAMETERS, parse_chat_request, upstream_body

HELLO = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
USER = {"role": "user", "content": "hello"}


def refusal(body: dict) -> ClientError:
    with pytest.raises(ClientError) as caught:
        parse_chat_request(body)
    assert (caught.value.status, caught.value.type) == (400, "invalid_request_error")
    assert f"'{caught.value.param}'" in caught.value.message
    return caught.value


def test_every_parameter_of_the_sdk_is_known_and_only_two_more():
    theirs = {
        name
        for params in (sdk.CompletionCreateParamsNonStreaming, sdk.CompletionCreateParamsStreaming)
        for base in (params, *params.__orig_bases__)
        for name in base.__annotations__
    }
    assert "temperature" in theirs
    assert "stream" in theirs
    assert CHAT_PARAMETERS - theirs == {"thinking", "top_k"}
    assert theirs - CHAT_PARAMETERS == set()


@pytest.mark.parametrize(
    "model", ["", "m" * 257, "m" * 5_000_000, "a b", "a\tb", "a\n", "w-\x1b[31m", "a\u2028", "\u00a0"]
)
def test_a_models_name_is_short_and_can_be_shown(model):
    error = refusal({**HELLO, "model": model})
    assert (error.code, error.param) == ("invalid_value", "model")
    assert len(error.message) < 120


@pytest.mark.parametrize("model", ["m", "m" * 256, "openai/gpt-4o:free", "模型", "a*"])
def test_any_other_name_may_be_a_models(model):
    assert parse_chat_request({**HELLO, "model": model}).model == model


def test_errors_repeat_only_the_beginning_of_a_models_name():
    for error in (model_not_found("m" * 256), model_not_allowed("m" * 256)):
        assert f"'{'m' * 64}…'" in error.message
        assert "m" * 65 not in error.message


def test_a_request_with_everything_is_accepted():
    body = {
        "model": "gpt-4o",
        "messages": [
            {"role": "developer", "content": "be brief", "name": "ops"},
            {"role": "system", "content": [{"type": "text", "text": "be kind"}]},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                    {"type": "file", "file": {"file_id": "file-1"}},
                    {"type": "document", "anything": 1},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                    {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "x"}},
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}, "audio": {"id": "a"}},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            {"role": "function", "name": "f", "content": "1", "made_up": {"api_base": "data, not an order"}},
        ],
        "audio": {"voice": "alloy", "format": "wav"},
        "frequency_penalty": -2,
        "function_call": {"name": "f"},
        "functions": [{"name": "f"}],
        "logit_bias": {"50256": -100, "1": 0.5},
        "logprobs": True,
        "max_completion_tokens": 10,
        "max_tokens": 20,
        "metadata": {"a": "b"},
        "modalities": ["text"],
        "n": 128,
        "parallel_tool_calls": False,
        "prediction": {"type": "content", "content": "x"},
        "presence_penalty": 2.0,
        "reasoning_effort": "low",
        "response_format": {"type": "json_object"},
        "seed": -1,
        "service_tier": "auto",
        "stop": ["a", "b"],
        "store": False,
        "stream": True,
        "stream_options": {"include_usage": True, "include_obfuscation": False, "other": 1},
        "temperature": 0,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": {}}},
            {"type": "custom", "custom": {"name": "g"}},
        ],
        "top_k": 5,
        "top_logprobs": 20,
        "top_p": 1,
        "user": "u",
        "verbosity": "low",
        "web_search_options": {},
    }
    request = parse_chat_request(body)
    assert (request.model, request.stream, request.include_usage, request.n) == ("gpt-4o", True, True, 128)
    assert request.max_output_tokens == 20
    assert request.body is body


def test_a_request_with_nothing_but_the_necessary_has_openais_defaults():
    request = parse_chat_request(HELLO)
    assert (request.stream, request.include_usage, request.n, request.max_output_tokens) == (False, False, 1, None)
    assert [field.name for field in dataclasses.fields(request)][:2] == ["model", "stream"]


def test_null_is_the_same_as_absent():
    nulls = dict.fromkeys(CHAT_PARAMETERS - {"model", "messages"})
    assert parse_chat_request({**HELLO, **nulls}).n == 1
    assert not parse_chat_request({**HELLO, "stream": True, "stream_options": {"include_usage": None}}).include_usage
    assert parse_chat_request({**HELLO, "stop": "x", "tool_choice": "auto", "function_call": "none"}).n == 1


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": ""}, "model", "invalid_value"),
        ({"model": ["gpt-4o"]}, "model", "invalid_type"),
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": "hello"}, "messages", "invalid_type"),
        ({"messages": ["hello"]}, "messages[0]", "invalid_type"),
        ({"messages": [USER, {"content": "x"}]}, "messages[1].role", "missing_required_parameter"),
        ({"messages": [{"role": 1}]}, "messages[0].role", "invalid_type"),
        ({"messages": [{"role": "robot"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": {}}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]", "invalid_type"),
        (
            {"messages": [{"role": "user", "content": [{}]}]},
            "messages[0].content[0].type",
            "missing_required_parameter",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
            "missing_required_parameter",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "https://x"}]}]},
            "messages[0].content[0].image_url",
            "invalid_type",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": 1}}]}]},
            "messages[0].content[0].image_url.url",
            "invalid_type",
        ),
        ({"messages": [{**USER, "name": 1}]}, "messages[0].name", "invalid_type"),
        ({"messages": [{**USER, "tool_calls": {}}]}, "messages[0].tool_calls", "invalid_type"),
        ({"messages": [{**USER, "tool_calls": [1]}]}, "messages[0].tool_calls[0]", "invalid_type"),
        (
            {"messages": [{**USER, "tool_calls": [{"function": {"name": "f"}}]}]},
            "messages[0].tool_calls[0].function.arguments",
            "missing_required_parameter",
        ),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 129}, "n", "invalid_value"),
        ({"n": 1.0}, "n", "invalid_type"),
        ({"n": True}, "n", "invalid_type"),
        ({"n": "2"}, "n", "invalid_type"),
        ({"stream": "true"}, "stream", "invalid_type"),
        ({"stream": 1}, "stream", "invalid_type"),
        ({"stream": True, "stream_options": []}, "stream_options", "invalid_type"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage", "invalid_type"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"stream": False, "stream_options": {}}, "stream_options", "invalid_value"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"temperature": False}, "temperature", "invalid_type"),
        ({"temperature": 2.1}, "temperature", "invalid_value"),
        ({"temperature": float("nan")}, "temperature", "invalid_value"),
        ({"temperature": float("inf")}, "temperature", "invalid_value"),
        ({"top_p": -0.1}, "top_p", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens", "invalid_type"),
        ({"seed": 2**63}, "seed", "invalid_value"),
        ({"stop": 1}, "stop", "invalid_type"),
        ({"stop": {}}, "stop", "invalid_type"),
        ({"stop": [1]}, "stop[0]", "invalid_type"),
        ({"logit_bias": {"1": "much"}}, "logit_bias.1", "invalid_type"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1", "invalid_value"),
        ({"tools": {}}, "tools", "invalid_type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name", "missing_required_parameter"),
        ({"tools": [{"function": {"name": "f"}}]}, "tools[0].type", "missing_required_parameter"),
        ({"tool_choice": []}, "tool_choice", "invalid_type"),
        ({"tool_choice": 1}, "tool_choice", "invalid_type"),
        ({"response_format": "json"}, "response_format", "invalid_type"),
        ({"user": {}}, "user", "invalid_type"),
        ({"api_base": "https://attacker.example"}, "api_base", "unknown_parameter"),
        ({"max_token": None}, "max_token", "unknown_parameter"),
        ({"x" * 500: 1}, "x" * 64 + "…", "unknown_parameter"),
    ],
)
def test_a_wrong_field_is_named(change, param, code):
    body = {name: value for name, value in {**HELLO, **change}.items() if value is not None or name == "max_token"}
    error = refusal(body)
    assert (error.param, error.code) == (param, code)
    assert len(error.message) < 300


def test_nothing_that_could_steer_the_gateway_is_accepted():
    for name in (
        *("api_base", "base_url", "api_key", "headers", "extra_headers", "user_config", "webhook_config", "callbacks"),
        *("callback_url", "proxy", "organization", "upstream", "endpoint", "timeout", "litellm_params"),
    ):
        assert refusal({**HELLO, name: "https://attacker.example"}).code == "unknown_parameter"


def test_the_upstream_is_always_asked_for_a_stream_with_usage():
    before = copy.deepcopy(HELLO)
    sent = orjson.loads(upstream_body(parse_chat_request(HELLO), "upstream-model"))
    assert sent == {
        "model": "upstream-model",
        "messages": HELLO["messages"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert before == HELLO


def test_the_clients_other_stream_options_are_kept():
    options = {"include_usage": False, "include_obfuscation": False}
    body = {**HELLO, "stream": True, "stream_options": options}
    sent = orjson.loads(upstream_body(parse_chat_request(body), "m"))
    assert sent["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    assert options == {"include_usage": False, "include_obfuscation": False}
    sent = orjson.loads(upstream_body(parse_chat_request({**HELLO, "stream_options": None}), "m"))
    assert sent["stream_options"] == {"include_usage": True}


def test_what_an_upstream_refuses_is_as_the_client_sent_it():
    body = {**HELLO, "stream": False, "stream_options": None}
    assert orjson.loads(upstream_body(parse_chat_request(body), "m", NO_WISHES)) == {**body, "model": "m"}
    sent = orjson.loads(upstream_body(parse_chat_request(HELLO), "m", frozenset({Wish.STREAM})))
    assert sent == {**HELLO, "model": "m", "stream": True}


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 200) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "function", "name"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(CHAT_PARAMETERS)), anything, max_size=5), st.booleans())
def test_any_values_give_a_request_or_a_400_that_names_a_field(fields, complete):
    body = {**fields, **HELLO} if complete else fields
    try:
        request = parse_chat_request(body)
    except ClientError as error:
        # The faulty field is one of those sent, or one that is missing.
        named = str(error.param).partition("[")[0].partition(".")[0]
        if named not in body:
            named = {"model": "missing", "messages": "missing"}[named]
    else:
        assert request.body is body
        assert 1 <= request.n <= 128
