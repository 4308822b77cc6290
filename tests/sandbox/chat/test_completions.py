"""Honest chat answers: what OpenAI would send, and the same every time."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.chat.completions import answer_chat, prompt_tokens
from gateway.sandbox.chat.tool_calls import example_of
from gateway.sandbox.images.image_chat import answer_image_chat
from gateway.sandbox.wire.answers import EventStream, Reply
from gateway.sandbox.wire.options import Options

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}},
            },
        },
    }
    for name in ("get_weather", "get_time")
]


def whole(options: Options | None = None, **fields: Any) -> Any:
    reply = answer_chat(body(**fields), options or Options(), id="chatcmpl-1", created=5)
    assert isinstance(reply, Reply)
    return orjson.loads(reply.body)


def streamed(options: Options | None = None, **fields: Any) -> list[Any]:
    stream = answer_chat(body(**fields, stream=True), options or Options(), id="chatcmpl-1", created=5)
    assert isinstance(stream, EventStream)
    return [orjson.loads(event.data) for event in stream.events if event.kind != "done"]


def body(prompt: str = "hello there", **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}], **fields}


def test_the_same_question_gets_the_same_answer() -> None:
    assert whole() == whole()
    assert whole()["choices"][0]["message"]["content"].endswith("You said: hello there")
    assert whole(prompt="bye")["choices"] != whole()["choices"]


def test_a_stream_is_the_whole_answer_in_pieces() -> None:
    chunks = streamed(stream_options={"include_usage": True})

    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1])
    assert text == whole()["choices"][0]["message"]["content"]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole()["usage"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}


def test_usage_only_comes_when_it_is_asked_for() -> None:
    assert not any("usage" in chunk for chunk in streamed())


def test_tokens_follow_the_documented_rule() -> None:
    messages = [
        {"role": "system", "content": "be kind"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "one two three"}, {"type": "image_url", "image_url": {}}],
        },
        {"role": "assistant", "content": None},
    ]
    assert prompt_tokens(messages) == 3 + (4 + 2) + (4 + 3 + 85) + 4

    usage = whole(Options(cached=4))["usage"]
    pieces = [chunk for chunk in streamed() if chunk["choices"][0]["delta"].get("content")]
    assert usage["prompt_tokens"] == 3 + 4 + 2
    assert usage["completion_tokens"] == len(pieces)
    assert usage["total_tokens"] == usage["prompt_tokens"] + len(pieces)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 4
    assert whole(Options(cached=1000))["usage"]["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"]


def test_several_choices_are_streamed_in_turn() -> None:
    chunks = streamed(n=3)
    contents = [chunk["choices"][0]["index"] for chunk in chunks if chunk["choices"][0]["delta"].get("content")]

    assert contents[:6] == [0, 1, 2, 0, 1, 2]
    assert [choice["index"] for choice in whole(n=3)["choices"]] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in whole(n=3)["choices"]}) == 3


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


def test_tools_are_left_alone_when_nobody_wants_them() -> None:
    assert "tool_calls" not in whole(tools=TOOLS)["choices"][0]["message"]
    assert "tool_calls" not in whole(prompt="get_time", tools=TOOLS, tool_choice="none")["choices"][0]["message"]


def test_a_tools_result_is_told() -> None:
    messages = [{"role": "user", "content": "get_time"}, {"role": "tool", "tool_call_id": "a", "content": "noon"}]

    message = whole(messages=messages, tools=TOOLS)["choices"][0]["message"]
    assert message["content"] == "Sandbox ✓ The tool said: noon"


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


def streamed_text(chunks: list[Any], field: str) -> str:
    return "".join(chunk["choices"][0]["delta"].get(field) or "" for chunk in chunks if chunk["choices"])


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

    first = whole(response_format={"type": "json_object"})["choices"][0]["message"]["content"]
    second = whole(response_format=by_schema)["choices"][0]["message"]["content"]
    assert orjson.loads(first) == {"sandbox": True, "you_said": "hello there"}
    assert orjson.loads(second) == {"name": "hello there", "tags": ["hello there"]}


def test_examples_fit_their_schema_and_end() -> None:
    endless: dict[str, Any] = {"type": "array"}
    endless["items"] = endless

    assert example_of({"type": "boolean"}, "x") is True
    assert example_of({"type": "null"}, "x") is None
    assert example_of({"type": ["string", "null"]}, "x") == "x"
    assert orjson.dumps(example_of(endless, "x")).count(b"[") == 8


def test_an_answer_can_be_cut_to_size() -> None:
    short = whole(max_tokens=3)["choices"][0]
    assert (short["message"]["content"], short["finish_reason"]) == ("Sandbox ✓ This", "length")
    assert whole(max_completion_tokens=2)["usage"]["completion_tokens"] == 2

    assert whole(Options(chunks=1000))["usage"]["completion_tokens"] == 1000
    assert [chunk["choices"][0]["delta"].get("content") for chunk in streamed(Options(chunk_size=4))][1:3] == [
        "Sand",
        "box ",
    ]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"model": "unheard-of"}, 404),
        ({"model": 4}, 400),
        ({"messages": []}, 400),
        ({"messages": "hi"}, 400),
        ({"messages": ["hi"]}, 400),
        ({"n": 0}, 400),
        ({"n": "2"}, 400),
    ],
)
def test_what_openai_would_refuse_is_refused(fields: dict[str, Any], status: int) -> None:
    reply = answer_chat(body(**fields), Options(), id="x", created=0)

    assert isinstance(reply, Reply)
    assert reply.status == status
    assert reply.sale is None


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-4-gizmo-g-abc", "claude-sonnet-4-20250514", "o3-mini"])
def test_whole_families_of_models_are_known(model: str) -> None:
    assert whole(model=model)["model"] == model


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.text(max_size=5) | st.just("object"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ("role", "content", "text", "type", "function", "name", "parameters", "properties", "items", "enum")
            )
            | st.sampled_from(("json_schema", "schema", "include_usage", "image_url")),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
FIELDS = ("messages", "n", "tools", "tool_choice", "functions", "function_call", "response_format", "stream_options")


@given(st.dictionaries(st.sampled_from((*FIELDS, "stream", "max_tokens", "logprobs", "model")), ANY_JSON))
def test_no_json_upsets_it(fields: dict[str, Any]) -> None:
    """Whatever a client sends is answered or refused; a stream and its whole form never disagree about that."""
    request = {**body(), **fields}
    for answer in (
        answer_chat(request, Options(), id="x", created=0),
        answer_image_chat({**request, "model": "gpt-4o-image"}, Options(), id="x", created=0, site="http://x"),
    ):
        if isinstance(answer, EventStream):
            assert list(answer.events)[-1].data == b"[DONE]"
            answer = answer.whole
        assert answer.status in (200, 400, 404)
