"""What clients may ask of chat completions, and what an upstream is asked instead."""

from __future__ import annotations

import copy
import dataclasses
import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import completion_create_params as sdk

from gateway.core.errors import ClientError, model_not_allowed, model_not_found
from gateway.core.types import NO_WISHES, STEERING_FIELDS, Wish
from gateway.wire.chat_request import (
    CHAT_PARAMETERS,
    parse_chat_request,
    unknown_fields,
    upstream_body,
    without_withheld,
)

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
        ({"messages": {"role": "user", "content": "x"}}, "messages", "invalid_type"),
        ({"messages": [USER, None]}, "messages[1]", "invalid_type"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 129}, "n", "invalid_value"),
        ({"n": 1.0}, "n", "invalid_type"),
        ({"n": True}, "n", "invalid_type"),
        ({"n": "2"}, "n", "invalid_type"),
        ({"stream": "true"}, "stream", "invalid_type"),
        ({"stream": 1}, "stream", "invalid_type"),
        ({"stream": True, "stream_options": []}, "stream_options", "invalid_type"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage", "invalid_type"),
        ({"stream_options": []}, "stream_options", "invalid_type"),
        ({"stream": False, "stream_options": {"include_usage": "yes"}}, "stream_options.include_usage", "invalid_type"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens", "invalid_type"),
        ({"max_tokens": -1}, "max_tokens", "invalid_value"),
        ({"max_tokens": "100"}, "max_tokens", "invalid_type"),
        ({"max_tokens": True}, "max_tokens", "invalid_type"),
        ({"max_tokens": 10.0}, "max_tokens", "invalid_type"),
        ({"max_completion_tokens": {}}, "max_completion_tokens", "invalid_type"),
    ],
)
def test_a_wrong_field_is_named(change, param, code):
    body = {name: value for name, value in {**HELLO, **change}.items() if value is not None}
    error = refusal(body)
    assert (error.param, error.code) == (param, code)
    assert len(error.message) < 300


ODD = (
    {"temperature": 5, "top_p": -3, "logprobs": "x", "top_logprobs": 500, "seed": 2**64 - 1, "stop": 5},
    {"reasoning_effort": {"level": "xxhigh"}, "response_format": "json", "user": {}, "metadata": [1], "logit_bias": 7},
    {"tools": {}, "tool_choice": 1, "functions": 1, "function_call": []},
    {"tools": [1, None, {"function": {"name": "f"}}, {"type": "function"}, {"type": "newer", "newer": {}}]},
    {"max_token": 5, "top_a": 1, "x" * 500: 1, "": {}, "reasoning": {"max_tokens": 5}, "extra_body": {"a": 1}},
    {"messages": [{}, {"role": "robot"}, {"role": 1}, {"role": None, "content": None}, {"made_up": {"deep": [1]}}]},
    {"messages": [{"role": "user", "content": content} for content in (5, {}, [], [1], ["x"], [[]], [{}], True)]},
    {"messages": [{**USER, "content": [{"text": "no type"}, {"type": "text"}, {"type": 5, "text": {}}]}]},
    {
        "messages": [
            {**USER, "content": [{"type": "image_url", "image_url": url} for url in ("https://x", 1, {}, None)]}
        ]
    },
    {"messages": [{**USER, "name": 1, "refusal": {}, "tool_call_id": 5, "audio": 1, "function_call": "x"}]},
    {"messages": [{"role": "assistant", "tool_calls": calls} for calls in ({}, 1, [1], [{"function": {"name": "f"}}])]},
    {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}]},
    {"stream": True, "stream_options": {"include_usage": None, "include_obfuscation": 5, "newer": {}}},
)


@pytest.mark.parametrize("fields", ODD, ids=range(len(ODD)))
def test_what_the_gateway_does_not_act_on_goes_upstream_unchanged(fields):
    body = {**HELLO, **fields}
    sent = orjson.loads(upstream_body(parse_chat_request(copy.deepcopy(body)), "m"))
    options = {**body.get("stream_options", {}), "include_usage": True}
    assert sent == {**body, "model": "m", "stream": True, "stream_options": options}


VALUES = st.recursive(
    st.text(max_size=3)
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300)
@given(
    st.dictionaries(st.sampled_from(["temperature", "tools", "stop", "x", "é", "", "model ", "Stream"]), VALUES),
    st.none() | st.booleans(),
    st.none() | st.dictionaries(st.sampled_from(["include_usage", "newer"]), st.none() | st.booleans()),
    st.sets(st.sampled_from(list(Wish))),
    st.integers(0, 1 << 24),
)
def test_what_is_sent_is_the_document_but_for_what_is_asked_another_way(fields, stream, options, wishes, size):
    body = {**HELLO, **fields, "stream": stream, "stream_options": options}
    request = parse_chat_request(copy.deepcopy(body), size, long_texts=size % 2 == 1)
    wanted = {**request.body, "model": "m"}
    if Wish.STREAM in wishes:
        wanted["stream"] = True
    if Wish.STREAM_OPTIONS in wishes:
        wanted["stream_options"] = {**(request.body.get("stream_options") or {}), "include_usage": True}
    for _ in range(2):  # written once, for every attempt
        pairs = json.loads(upstream_body(request, "m", frozenset(wishes)), object_pairs_hook=list)
        assert len({name for name, _ in pairs}) == len(pairs), "no name comes twice"
        assert orjson.loads(upstream_body(request, "m", frozenset(wishes))) == wanted
    assert request.body.keys() - body.keys() == set()


