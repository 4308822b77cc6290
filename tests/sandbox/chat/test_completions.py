"""Honest chat completions: what OpenAI would send, and the same every time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.chat.completions import answer_chat, prompt_tokens
from gateway.sandbox.images.image_chat import answer_image_chat
from gateway.sandbox.wire.answers import EventStream, Reply
from gateway.sandbox.wire.options import Options
from tests.sandbox.chat.answers import body, streamed, whole


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
    """Any JSON is answered or refused; a stream and its whole form never disagree about that."""
    request = {**body(), **fields}
    for answer in (
        answer_chat(request, Options(), id="x", created=0),
        answer_image_chat({**request, "model": "gpt-4o-image"}, Options(), id="x", created=0, site="http://x"),
    ):
        if isinstance(answer, EventStream):
            assert list(answer.events)[-1].data == b"[DONE]"
            answer = answer.whole
        assert answer.status in (200, 400, 404)
