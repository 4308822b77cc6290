"""What the chunks of a stream say, told from the shapes seen on the wire."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk

from gateway.core.types import Usage
from gateway.wire.chat_chunk import (
    ChunkFacts,
    InBandError,
    chunk_facts,
    completion_as_chunks,
    error_of,
    read_usage,
    strip_usage,
    usage_chunk,
    write_usage,
)
from gateway.wire.sse import DONE, SSEParser


def chunk(delta: object = None, **choice: object) -> dict:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1760339757,
        "model": "gpt-4o",
        "choices": [{"index": 0, "delta": {} if delta is None else delta, "finish_reason": None, **choice}],
    }


def deep(levels: int) -> object:
    """A value as orjson reads it and cannot write it, from 255 levels on."""
    return orjson.loads(b"[" * levels + b"]" * levels)


def test_a_content_chunk():
    assert chunk_facts(chunk({"content": " hello"})) == ChunkFacts(meaningful=True, text=(" hello",))


@pytest.mark.parametrize(
    "delta",
    [
        {},
        {"role": "assistant"},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": None, "refusal": None, "tool_calls": [], "audio": {}},
        {"role": "assistant", "content": "", "reasoning_content": ""},
        {"content": "", "padding": 5, "done": True},
    ],
)
def test_a_role_or_an_empty_delta_means_nothing(delta):
    assert chunk_facts(chunk(delta)) == ChunkFacts()


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        ({"content": " "}, [" "]),
        ({"refusal": "I cannot"}, ["I cannot"]),
        ({"reasoning": "hm"}, ["hm"]),
        ({"reasoning_content": "hm"}, ["hm"]),
        ({"reasoning_content": "hm", "reasoning": "hm"}, ["hm"]),
        ({"reasoning_content": None, "reasoning": "hm"}, ["hm"]),
        ({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]}, ["f", ""]),
        ({"tool_calls": [{"index": 0, "function": {"arguments": '{"a'}}, "odd", {"index": 1}]}, ['{"a']),
        ({"tool_calls": [{"index": 0, "custom": {"name": "g", "input": "x"}}]}, ["g", "x"]),
        ({"tool_calls": {"odd": 1}}, []),
        ({"function_call": {"name": "f", "arguments": "{}"}}, ["f", "{}"]),
        ({"audio": {"data": "AAAA"}}, []),
        ({"images": [{"type": "image_url"}]}, []),
        ({"annotations": [{"type": "url_citation"}]}, []),
        ({"some_new_text": "x"}, []),
    ],
)
def test_what_a_reader_would_miss_is_meaningful(delta, text):
    assert chunk_facts(chunk({"role": "assistant", **delta})) == ChunkFacts(meaningful=True, text=tuple(text))


def test_finish_reasons_by_choice():
    two = chunk({"content": "x"})
    two["choices"].append({"index": 1, "delta": {"content": "y"}, "finish_reason": "length"})
    assert chunk_facts(two, n=2) == ChunkFacts(meaningful=True, text=("x", "y"), finish={1: "length"})
    assert chunk_facts(chunk(finish_reason="stop")).finish == {0: "stop"}
    without_index = {"choices": [{"delta": None, "finish_reason": "stop"}]}
    assert chunk_facts(without_index).finish == {0: "stop"}


@pytest.mark.parametrize(
    ("document", "event", "error"),
    [
        (
            {
                "error": {
                    "message": "slow down",
                    "type": "rate_limit_error",
                    "param": None,
                    "code": "rate_limit_exceeded",
                }
            },
            None,
            InBandError("slow down", "rate_limit_error", None, "rate_limit_exceeded"),
        ),
        ({"error": {"message": "m", "code": 429}}, b"error", InBandError("m", code="429", status=429)),
        ({"error": {"message": "m", "code": "503"}}, None, InBandError("m", code="503", status=503)),
        ({"error": {"message": "m", "status_code": 500, "code": "x"}}, None, InBandError("m", code="x", status=500)),
        ({"error": {"message": "", "raw_message": "raw"}}, None, InBandError("raw")),
        ({"error": {"param": "n"}}, None, InBandError("an error without words", param="n")),
        ({"error": "timeout"}, None, InBandError("timeout")),
        (
            {"error": "generation_failed", "code": "generation_failed"},
            None,
            InBandError("generation_failed", code="generation_failed"),
        ),
        ({"error": True}, None, InBandError("an error without words")),
        ({"message": "flat", "type": "server_error"}, b"error", InBandError("flat", "server_error")),
        ({"message": "flat", "code": "slow_down"}, None, InBandError("flat", code="slow_down")),
        ({}, b"error", InBandError("an error without words")),
        (
            {"code": 400, "message": "invalid model", "data": None},
            None,
            InBandError("invalid model", code="400", status=400),
        ),
        ({"code": 10001, "message": "too many requests"}, None, InBandError("too many requests", code="10001")),
        ({**chunk(), "error": {"message": "m"}}, None, InBandError("m")),
        (chunk({"error": "timeout"}), None, InBandError("timeout")),
        (chunk({"error": {"message": "m", "code": 502}}), None, InBandError("m", code="502", status=502)),
    ],
)
def test_errors_in_every_shape_they_come_in(document, event, error):
    assert chunk_facts(document, event=event) == ChunkFacts(error=error)


@pytest.mark.parametrize(
    "document", [{**chunk({"content": "x"}), "error": None}, {**chunk({"content": "x"}), "code": 7}]
)
def test_what_only_looks_like_an_error_is_none(document):
    assert chunk_facts(document).error is None
    assert chunk_facts(document).meaningful


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ("text", "not an object"),
        ([chunk()], "not an object"),
        (None, "not an object"),
        ({}, "choices is not an array"),
        ({"code": 200, "message": "success", "data": {}}, "choices is not an array"),
        ({"choices": {}}, "choices is not an array"),
        ({"choices": ["x"]}, "a choice is not an object"),
        (chunk({"content": "x"}, index=1), "a choice has an index that was not asked for"),
        (chunk({"content": "x"}, index=-1), "a choice has an index that was not asked for"),
        (chunk({"content": "x"}, index="0"), "a choice has an index that was not asked for"),
        (chunk({"content": "x"}, index=False), "a choice has an index that was not asked for"),
        (chunk("x"), "a delta is not an object"),
    ],
)
def test_chunks_that_cannot_be_right(document, fault):
    assert chunk_facts(document) == ChunkFacts(malformed=fault)


def test_usage_comes_with_a_chunk_or_alone():
    usage = {"prompt_tokens": 131, "completion_tokens": 142, "total_tokens": 273}
    assert chunk_facts({**chunk(finish_reason="stop"), "usage": usage}).usage == Usage(131, 0, 142)
    alone = {**chunk(), "choices": [], "usage": usage}
    assert chunk_facts(alone) == ChunkFacts(usage=Usage(131, 0, 142), usage_only=True)
    assert chunk_facts({"id": "x", "usage": usage}) == ChunkFacts(usage=Usage(131, 0, 142), usage_only=True)
    assert chunk_facts({**alone, "usage": {}}) == ChunkFacts(usage_only=True)
    assert chunk_facts({**alone, "usage": None}) == ChunkFacts()
    assert chunk_facts({**chunk({"content": "x"}), "usage": None}).usage_only is False


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 0}, Usage(5, 0, 0)),
        ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}, Usage(5, 4, 2)),
        ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 9}}, Usage(5, 5, 2)),
        ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": -9}}, Usage(5, 0, 2)),
        ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"text_tokens": 5}}, Usage(5, 0, 2)),
        ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": None}, Usage(5, 0, 2)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage(0, 0, 0)),
        ({"prompt_tokens": -5, "completion_tokens": 2}, None),
        ({"prompt_tokens": 5, "completion_tokens": 2.5}, None),
        ({"prompt_tokens": True, "completion_tokens": 2}, None),
        ({"prompt_tokens": 5, "completion_tokens": 10**12}, None),
        ({"prompt_tokens": 5}, None),
        ({}, None),
        ("5", None),
    ],
)
def test_only_usage_that_can_be_true_is_believed(usage, read):
    assert read_usage(usage) == read


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.data())
def test_usage_is_read_as_it_was_written_and_the_sdk_reads_it_too(prompt, completion, data):
    usage = Usage(prompt, data.draw(st.integers(0, prompt)), completion)
    assert read_usage(write_usage(usage)) == usage
    theirs = CompletionUsage.model_validate(write_usage(usage), strict=True)
    assert theirs.total_tokens == prompt + completion
    assert theirs.prompt_tokens_details.cached_tokens == usage.cached_input_tokens


def test_a_usage_chunk_for_a_stream_that_had_none():
    made = usage_chunk({**chunk({"content": "x"}), "service_tier": "default"}, Usage(5, 2, 7))
    assert made["choices"] == []
    assert (made["id"], made["created"], made["model"], made["service_tier"]) == (
        "chatcmpl-1",
        1760339757,
        "gpt-4o",
        "default",
    )
    assert ChatCompletionChunk.model_validate(made, strict=True).usage.total_tokens == 12
    assert chunk_facts(made) == ChunkFacts(usage=Usage(5, 2, 7), usage_only=True)
    assert usage_chunk({}, Usage(1, 0, 1))["object"] == "chat.completion.chunk"


def test_usage_is_withheld_from_clients_that_did_not_ask():
    plain = {**chunk({"content": "x"}), "usage": None}
    assert strip_usage(plain) is plain
    with_usage = {**chunk(finish_reason="stop"), "usage": {"prompt_tokens": 1}}
    assert strip_usage(with_usage) == chunk(finish_reason="stop")
    assert "usage" in with_usage
    assert strip_usage({**chunk(), "choices": [], "usage": {"prompt_tokens": 1}}) is None


def test_a_whole_completion_as_a_stream():
    completion = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                    ],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }
    events = completion_as_chunks(completion)
    assert events[-1] == DONE
    assert [event.raw for event in SSEParser().feed(b"".join(events))] == events
    chunks = [orjson.loads(event.removeprefix(b"data: ")) for event in events[:-1]]
    typed = [ChatCompletionChunk.model_validate(each, strict=True) for each in chunks]
    assert [call.index for call in typed[0].choices[0].delta.tool_calls] == [0, 1]
    assert typed[1].choices[0].finish_reason == "tool_calls"
    assert chunk_facts(chunks[2]) == ChunkFacts(usage=Usage(1, 0, 2), usage_only=True)
    assert len(completion_as_chunks({"choices": []})) == 1


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ({"choices": None}, "choices is not an array"),
        ({"choices": ["x"]}, "no message"),
        ({"choices": [{"delta": {}}]}, "no message"),
        ({"choices": [{"message": {}}] * 129}, "more than 128 choices"),
        ({"choices": [{"delta": {"role": "assistant"}}]}, "no message"),
        ({"choices": [{"message": "x"}]}, "no message"),
    ],
)
def test_a_document_that_is_no_completion_cannot_become_a_stream(document, fault):
    with pytest.raises(ValueError, match=fault):
        completion_as_chunks(document)


def only_choices(completion):
    """The choices of each chunk that a whole completion becomes."""
    return [orjson.loads(event[6:])["choices"][0] for event in completion_as_chunks(completion)[:-1]]


@pytest.mark.parametrize(
    ("odd", "written"),
    [
        ({"content": "x \ud83d"}, {"content": "x \ufffd"}),
        ({"content": "x", "n": 2**70}, {"content": "x", "n": float(2**70)}),
        ({"content": "x", "logprob": float("nan")}, {"content": "x", "logprob": None}),
    ],
)
def test_what_json_cannot_hold_does_not_keep_a_whole_completion_from_a_stream(odd, written):
    assert only_choices({"choices": [{"message": odd}]})[0]["delta"] == written


def test_a_whole_completion_that_is_too_deep_to_be_written_is_cut_where_it_is():
    delta = only_choices({"choices": [{"message": {"content": "x", "y": deep(900)}}]})[0]["delta"]
    assert delta["content"] == "x"
    assert orjson.dumps(delta["y"]).count(b"[") < 250


@pytest.mark.parametrize(
    "choice",
    [{"delta": {"content": "x"}}, {"text": "x"}, {"message": None, "delta": {"role": "assistant", "content": "x"}}],
)
def test_a_whole_completion_may_have_its_message_elsewhere(choice):
    first, last = only_choices({"choices": [choice]})
    assert first["delta"]["content"] == "x"
    assert last == {"index": 0, "delta": {}, "finish_reason": "stop"}


@pytest.mark.parametrize("reason", [None, "", "null"])
def test_a_whole_completion_without_a_finish_reason_gets_one(reason):
    made = [{"function": {"name": "f", "arguments": None}}]
    said = {"choices": [{"message": {"content": "x"}, "finish_reason": reason}]}
    called = {"choices": [{"message": {"tool_calls": made}, "finish_reason": reason}]}
    assert only_choices(said)[1]["finish_reason"] == "stop"
    assert only_choices(called)[1]["finish_reason"] == "tool_calls"
    assert (
        only_choices({"choices": [{**said["choices"][0], "finish_reason": "length"}]})[1]["finish_reason"] == "length"
    )


@pytest.mark.parametrize("indexes", [[0, 0], [None, None], ["0", "1"], [0, None]])
def test_the_choices_of_a_whole_completion_are_apart_whatever_their_indexes(indexes):
    choices = [{"index": index, "message": {"content": "x"}} for index in indexes]
    assert [choice["index"] for choice in only_choices({"choices": choices})] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "marks", [{}, {"index": 0}, {"id": "same"}, {"id": "same", "index": 0}, {"id": "", "type": "function"}]
)
def test_the_calls_of_a_whole_completion_are_apart_whatever_their_marks(marks):
    made = [{**marks, "function": {"name": "f", "arguments": given}} for given in ({"a": 1}, "{}", None, "{}")]
    delta = only_choices({"choices": [{"message": {"tool_calls": made}}]})[0]["delta"]
    assert [(call["index"], call["function"]["arguments"]) for call in delta["tool_calls"]] == [
        (0, '{"a":1}'),
        (1, "{}"),
        (2, "{}"),
        (3, "{}"),
    ]


def test_a_whole_completions_long_fields_come_once_however_many_choices_it_has():
    completion = {"id": "i" * 9_000, "model": "m", "citations": ["c" * 9_000], "choices": [{"message": {}}] * 100}
    events = completion_as_chunks(completion)
    assert len(b"".join(events)) < 2 * len(orjson.dumps(completion)) + 200 * 150
    chunks = [orjson.loads(event.removeprefix(b"data: ")) for event in events[:-1]]
    assert {each["model"] for each in chunks} == {"m"}
    assert (chunks[0]["id"], chunks[0]["citations"]) == (completion["id"], completion["citations"])
    assert not any("citations" in each for each in chunks[1:])
    (only_usage, _) = completion_as_chunks({"citations": ["c"], "choices": [], "usage": {"prompt_tokens": 1}})
    assert b"citations" in only_usage


def test_odd_tool_calls_of_a_whole_completion_pass_as_they_are():
    events = completion_as_chunks({"choices": [{"message": {"content": "x", "tool_calls": ["odd"]}}]})
    assert orjson.loads(events[0][6:])["choices"][0]["delta"]["tool_calls"] == ["odd"]


def test_error_of_an_ordinary_answer_is_none():
    assert error_of(chunk()) is None
    assert error_of({"code": 0, "data": {}}) is None
    assert error_of({"object": "list"}) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "index", "content", "tool_calls", "function", "usage", "error", "code"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(json_values, st.sampled_from([None, b"error"]))
def test_no_json_however_odd_breaks_the_reader(document, event):
    facts = chunk_facts(document, 2, event)
    assert facts.malformed is None or facts == ChunkFacts(malformed=facts.malformed)
    assert facts.error is None or facts == ChunkFacts(error=facts.error)
    assert all(isinstance(piece, str) for piece in facts.text)