def test_a_request_made_of_another_is_written_anew():
    request = parse_chat_request({**HELLO, "models": ["a"], "top_p": 1})
    assert b"models" in upstream_body(request, "m")
    without, _ = without_withheld(request, frozenset())
    assert orjson.loads(upstream_body(without, "m")).keys() == {
        "model",
        "messages",
        "top_p",
        "stream",
        "stream_options",
    }


def test_fields_without_a_meaning_here_are_only_an_upstreams_to_obey():
    """They would choose a host, a key, a header or a callback elsewhere; nothing of this gateway reads them."""
    names = (
        *(
            "headers",
            "extra_headers",
            "extra_query",
            "user_config",
            "callbacks",
            "callback_url",
            "proxy",
            "organization",
        ),
        *("upstream", "endpoint", "timeout", "litellm_params", "mock_response", "webhook", "webhook_url", "transforms"),
    )
    request = parse_chat_request({**HELLO, **dict.fromkeys(names, "https://attacker.example")})
    assert (request.withheld, unknown_fields(request)) == ((), sorted(names))


class TestWithheldFields:
    """Fields by which some upstreams choose another model, place or key."""

    @pytest.mark.parametrize("name", [*STEERING_FIELDS, "webhook_config"])
    def test_go_to_no_upstream_and_are_named(self, name):
        asked = parse_chat_request({**HELLO, name: ["x"], "top_a": 1})
        request, note = without_withheld(asked, frozenset())
        assert request.body == {**HELLO, "top_a": 1}
        assert note == f"ignored: {name}"
        assert asked.body[name] == ["x"]

    def test_go_where_they_are_configured_to(self):
        asked = parse_chat_request({**HELLO, "provider": {"order": ["a"]}, "models": ["b"], "route": "fallback"})
        request, note = without_withheld(asked, frozenset({"provider", "plugins"}))
        assert request.body == {**HELLO, "provider": {"order": ["a"]}}
        assert note == "ignored: models, route"
        assert without_withheld(asked, frozenset(STEERING_FIELDS))[1] is None

    def test_are_not_worth_a_note_without_a_value(self):
        request, note = without_withheld(parse_chat_request({**HELLO, "models": None}), frozenset())
        assert (request.body, note) == (HELLO, None)

    def test_a_callback_goes_nowhere(self):
        asked = parse_chat_request({**HELLO, "webhook_config": {"endpoint": "https://attacker.example"}})
        request, note = without_withheld(asked, frozenset({*STEERING_FIELDS, "webhook_config"}))
        assert "webhook_config" not in orjson.loads(upstream_body(request, "m"))
        assert note == "ignored: webhook_config"

    @pytest.mark.parametrize("more", [{}, {"service_mode": "private"}])
    def test_nor_does_one_in_config_where_piapis_tasks_have_it(self, more):
        sent = {"webhook_config": {"endpoint": "https://attacker.example"}, **more}
        asked = parse_chat_request({**HELLO, "config": sent})
        request, note = without_withheld(asked, frozenset(STEERING_FIELDS))
        assert request.body == ({**HELLO, "config": more} if more else HELLO)
        assert note == "ignored: config.webhook_config"
        assert asked.body["config"] is sent
        for harmless in ({"config": "webhook_config"}, {"config": more}, {"config": ["webhook_config"]}):
            assert parse_chat_request({**HELLO, **harmless}).withheld == ()

    def test_are_the_top_levels_only(self):
        body = {**HELLO, "metadata": {"provider": "x"}, "tools": [{"webhook_config": 1}]}
        assert without_withheld(parse_chat_request(body), frozenset())[0].body is body

    def test_are_nothing_unknown(self):
        assert unknown_fields(parse_chat_request({**HELLO, "provider": {}, "newer": 1, "none": None})) == ["newer"]


@pytest.mark.parametrize("stream", [{}, {"stream": False}, {"stream": None}])
def test_stream_options_without_a_stream_mean_nothing(stream):
    body = {**HELLO, **stream, "stream_options": {"include_usage": True, "newer": 1}}
    request = parse_chat_request(body)
    assert request.body == {**HELLO, **stream}
    assert "stream_options" in body


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


@given(
    st.dictionaries(st.sampled_from([*sorted(CHAT_PARAMETERS), "newer", "provider"]), anything, max_size=5),
    st.booleans(),
)
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
        dropped = set() if request.stream else {"stream_options"}
        assert request.body == {name: value for name, value in body.items() if name not in dropped or value is None}
        assert 1 <= request.n <= 128
