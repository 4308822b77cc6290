"""Assistant messages: their parts, their length, and the same text in pieces."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.sandbox.wire.options import Options
from tests.sandbox.chat.answers import TOOLS, streamed, whole


def streamed_text(chunks: list[Any], field: str) -> str:
    return "".join(chunk["choices"][0]["delta"].get(field) or "" for chunk in chunks if chunk["choices"])


def test_a_tools_result_is_told() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "get_time"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "noon"},
    ]

    message = whole(messages=messages, tools=TOOLS)["choices"][0]["message"]
    assert message["content"] == "Sandbox ✓ The tool said: noon"


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


def test_as_many_probable_tokens_as_were_asked_for() -> None:
    told = whole(logprobs=True, top_logprobs=3)["choices"][0]["logprobs"]
    assert told["refusal"] is None
    for token in told["content"]:
        likely = token["top_logprobs"]
        assert len(likely) == 3
        assert likely[0] == {name: token[name] for name in ("token", "logprob", "bytes")}
        assert [one["logprob"] for one in likely] == sorted((one["logprob"] for one in likely), reverse=True)
    refused = whole(Options(refusal=1), logprobs=True)["choices"][0]["logprobs"]
    assert refused["content"] is None
    assert "".join(token["token"] for token in refused["refusal"]) == "Sandbox: I will not answer that."


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        ("answer", "Sandbox ✓ This is a simulated "),
        (["no model", "simulated"], "Sandbox ✓ This is a "),
        (["not there"], None),
        ("S", ""),
        (" ✓ T", "Sandbox"),
    ],
)
def test_stop_sequences_end_the_text_before_them(stop: Any, text: str | None) -> None:
    choice = whole(stop=stop)["choices"][0]
    assert choice["message"]["content"] == (whole()["choices"][0]["message"]["content"] if text is None else text)
    assert choice["finish_reason"] == "stop"
    assert streamed_text(streamed(stop=stop), "content") == choice["message"]["content"]


def test_several_results_are_told_under_their_tools_names() -> None:
    calls = [
        {"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}}
        for id, name in (("a", "get_time"), ("b", "get_weather"))
    ]
    messages = [
        {"role": "user", "content": "get_time and get_weather"},
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "sunny"}]},
        {"role": "tool", "tool_call_id": "a", "content": "noon"},
    ]
    said = whole(messages=messages, tools=TOOLS)["choices"][0]["message"]["content"]
    assert said == "Sandbox ✓ The tools said: get_weather: sunny; get_time: noon"
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"properties": {"a": {"type": "string"}}}}}
    shaped = whole(messages=messages, tools=TOOLS, response_format=format)["choices"][0]["message"]["content"]
    assert orjson.loads(shaped) == {"a": "get_weather: sunny; get_time: noon"}
    asked = [*messages, {"role": "user", "content": "thanks"}]
    assert whole(messages=asked, tools=TOOLS)["choices"][0]["message"]["content"].endswith("You said: thanks")


def test_sound_has_a_place_of_its_own() -> None:
    sound = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "pcm16"}}
    message = whole(**sound)["choices"][0]["message"]
    pieces = [chunk["choices"][0]["delta"].get("audio") or {} for chunk in streamed(**sound)]

    assert message["content"] is None
    assert set(message["audio"]) == {"id", "data", "expires_at", "transcript"}
    assert message["audio"]["transcript"] == "".join(piece.get("transcript", "") for piece in pieces)
    assert message["audio"]["data"] == "".join(piece.get("data", "") for piece in pieces)


def test_json_is_answered_with_json() -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}, "tags": {"type": "array"}}}
    by_schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    first = whole(prompt="hello in JSON", response_format={"type": "json_object"})["choices"][0]["message"]["content"]
    second = whole(response_format=by_schema)["choices"][0]["message"]["content"]
    assert orjson.loads(first) == {"sandbox": True, "you_said": "hello in JSON"}
    assert orjson.loads(second) == {"name": "hello there", "tags": ["hello there"]}


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
    "messages",
    [
        [{"role": "user", "content": "hello"}, {"role": "system", "content": "Be brief."}],
        [{"role": "user", "content": "hello"}, {"role": "developer", "content": "Be brief."}],
        [{"role": "user", "content": "<system-reminder>\nToday is\nSunday.\n</system-reminder>\nhello"}],
    ],
    ids=["aider", "as a developer", "Claude Code"],
)
def test_what_agents_add_for_the_model_is_not_what_the_user_said(messages: list[dict[str, str]]) -> None:
    text = whole(messages=messages)["choices"][0]["message"]["content"]
    assert text.endswith("You said: hello")
