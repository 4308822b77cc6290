"""What the chunks of a stream say, told from the shapes seen on the wire."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk

from gateway.core.types import Usage
from gateway.core.upstream_errors.upstream_error import UpstreamError
from gateway.wire.chat_chunk import (
    ChunkFacts,
    chunk_facts,
    completion_as_chunks,
    error_of,
)
from gateway.wire.sse import DONE, SSEParser
from gateway.wire.usage_reading import read_usage, write_usage


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
    facts = chunk_facts(chunk({"content": " hello"}))
    assert facts == ChunkFacts(meaningful=True, text=(" hello",), speaking=(0,))


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
    facts = chunk_facts(chunk({"role": "assistant", **delta}))
    calling = (0,) if "tool_calls" in delta or "function_call" in delta else ()
    assert facts == ChunkFacts(meaningful=True, text=tuple(text), speaking=(0,), calling=calling)


def test_finish_reasons_by_choice():
    two = chunk({"content": "x"})
    two["choices"].append({"index": 1, "delta": {"content": "y"}, "finish_reason": "length"})
    facts = chunk_facts(two, n=2)
    assert facts == ChunkFacts(meaningful=True, text=("x", "y"), finish={1: "length"}, speaking=(0, 1))
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
            UpstreamError("slow down", "rate_limit_error", None, "rate_limit_exceeded"),
        ),
        ({"error": {"message": "m", "code": 429}}, b"error", UpstreamError("m", code=429)),
        ({"error": {"message": "m", "code": "503"}}, None, UpstreamError("m", code=503)),
        ({"error": {"message": "m", "status_code": 500, "code": "x"}}, None, UpstreamError("m", code="x", status=500)),
        ({"error": {"message": "", "raw_message": "raw"}}, None, UpstreamError("raw")),
        ({"error": {"param": "n"}}, None, UpstreamError(param="n")),
        ({"error": "timeout"}, None, UpstreamError("timeout", code="timeout")),
        (
            {"error": "generation_failed", "code": "generation_failed"},
            None,
            UpstreamError("generation_failed", code="generation_failed"),
        ),
        ({"error": True}, None, UpstreamError()),
        ({"message": "flat", "type": "server_error"}, b"error", UpstreamError("flat", "server_error")),
        ({"message": "flat", "code": "slow_down"}, None, UpstreamError("flat", code="slow_down")),
        ({}, b"error", UpstreamError()),
        (
            {"code": 400, "message": "invalid model", "data": None},
            None,
            UpstreamError("invalid model", code=400),
        ),
        ({"code": 10001, "message": "too many requests"}, None, UpstreamError("too many requests", code=10001)),
        ({**chunk(), "error": {"message": "m"}}, None, UpstreamError("m")),
        (chunk({"error": "timeout"}), None, UpstreamError("timeout", code="timeout")),
        (chunk({"error": {"message": "m", "code": 502}}), None, UpstreamError("m", code=502)),
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
    "document",
    [
        "text",
        None,
        5,
        True,
        [],
        [chunk()],
        {},
        {"type": "ping"},
        {"type": "ping", "message": "still here"},
        {"event": "heartbeat", "error": "none"},
        {"code": 200, "message": "success", "data": {}},
        {"choices": None},
        {"choices": {}},
        {"choices": "x"},
        {"choices": ["x", None, 5]},
    ],
)
def test_json_that_is_no_chunk_says_nothing(document):
    assert chunk_facts(document) == ChunkFacts(says_nothing=True)


def test_google_sends_its_errors_in_an_array():
    assert chunk_facts([{"error": {"message": "m", "code": 429}}]).error == UpstreamError("m", code=429)


@pytest.mark.parametrize("index", [1, 7, -1, "0", "5", False, None, 0.0, 2.5, "x", [], 10**30])
def test_the_index_of_an_only_choice_means_nothing(index):
    facts = chunk_facts(chunk({"content": "x"}, index=index))
    assert (facts.text, facts.speaking, facts.meaningful) == (("x",), (0,), True)
    assert facts.tidied["choices"] == [{"index": 0, "delta": {"content": "x"}}]


@pytest.mark.parametrize(("index", "read"), [(1, 1), ("1", 1), (1.0, 1), (None, 0), ("x", 0), (-1, 0), (10**6, 0)])
def test_the_index_of_one_of_several_choices_is_read_if_it_can_be(index, read):
    assert chunk_facts(chunk({"content": "x"}, index=index), n=2).speaking == (read,)


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        ("bare", ("bare",)),
        ([{"type": "text", "text": "a part"}], ("a part",)),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}, ("hm",)),
        ({"content": [{"type": "text", "text": "a"}, "b", {"text": {"content": "c"}}]}, ("a", "b", "c")),
        ({"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}, ("f", '{"a":1}')),
    ],
)
def test_text_is_found_in_deltas_of_other_shapes(delta, text):
    facts = chunk_facts(chunk(delta))
    assert (facts.text, facts.speaking) == (text, (0,))


@pytest.mark.parametrize("word", ["", "null", "None", "NULL", 0, False, {}, {"type": "stop"}])
def test_what_is_no_finish_reason(word):
    facts = chunk_facts(chunk({"content": "x"}, finish_reason=word))
    assert (facts.finish, facts.text) == ({}, ("x",))


def test_a_message_in_place_of_a_delta_holds_all_so_far():
    document = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]
    }
    facts = chunk_facts(document)
    assert (facts.text, facts.so_far, facts.speaking, facts.finish) == ((), "Hello", (0,), {0: "stop"})
    assert facts.tidied["choices"] == [{**document["choices"][0]}]


def test_a_text_as_the_older_completions_have_it():
    facts = chunk_facts({"choices": [{"index": 0, "text": "Hello", "finish_reason": None}]})
    assert (facts.text, facts.tidied["choices"]) == (("Hello",), [{"index": 0, "delta": {"content": "Hello"}}])


def test_usage_comes_with_a_chunk_or_alone():
    usage = {"prompt_tokens": 131, "completion_tokens": 142, "total_tokens": 273}
    assert chunk_facts({**chunk(finish_reason="stop"), "usage": usage}).usage == Usage(131, 0, 142)
    alone = {**chunk(), "choices": [], "usage": usage}
    assert chunk_facts(alone) == ChunkFacts(usage=Usage(131, 0, 142), usage_only=True)
    facts = chunk_facts({"id": "x", "usage": usage})
    assert (facts.usage, facts.usage_only, facts.tidied["choices"]) == (Usage(131, 0, 142), True, [])
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
    assert not facts.says_nothing or facts == ChunkFacts(says_nothing=True)
    assert facts.error is None or facts == ChunkFacts(error=facts.error)
    assert all(isinstance(piece, str) for piece in facts.text)
