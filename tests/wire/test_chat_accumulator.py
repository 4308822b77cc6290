"""However a completion is cut into chunks, folding them gives it back."""

from __future__ import annotations

import copy
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from gateway.wire.chat_accumulator import ChatAccumulator
from gateway.wire.chat_chunk import chunk_facts, completion_as_chunks
from gateway.wire.sse import SSEParser, encode_event, is_terminator

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1760339757, "model": "gpt-4o"}


def fold(*chunks: dict[str, Any]) -> dict[str, Any]:
    accumulator = ChatAccumulator()
    before = copy.deepcopy(chunks)
    for chunk in chunks:
        accumulator.add(chunk)
    result = accumulator.result()
    assert accumulator.result() == result
    assert chunks == before
    return result


def fold_deltas(*deltas: dict[str, Any], **choice: Any) -> dict[str, Any]:
    """The only choice's message, folded from these deltas."""
    chunks = [{**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    completion = fold(*chunks, {**HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", **choice}]})
    ChatCompletion.model_validate(completion, strict=True)
    return completion["choices"][0]["message"]


def test_a_plain_answer_as_openai_writes_it():
    deltas = [{"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}, {}]
    chunks = [
        {**HEAD, "system_fingerprint": "fp_1", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    chunks[-1]["choices"][0]["finish_reason"] = "stop"
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    completion = fold(*chunks, {**HEAD, "choices": [], "usage": usage, "service_tier": "default"})
    assert completion == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1760339757,
        "model": "gpt-4o",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": usage,
        "system_fingerprint": "fp_1",
        "service_tier": "default",
    }
    assert list(completion)[:5] == ["id", "object", "created", "model", "choices"]


def test_nothing_came():
    assert ChatAccumulator("chatcmpl-2", 7, "m").result() == {
        "id": "chatcmpl-2",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "choices": [],
    }


def test_the_first_chunk_that_names_the_answer_names_it():
    completion = fold(
        {"id": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
        {"id": "a", "created": 1, "model": "m", "choices": []},
        {"id": "b", "created": 2, "model": "other", "choices": None, "obfuscation": "xxxx", "provider": None},
        {"provider": "p", "citations": ["u"]},
        {"provider": "p", "citations": ["u", "v"]},
    )
    assert (completion["id"], completion["created"], completion["model"]) == ("a", 1, "m")
    assert completion["prompt_filter_results"] == [{"prompt_index": 0}]
    assert (completion["provider"], completion["citations"]) == ("p", ["u", "v"])
    assert "obfuscation" not in completion


def test_the_last_usage_that_can_be_true_counts():
    def usage(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
        return {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion, **more}}

    whole = fold(usage(5, 1), usage(5, 2, prompt_tokens_details={"cached_tokens": 1}), {"usage": {}}, usage(-1, 9))
    assert whole["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 1},
        "total_tokens": 7,
    }
    assert fold(usage(1, 1, total_tokens=2))["usage"]["total_tokens"] == 2
    assert fold(usage(1, 1, total_tokens=None))["usage"]["total_tokens"] == 2
    assert fold(usage(0, 0))["usage"]["total_tokens"] == 0


def test_tool_calls_are_joined_by_index_and_named_once():
    message = fold_deltas(
        {"role": "assistant", "content": ""},
        {"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x"'}}]},
        {"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}]},
        {"tool_calls": [{"index": 0, "id": "", "function": {"name": None, "arguments": ": 1}"}}, "odd"]},
        {"tool_calls": None},
    )
    assert message == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }


def test_tool_calls_without_an_index_are_joined_by_id_or_to_the_last():
    message = fold_deltas(
        {"tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "1"}}]},
        {"tool_calls": [{"function": {"arguments": "2"}}]},
        {"tool_calls": [{"id": "b", "type": "function", "function": {"name": "g", "arguments": "3"}}]},
        {"tool_calls": [{"id": "a", "function": {"arguments": "4"}}]},
    )
    assert [call["function"] for call in message["tool_calls"]] == [
        {"name": "f", "arguments": "124"},
        {"name": "g", "arguments": "3"},
    ]
    custom = fold_deltas(
        {"tool_calls": [{"type": "custom", "index": 0, "id": "c", "custom": {"name": "g", "input": "x"}}]},
        {"tool_calls": [{"custom": {"input": "y"}}]},
        {"tool_calls": {"neither": "a list"}},
    )
    assert custom["tool_calls"] == [{"type": "custom", "id": "c", "custom": {"name": "g", "input": "xy"}}]


def test_a_call_that_never_gets_a_mark_is_still_one_call():
    accumulator = ChatAccumulator()
    for piece in ("{", "}"):
        accumulator.add({"choices": [{"delta": {"tool_calls": [{"function": {"name": "f", "arguments": piece}}]}}]})
    (choice,) = accumulator.result()["choices"]
    function = {"name": "f", "arguments": "{}"}
    assert choice["message"]["tool_calls"] == [{"id": None, "type": "function", "function": function}]
    assert choice["finish_reason"] == "tool_calls"


def test_every_other_way_to_answer():
    assert fold_deltas({"content": ""}, {"refusal": "I "}, {"refusal": "cannot"}) == {
        "role": "assistant",
        "content": None,
        "refusal": "I cannot",
    }
    call = fold_deltas(
        {"content": ""}, {"function_call": {"name": "f", "arguments": "{"}}, {"function_call": {"arguments": "}"}}
    )
    assert call["function_call"] == {"name": "f", "arguments": "{}"}
    assert call["content"] is None
    audio = fold_deltas(
        {"content": "", "audio": {"id": "a", "transcript": "Hel"}},
        {"audio": {"data": "AAAA", "transcript": "lo"}},
        {"audio": {"id": "a", "data": "BBBB", "expires_at": 5}},
    )
    assert audio["audio"] == {"id": "a", "transcript": "Hello", "data": "AAAABBBB", "expires_at": 5}
    thought = fold_deltas({"reasoning_content": "h"}, {"reasoning_content": "m"}, {"content": "x"}, {"reasoning": "y"})
    assert (thought["reasoning_content"], thought["content"], thought["reasoning"]) == ("hm", "x", "y")
    assert fold_deltas({"content": ""})["content"] == ""
    assert fold_deltas({})["content"] is None


def test_unknown_fields_of_a_delta_grow_by_their_kind():
    deltas = (
        {"annotations": [{"type": "x"}], "box": {"text": "a", "list": [1], "deep": {"n": 1}}, "flag": False},
        {"annotations": [{"type": "y"}], "box": {"text": "b", "list": [2], "deep": {"m": 2}}, "flag": True},
        {"box": {"none": None, "type": "t"}, "shape": "text"},
        {"box": {"none": 1, "type": "t", "deep": None}, "shape": ["list"]},
        {"shape": {"name": "object"}, "late": None},
    )
    completion = fold(*({"choices": [{"index": 0, "delta": delta}]} for delta in deltas))
    message = completion["choices"][0]["message"]
    assert message["annotations"] == [{"type": "x"}, {"type": "y"}]
    assert message["box"] == {"text": "ab", "list": [1, 2], "deep": {"n": 1, "m": 2}, "none": 1, "type": "t"}
    assert message["flag"] is True
    assert message["shape"] == {"name": "object"}
    assert message["late"] is None


def test_choices_fold_apart_and_keep_their_own_fields():
    def piece(index: int, content: str, **more: Any) -> dict[str, Any]:
        return {"index": index, "delta": {"content": content}, **more}

    token = {"token": "x", "logprob": -0.1, "bytes": [120], "top_logprobs": []}
    completion = fold(
        {**HEAD, "choices": [piece(1, "b"), piece(0, "a", logprobs={"content": [token], "refusal": None})]},
        {**HEAD, "choices": [piece(0, "A", logprobs={"content": [token]}, content_filter_results={"hate": {}})]},
        {**HEAD, "choices": [piece(1, "B", finish_reason="length"), piece(0, "", finish_reason="stop", logprobs=None)]},
        {**HEAD, "choices": [{"index": 0, "message": "stray", "delta": None}]},
    )
    odd = fold({**HEAD, "choices": [piece(0, "a", logprobs="odd")]})
    first, second = completion["choices"]
    assert (first["message"]["content"], second["message"]["content"]) == ("aA", "bB")
    assert (first["finish_reason"], second["finish_reason"]) == ("stop", "length")
    assert second["logprobs"] is None
    assert first["content_filter_results"] == {"hate": {}}
    assert first["message"] == {"role": "assistant", "content": "aA", "refusal": None}
    assert first["logprobs"] == {"content": [token, token], "refusal": None}
    assert odd["choices"][0]["logprobs"] is None


def test_a_long_answer_is_not_copied_again_for_every_chunk():
    accumulator = ChatAccumulator()
    for _ in range(100_000):
        accumulator.add({"choices": [{"index": 0, "delta": {"content": "0123456789" * 10}}]})
    assert len(accumulator.result()["choices"][0]["message"]["content"]) == 10_000_000


# -- any completion, cut in any way ------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
# A name that is called null is none, and neither are such arguments.
words = texts.filter(lambda text: text.strip() not in ("", "null"))
tokens = st.fixed_dictionaries(
    {"token": texts, "logprob": st.floats(-9, 0), "bytes": st.none(), "top_logprobs": st.just([])}
)


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": draw(st.none() | texts)}
    message["refusal"] = draw(st.none() | texts)
    for name in ("reasoning_content", "some_new_text"):
        if draw(st.booleans()):
            message[name] = draw(texts)
    if draw(st.booleans()):
        citation = {"start_index": 0, "title": "t", "url": "https://example.com"}
        message["annotations"] = [
            {"type": "url_citation", "url_citation": {**citation, "end_index": number}}
            for number in range(draw(st.integers(1, 3)))
        ]
    if draw(st.booleans()):
        message["function_call"] = {"name": draw(words), "arguments": draw(words)}
    if draw(st.booleans()):
        message["tool_calls"] = [
            {"id": f"call_{number}", "type": "function", "function": {"name": draw(words), "arguments": draw(words)}}
            for number in range(draw(st.integers(1, 3)))
        ]
    return message


@st.composite
def completions(draw: st.DrawFn) -> dict[str, Any]:
    choices = [
        {
            "index": index,
            "message": draw(messages()),
            "logprobs": draw(
                st.none() | st.fixed_dictionaries({"content": st.lists(tokens, min_size=1), "refusal": st.none()})
            ),
            "finish_reason": draw(st.sampled_from(["stop", "length", "tool_calls", "content_filter", "function_call"])),
        }
        for index in range(draw(st.integers(1, 3)))
    ]
    completion = {**HEAD, "object": "chat.completion", "choices": choices}
    if draw(st.booleans()):
        completion["usage"] = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    if draw(st.booleans()):
        completion["system_fingerprint"] = "fp_1"
    return completion


def split_text(draw: st.DrawFn, text: str) -> list[str]:
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def cut_message(draw: st.DrawFn, message: dict[str, Any]) -> list[dict[str, Any]]:
    """Deltas that say what a message says; those of different fields come in any order among one another."""
    fields: list[list[dict[str, Any]]] = []
    for name, value in message.items():
        if name == "function_call":
            pieces = split_text(draw, value["arguments"])
            fields.append(
                [{name: {"name": value["name"], "arguments": ""}}, *({name: {"arguments": p}} for p in pieces)]
            )
        elif name == "tool_calls":
            for index, call in enumerate(value):
                start = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
                pieces = split_text(draw, call["function"]["arguments"])
                rest = [{"index": index, "function": {"arguments": piece}} for piece in pieces]
                fields.append([{name: [piece]} for piece in (start, *rest)])
        elif isinstance(value, list):
            fields.append([{name: [item]} for item in value])
        elif value is not None and name != "role":
            fields.append([{name: piece} for piece in split_text(draw, value)])
    return [{"role": "assistant", "content": None}, *interleave(draw, fields)]


def interleave(draw: st.DrawFn, queues: list[list[Any]]) -> list[Any]:
    order = draw(st.permutations([number for number, queue in enumerate(queues) for _ in queue]))
    iterators = [iter(queue) for queue in queues]
    return [next(iterators[number]) for number in order]


@st.composite
def cut_completions(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    completion = draw(completions())
    per_choice: list[list[dict[str, Any]]] = []
    for choice in completion["choices"]:
        pieces = [{"index": choice["index"], "delta": delta} for delta in cut_message(draw, choice["message"])]
        for position, token in enumerate((choice["logprobs"] or {}).get("content", ())):
            carrier = {"index": choice["index"], "delta": {}, "logprobs": {"content": [token], "refusal": None}}
            pieces.insert(min(position * 2, len(pieces)), carrier)
        pieces.append({"index": choice["index"], "delta": {}, "finish_reason": choice["finish_reason"]})
        per_choice.append(pieces)
    extra = {"system_fingerprint": "fp_1"} if "system_fingerprint" in completion else {}
    chunks: list[dict[str, Any]] = []
    for piece in interleave(draw, per_choice):
        if chunks and draw(st.booleans()):
            chunks[-1]["choices"].append(piece)
        else:
            chunks.append({**HEAD, **extra, "choices": [piece], "usage": None})
    if "usage" in completion:
        chunks.append({**HEAD, **extra, "choices": [], "usage": completion["usage"]})
    return completion, chunks


@given(cut_completions())
def test_any_completion_cut_anyhow_folds_back_into_itself(cut):
    completion, chunks = cut
    assert fold(*chunks) == completion
    typed = ChatCompletion.model_validate(completion, strict=True)
    assert len(typed.choices) == len(completion["choices"])
    assert all(chunk_facts(chunk, n=3).tidied is None for chunk in chunks)


@given(cut_completions(), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.data())
def test_folding_does_not_depend_on_the_framing(cut, end, data):
    completion, chunks = cut
    stream = b": ping\n\n".join(encode_event(orjson.dumps(chunk)) for chunk in chunks).replace(b"\n", end)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    parser = SSEParser()
    accumulator = ChatAccumulator()
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        for item in parser.feed(stream[start:stop]):
            if hasattr(item, "data"):
                accumulator.add(orjson.loads(item.data))
    assert accumulator.result() == completion


@given(completions())
def test_a_completion_sent_as_a_stream_folds_back_into_itself(completion):
    accumulator = ChatAccumulator()
    for event in SSEParser().feed(b"".join(completion_as_chunks(completion))):
        if not is_terminator(event.data):
            accumulator.add(orjson.loads(event.data))
    assert accumulator.result() == completion
