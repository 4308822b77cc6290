"""Which errors are about what only the gateway asked for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.outcomes.refused_wish import judged, wants_stream
from gateway.core.types import ALL_WISHES, NO_WISHES, CostClass, Outcome, Phase, Wish

STREAM, OPTIONS = Wish.STREAM, Wish.STREAM_OPTIONS
REJECTED = Outcome("rejected", Phase.REJECTED, 400)


def refused(
    body: Any, outcome: Outcome = REJECTED, made: frozenset[Wish] = ALL_WISHES, cost: CostClass = CostClass.TOKENS
) -> Wish | None:
    found = judged(outcome, body.decode("utf-8", "replace") if isinstance(body, bytes) else body, made, cost)
    assert (found.slug == "wish_refused") is (found.wish is not None)
    assert found.wish is None or found.phase is Phase.REJECTED
    return found.wish


def said(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", **fields}}


@pytest.mark.parametrize(
    "body",
    [
        said("Your organization must be verified to stream this model.", param="stream", code="unsupported_value"),
        said("Unsupported value.", param="stream"),
        said("Unsupported value.", param="body.stream"),
        said("This model does not support streaming"),
        said("Streaming is not enabled for this model."),
        said("stream=true is not allowed"),
        said("'stream' must be false"),
        said("`stream`: true is not supported when `n` is greater than 1"),
        said("audio.format 'wav' not supported when stream=true. Supported: pcm16", param="audio.format"),
        said("response_format of type json_schema is not supported with streaming", param="response_format"),
        said("Cannot use tools with stream"),
        said("tool calling is not available in streaming mode"),
        said("logprobs cannot be streamed"),
        said("no", code="streaming_not_supported"),
        {"error": "streaming not supported"},
        {"detail": "Streaming unsupported"},
        {"detail": [{"loc": ["body", "stream"], "msg": "unexpected value; permitted: False"}]},
        {"code": 400, "message": "the model can not be streamed", "data": None},
        {"error": {"message": "Provider returned error", "metadata": {"raw": '{"error": {"param": "stream"}}'}}},
        {"error": {"message": 'upstream said: {"detail": [{"loc": ["body", "stream"], "msg": "no"}]}'}},
        [{"error": {"message": "streaming is not supported"}}],
        b"streaming is not supported by this server",
        b"body.stream: Input should be False",
        said("$.stream must be equal to constant"),
        said("SSE is not supported by this model"),
        said("server-sent events are disabled"),
        said("该模型不支持流式输出"),
    ],
    ids=str,
)
def test_of_the_stream(body: Any) -> None:
    assert refused(body) is STREAM


@pytest.mark.parametrize(
    "body",
    [
        said("Unknown parameter: 'stream_options'.", param="stream_options"),
        said("Unknown parameter: 'stream_options.include_usage'.", param="stream_options.include_usage"),
        said("Unrecognized request argument supplied: stream_options"),
        said("Invalid value.", param="stream_options[include_usage]"),
        said('json: unknown field "stream_options"'),
        said("include_usage is not supported when streaming"),
        said("StreamOptions is not supported by this backend"),
        {"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]},
        {"detail": [{"loc": ["body", "stream_options", "include_usage"], "msg": "extra fields not permitted"}]},
        {"message": "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'input': {'a': True}}]"},
        {"errors": [{"field": "stream_options", "reason": "unknown"}]},
        {"title": "Bad Request", "detail": "property stream_options should not exist"},
        b"unknown field stream_options",
    ],
    ids=str,
)
def test_of_its_options(body: Any) -> None:
    assert refused(body) is OPTIONS
    assert refused(body, made=frozenset({OPTIONS})) is OPTIONS


@pytest.mark.parametrize(
    "body",
    [
        said("max_tokens is too large: 999999", param="max_tokens"),
        said("Invalid schema for function 'stream_reader'", param="tools[0].function.parameters"),
        said("Invalid schema for function 'stream'", param="tools[0].function.parameters"),
        said("messages[3]: upstream refused it"),
        said("text/event-stream is not a valid type for a file"),
        said("Could not decode the audio stream of messages[0]"),
        said("the downstream and mainstream"),
        said("assess the classes of the SSEParser"),
        said("no such file: stream.txt, /stream, stream/a, live-stream"),
        # The whole request, quoted: our own wishes stand in it.
        {
            "detail": [
                {
                    "loc": ["body", "messages", 0, "content"],
                    "msg": "Field required",
                    "input": {"stream": True, "stream_options": {"include_usage": True}},
                }
            ]
        },
        {"message": "1 error\nmessages\n  bad [type=x, input_value={'stream': True, 'stream_options': {}}]"},
        {"message": "[{'loc': ('body', 'n'), 'input': {'stream': True, 'stream_options': {}}, 'msg': 'too many'}]"},
        {"error": {"message": "bad", "param": "messages[0].stream"}},
        {},
        [],
        None,
        b"",
        b"\xff\xfe",
    ],
    ids=str,
)
def test_of_neither(body: Any) -> None:
    assert refused(body) is None


def test_the_options_are_given_up_first() -> None:
    both = said("stream and stream_options are not supported")
    assert refused(both) is OPTIONS
    assert refused(both, made=frozenset({STREAM})) is STREAM


def test_only_of_what_was_asked_for() -> None:
    body = said("Streaming is not supported", param="stream")
    assert refused(body, made=NO_WISHES) is None
    assert refused(body, made=frozenset({OPTIONS})) is None
    assert refused(said("no", param="stream_options"), made=frozenset({STREAM})) is None


@pytest.mark.parametrize("slug", ["model_missing", "key_forbidden", "upstream_5xx", "sse_error_first", "soft_error"])
def test_other_answers_count_only_if_the_words_leave_no_doubt(slug: str) -> None:
    outcome = Outcome(slug, Phase.UNKNOWN, 500)
    assert refused(said("Streaming is not supported for this model"), outcome) is STREAM
    assert refused(said("Your organization must be verified to stream this model."), outcome) is STREAM
    assert refused(said("An error occurred while streaming the response"), outcome) is None
    assert refused(said("stream disconnected before completion"), outcome) is None


@pytest.mark.parametrize("slug", ["key_invalid", "key_unfunded", "rate_limited", "content_policy", "bad_json", "ok"])
def test_what_has_another_cause_keeps_it(slug: str) -> None:
    assert refused(said("Streaming is not supported", param="stream"), Outcome(slug, Phase.REJECTED, 429)) is None


def test_after_content_nothing_is_asked_again() -> None:
    assert refused(said("no", param="stream"), Outcome("rejected", Phase.FORWARDED, 200)) is None


@pytest.mark.parametrize("phase", [Phase.UNKNOWN, Phase.ANSWERED])
def test_a_paid_item_only_if_it_was_not_bought(phase: Phase) -> None:
    body = said("no", param="stream")
    assert refused(body, Outcome("rejected", phase, 400), cost=CostClass.PAID) is None
    assert refused(body, Outcome("rejected", phase, 400), cost=CostClass.TOKENS) is STREAM
    assert refused(body, cost=CostClass.PAID) is STREAM


WORDS = st.sampled_from(
    ["stream", "stream_options", "message", "detail", "loc", "param", "error", "{", "}", '"', "'input':"]
)
TEXTS = st.lists(WORDS | st.text(max_size=5), max_size=8).map("".join)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


@given(DOCUMENTS | st.binary(max_size=50))
def test_any_document_can_be_read(body: Any) -> None:
    refused(body)


def test_a_long_error_takes_no_long_time() -> None:
    evil = {"error": [{"message": "'input': " * 5000}] * 200}
    assert refused(evil) is None
    assert refused(said("{" * 60_000)) is None


def test_the_words_are_kept_only_where_they_may_be_about_something_else() -> None:
    outcome = Outcome("rejected", Phase.REJECTED, 400, message="words", type="t", param="p", code="c")
    plain = judged(outcome, said("no", param="stream"), ALL_WISHES, CostClass.TOKENS)
    vague = judged(outcome, said("The prompt of your streaming request is bad"), ALL_WISHES, CostClass.TOKENS)
    assert (plain.wish, plain.message, plain.type, plain.param, plain.code) == (STREAM, None, None, None, None)
    assert (vague.wish, vague.message, vague.type, vague.param, vague.code) == (STREAM, "words", "t", "p", "c")


@pytest.mark.parametrize(
    ("outcome", "wanted"),
    [
        (Outcome("rejected", Phase.REJECTED, message="This model can only be used in stream mode."), True),
        (Outcome("rejected", Phase.REJECTED, message="no", param="stream"), True),
        (Outcome("rejected", Phase.REJECTED, message="upstream: max_tokens is too large"), False),
        (Outcome("rejected", Phase.REJECTED), False),
        (Outcome("upstream_5xx", Phase.UNKNOWN, message="stream"), False),
    ],
)
def test_an_upstream_may_want_the_stream_that_was_given_up(outcome: Outcome, wanted: bool) -> None:
    assert wants_stream(outcome) is wanted
