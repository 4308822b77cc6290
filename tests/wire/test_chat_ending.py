"""The end of a chat stream: when it has come, and what is written then."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from openai.types.chat import ChatCompletionChunk

from gateway.core.types import Usage
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.chat_chunk import ChunkFacts, chunk_facts
from gateway.wire.chat_ending import ChatEnding, strip_usage

USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "vendor": "more"}


def ending(*chunks: dict[str, Any], n: int = 1) -> ChatEnding:
    """The ending of a stream with these chunks."""
    made = ChatEnding(n, id="chatcmpl-ours", created=1, model="gpt-4o")
    for chunk in chunks:
        made.take(chunk, chunk_facts(chunk, n))
    return made


def says(text: str = "", finish: str | None = None, index: int = 0, **fields: Any) -> dict[str, Any]:
    delta = {"content": text} if text else {}
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}], **fields}


def calls(finish: str | None = None) -> dict[str, Any]:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    return {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": finish}]}


def documents(events: list[bytes]) -> list[dict[str, Any]]:
    return [orjson.loads(event.removeprefix(b"data: ")) for event in events]


class TestWhetherItHasCome:
    def test_with_the_reason_of_the_only_choice(self) -> None:
        assert not ending(says("a")).finished
        assert ending(says("a"), says(finish="stop")).finished
        assert ending(says("a", "stop")).finished

    def test_with_the_reasons_of_all_choices(self) -> None:
        assert not ending(says("a", "stop"), says("b", index=1), n=2).finished
        assert ending(says("a", "stop"), says("b", "length", index=1), n=2).finished

    def test_not_where_the_choice_speaks_on(self) -> None:
        assert not ending(says("a", "stop"), says("b")).finished

    def test_not_by_a_reason_that_every_chunk_has(self) -> None:
        every = ending(says("a", "stop"), says("b", "stop"), says("c", "stop"))
        assert not every.finished
        assert every.has_reasons  # which is enough for a stream that was closed properly
        assert ending(says("a", "stop"), says("b", "stop"), says(finish="stop")).finished

    def test_silence_ends_what_named_a_reason_last(self) -> None:
        assert ending(says("a", "stop"), says("b", "stop")).named_last
        assert not ending(says("a", "stop"), says("b")).named_last
        assert ending(says("a", "stop"), says("b"), says(finish="stop")).named_last
        assert not ending(says("a", "stop"), says("b", "stop", index=1), says("c"), n=2).named_last

    def test_what_is_news(self) -> None:
        made = ending(says("a", "stop"))
        for chunk, news in ((says("b"), True), (says(finish="stop"), False), (says("", "stop", index=1), True)):
            assert made.take(chunk, chunk_facts(chunk, 2)) == news

    def test_an_upstream_that_calls_a_tool_of_its_own_runs_it(self) -> None:
        for reason in ("tool_calls", "function_call"):
            assert ending(says("a"), says(finish=reason)).runs_a_tool
        assert not ending(calls(), says(finish="tool_calls")).runs_a_tool
        assert not ending(says("a"), says(finish="stop")).runs_a_tool


class TestMissingReasons:
    def test_one_for_each_choice_that_has_none(self) -> None:
        made = ending(says("a", id="x", created=7, model="m"), says("b", "length", index=1), says("c", index=2), n=3)
        first, second = documents(made.missing_reasons())
        assert first["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
        assert second["choices"] == [{"index": 2, "delta": {}, "finish_reason": "stop"}]
        assert (first["id"], first["created"], first["model"]) == ("x", 7, "m")
        ChatCompletionChunk.model_validate(first, strict=True)

    def test_it_is_tool_calls_where_there_are_calls(self) -> None:
        [only] = documents(ending(calls()).missing_reasons())
        assert only["choices"][0]["finish_reason"] == "tool_calls"

    def test_it_is_function_call_where_the_call_is_of_the_older_form(self) -> None:
        made = ending({"choices": [{"index": 0, "delta": {"function_call": {"name": "f", "arguments": "{}"}}}]})
        [only] = documents(made.missing_reasons())
        assert only["choices"][0]["finish_reason"] == "function_call"

    def test_none_where_all_have_theirs(self) -> None:
        assert ending(says("a"), says(finish="length")).missing_reasons() == []


class TestUsage:
    def test_a_chunk_of_our_own_names_what_the_stream_named_whatever_came_last(self) -> None:
        made = ending(
            says("", id="", created=0, model=""),
            says("a", id="chatcmpl-1", created=1760339757, model="gpt-4o-up", service_tier="default"),
            {"choices": [], "usage": None},
        )
        document = made.usage_chunk(Usage(5, 2, 7))
        assert [document[name] for name in ("id", "created", "model", "service_tier", "choices")] == [
            "chatcmpl-1",
            1760339757,
            "gpt-4o-up",
            "default",
            [],
        ]
        theirs = ChatCompletionChunk.model_validate(document, strict=True)
        assert theirs.usage is not None
        assert theirs.usage.total_tokens == 12
        assert chunk_facts(document) == ChunkFacts(usage=Usage(5, 2, 7), usage_only=True)

    def test_a_stream_without_names_gets_ours(self) -> None:
        document = ending(says("a")).usage_chunk(Usage(1, 0, 1))
        assert (document["id"], document["created"], document["model"]) == ("chatcmpl-ours", 1, "gpt-4o")
        ChatCompletionChunk.model_validate(document, strict=True)

    @pytest.mark.parametrize(
        "odd",
        [
            {"id": [1], "created": "odd", "model": 5, "service_tier": {}},
            {"id": None, "created": None, "model": None},
            {"id": 7, "created": True, "model": ["m"]},
            {"id": "", "created": 1.5, "model": {"name": "m"}},
        ],
    )
    def test_a_stream_with_odd_names_gets_ours(self, odd: dict[str, Any]) -> None:
        made = ending(says("a", **odd), {**odd, "choices": [], "usage": USAGE})
        made.hold_usage({**odd, "choices": [], "usage": USAGE}, b"data: as it came\n\n")
        [document] = documents([made.usage_event(Usage(5, 0, 7))])
        assert (document["id"], document["created"], document["model"]) == ("chatcmpl-ours", 1, "gpt-4o")
        ChatCompletionChunk.model_validate(document, strict=True)

    def test_of_the_last_choice_leaves_in_a_chunk_without_choices_with_all_it_said(self) -> None:
        made = ending(says("a", id="x", created=7, model="m"), says(finish="stop", usage=USAGE))
        [document] = documents([made.usage_event(Usage(5, 0, 7))])
        assert (document["choices"], document["usage"], document["id"]) == ([], USAGE, "x")

    def test_that_came_as_it_should_leaves_byte_for_byte(self) -> None:
        chunk = {"id": "x", "object": "o", "created": 1, "model": "m", "choices": [], "usage": USAGE}
        made, raw = ending(says("a"), chunk), b"data: as it came\n\n"
        made.hold_usage(chunk, raw)
        assert made.usage_event(Usage(5, 0, 7)) == raw

    def test_that_came_without_choices_or_names_is_written_anew(self) -> None:
        for chunk in ({"usage": USAGE}, {"choices": None, "usage": USAGE}, {"choices": [], "usage": USAGE}):
            made = ending(says("a", id="x", created=7, model="m"), chunk)
            made.hold_usage(chunk, b"data: as it came\n\n")
            [document] = documents([made.usage_event(Usage(5, 0, 7))])
            assert (document["choices"], document["usage"], document["model"]) == ([], USAGE, "m")

    def test_says_what_the_key_pays_in_place_of_what_the_upstream_asks(self) -> None:
        theirs = {**USAGE, "cost": 0.9, "cost_details": {"upstream_inference_cost": 0.9}, "is_byok": False}
        chunk = {"id": "x", "object": "o", "created": 1, "model": "m", "provider": "P", "choices": [], "usage": theirs}
        made = ending(says("a"), chunk)
        made.hold_usage(chunk, b"data: as it came\n\n")
        told = made.usage_event(Usage(5, 0, 7), AnswerCost("0.0000125"))
        assert b'"cost":0.0000125,' in told
        [document] = documents([told])
        assert document == {**chunk, "usage": {**theirs, "cost": 0.0000125}}

        [document] = documents([made.usage_event(Usage(5, 0, 7), AnswerCost(None))])
        assert document == {**chunk, "usage": {name: theirs[name] for name in theirs if name != "cost"}}
        assert made.usage_event(Usage(5, 0, 7)) == b"data: as it came\n\n"

    def test_of_an_estimate_says_the_cost_of_it(self) -> None:
        made = ending(says("a"))
        [document] = documents([made.usage_event(Usage(2, 0, 3, confidence="estimated"), AnswerCost("0.00"))])
        assert (document["usage"]["completion_tokens"], document["usage"]["cost"]) == (3, 0)

    def test_that_is_not_believed_is_replaced_by_the_estimate(self) -> None:
        chunk = {"id": "x", "object": "o", "created": 1, "model": "m", "choices": [], "usage": USAGE}
        made = ending(says("a"), chunk)
        made.hold_usage(chunk, b"data: as it came\n\n")
        [document] = documents([made.usage_event(Usage(2, 0, 3, confidence="estimated"))])
        assert document["usage"]["completion_tokens"] == 3


def test_usage_is_withheld_from_clients_that_did_not_ask() -> None:
    plain = says("x", usage=None)
    assert strip_usage(plain) is plain
    with_usage = says(finish="stop", usage=USAGE)
    assert strip_usage(with_usage) == says(finish="stop")
    assert "usage" in with_usage
    assert strip_usage({"choices": [], "usage": USAGE}) is None
