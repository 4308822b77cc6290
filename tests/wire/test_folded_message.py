"""Thoughts, signatures, citations, whole messages: each stands in the folded answer, and stands in it once."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from gateway.wire.chat_accumulator import ChatAccumulator
from gateway.wire.folded_message import FoldedMessage
from gateway.wire.writable import dump_json


def completed(*choices: dict[str, Any], n: int = 0) -> dict[str, Any]:
    """The only choice, folded from what came of it in each chunk."""
    accumulator = ChatAccumulator("chatcmpl-1", 1, "m", n=n)
    for choice in choices:
        accumulator.add({"choices": [{"index": 0, **choice}]})
    completion = orjson.loads(dump_json(accumulator.result()))  # as a client reads it
    (choice,) = completion["choices"]
    return choice


def folded(*deltas: Any) -> dict[str, Any]:
    """The message, folded from deltas."""
    message: dict[str, Any] = completed(*({"delta": delta} for delta in deltas))["message"]
    return message


def stated(*messages: Any) -> dict[str, Any]:
    """The message, folded from chunks with a ``message`` in place of the delta."""
    message: dict[str, Any] = completed(*({"message": each} for each in messages))["message"]
    return message


# -- thoughts ----------------------------------------------------------------------------------------------------------


def thinking(thought: Any, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "thinking", "thinking": thought, **more}]}


@pytest.mark.parametrize(
    "deltas",
    [
        [thinking([{"type": "text", "text": "hm"}]), {"content": "It is so."}],  # Mistral
        [
            thinking([{"type": "text", "text": "h"}]),
            thinking([{"type": "text", "text": "m"}]),
            {"content": "It is so."},
        ],
        [thinking("h"), thinking(["m"]), {"content": [{"type": "text", "text": "It is so."}]}],
        [{"content": [{"type": "reasoning", "reasoning": "hm"}, {"type": "output_text", "text": "It is so."}]}],
        [{"content": [{"type": "text", "thought": True, "text": "hm"}, {"type": "text", "text": "It is so."}]}],
        [{"content": {"type": "thinking", "thinking": {"text": "hm"}}}, {"content": ["It ", "is so."]}],
        [{"content": "It "}, thinking("hm"), {"content": "is so."}],
        [{**thinking("hm"), "reasoning_content": "hm"}, {"content": "It is so."}],
        [{"reasoning_content": "h"}, {"content": [{"type": "thinking", "thinking": "m"}, "It is so."]}],
    ],
)
def test_thoughts_that_come_as_parts_stand_beside_the_text(deltas: list[Any]):
    message = folded({"role": "assistant", "content": ""}, *deltas)
    assert message["content"] == "It is so."
    assert message["reasoning_content"] == "hm"
    assert "thinking_blocks" not in message


def test_signed_thoughts_that_come_as_parts_can_be_sent_back():
    message = folded(
        thinking("h"),
        thinking("m"),
        thinking("", signature="S=="),
        {"content": [{"type": "redacted_thinking", "data": "R=="}]},
        thinking("then", signature="T=="),
        {"content": "so"},
    )
    assert (message["content"], message["reasoning_content"]) == ("so", "hmthen")
    assert message["thinking_blocks"] == [
        {"type": "thinking", "thinking": "hm", "signature": "S=="},
        {"type": "redacted_thinking", "data": "R=="},
        {"type": "thinking", "thinking": "then", "signature": "T=="},
    ]


def test_both_names_of_a_thought_stay_each_once():
    pieces = [{"reasoning": part, "reasoning_content": part} for part in ("a", "b")]
    message = folded(*pieces, {"content": "c"})
    assert (message["reasoning"], message["reasoning_content"], message["content"]) == ("ab", "ab", "c")


# -- content in parts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "content"),
    [
        ([[{"type": "text", "text": "a"}], [{"type": "text", "text": "b"}]], "ab"),
        (["a", [{"type": "text", "text": "b", "index": 0}], {"text": "c"}], "abc"),
        ([["a", "b"], [{"type": "text", "text": {"value": "c", "annotations": []}}]], "abc"),
        ([["a", 5], 6], "a56"),
        ([[]], None),
        ([None, ""], ""),
    ],
)
def test_parts_that_are_only_text_become_text(pieces: list[Any], content: str | None):
    assert folded(*({"content": piece} for piece in pieces))["content"] == content


def test_parts_of_another_kind_keep_their_places():
    image = {"type": "image_url", "image_url": {"url": "https://cdn.example/a.png"}}
    message = folded(
        {"content": ""}, {"content": "He"}, {"content": [{"type": "text", "text": "re"}, image]}, {"content": "!"}
    )
    assert message["content"] == [{"type": "text", "text": "Here"}, image, {"type": "text", "text": "!"}]


def test_a_part_without_a_type_gets_one_or_it_could_not_be_sent_back():
    message = folded(
        {"content": [{"image_url": {"url": "u"}}, {"type": None}, {}, {"type": [], "text": "a"}, {"n": 1}]}
    )
    assert message["content"] == [
        {"type": "image_url", "image_url": {"url": "u"}},
        {"type": "text", "text": "a"},
        {"type": "n", "n": 1},
    ]


def test_a_refusal_and_citations_in_parts_stand_where_clients_look():
    note = {"type": "url_citation", "url_citation": {"url": "https://a.example"}}
    message = folded(
        {"content": [{"type": "output_text", "text": "a", "annotations": [note]}]},
        {"content": [{"type": "output_text", "text": "b", "annotations": [note]}]},
    )
    assert (message["content"], message["annotations"]) == ("ab", [note])
    assert folded({"content": [{"type": "refusal", "refusal": "no"}]})["refusal"] == "no"


# -- entries in fragments ----------------------------------------------------------------------------------------------


def details(**fields: Any) -> dict[str, Any]:
    return {"reasoning_details": [{"type": "reasoning.text", **fields}]}


@pytest.mark.parametrize("mark", [{}, {"index": 0}, {"index": "0"}])
def test_fragments_of_reasoning_details_become_one_entry_with_its_signature(mark: dict[str, Any]):
    message = folded(
        details(**mark, text="a", format="anthropic-claude-v1", id=None),
        details(**mark, text="b", format="anthropic-claude-v1", signature=None),
        {**details(**mark, signature="S==", format="anthropic-claude-v1"), "content": "ok"},
    )
    [entry] = message["reasoning_details"]
    assert {name: value for name, value in entry.items() if value is not None} == {
        "type": "reasoning.text",
        "text": "ab",
        "signature": "S==",
        "format": "anthropic-claude-v1",
        **mark,
    }


@pytest.mark.parametrize("marks", [({}, {}, {}), ({"index": 0}, {"index": 1}, {"index": 2}), ({"index": 0},) * 3])
def test_entries_of_reasoning_details_stay_apart(marks: tuple[dict[str, Any], ...]):
    first, second, third = marks
    message = folded(
        details(**first, text="a"),
        details(**first, signature="S=="),
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "E==", "id": "rs_1", **second}]},
        details(**third, text="b"),
        details(**third, text="c"),
        details(**third, signature="T=="),
    )
    assert message["reasoning_details"] == [
        {"type": "reasoning.text", **first, "text": "a", "signature": "S=="},
        {"type": "reasoning.encrypted", "data": "E==", "id": "rs_1", **second},
        {"type": "reasoning.text", **third, "text": "bc", "signature": "T=="},
    ]


def test_encrypted_entries_are_never_joined():
    entries = [{"type": "reasoning.encrypted", "index": 0, "data": data} for data in ("E1==", "E2==", "E2==")]
    message = folded(*({"reasoning_details": [entry]} for entry in entries))
    assert message["reasoning_details"] == entries[:2]


def test_summaries_grow_and_their_labels_do_not():
    message = folded(
        *(
            {
                "reasoning_details": [
                    {"type": "reasoning.summary", "index": 0, "format": "f", "id": "rs", "summary": part}
                ]
            }
            for part in ("a", "a", "b")
        )
    )
    assert message["reasoning_details"] == [
        {"type": "reasoning.summary", "index": 0, "format": "f", "id": "rs", "summary": "aab"}
    ]


def test_fragments_of_thinking_blocks_become_blocks_with_their_signatures():
    def block(**fields: Any) -> dict[str, Any]:
        return {"thinking_blocks": [{"type": "thinking", **fields}]}

    message = folded(
        {**block(thinking="h"), "reasoning_content": "h"},
        {**block(thinking="m"), "reasoning_content": "m"},
        block(thinking="", signature="S=="),
        {"thinking_blocks": [{"type": "redacted_thinking", "data": "R=="}]},
        block(thinking="then", signature=""),
        block(thinking=None, signature="T=="),
        {"content": "ok", "provider_specific_fields": {"thinking_blocks": [{"type": "thinking", "thinking": "h"}]}},
        {"provider_specific_fields": {"thinking_blocks": [{"type": "thinking", "thinking": "m", "signature": "S=="}]}},
    )
    assert message["thinking_blocks"] == [
        {"type": "thinking", "thinking": "hm", "signature": "S=="},
        {"type": "redacted_thinking", "data": "R=="},
        {"type": "thinking", "thinking": "then", "signature": "T=="},
    ]
    assert message["reasoning_content"] == "hm"
    nested = message["provider_specific_fields"]["thinking_blocks"]
    assert nested == [{"type": "thinking", "thinking": "hm", "signature": "S=="}]


@pytest.mark.parametrize("label", ["type", "format", "id", "signature", "role", "name", "thought_signature", "tool_id"])
def test_labels_are_never_joined(label: str):
    box = {label: "same", "text": "a"}
    message = folded({"box": box, label: "same"}, {"box": box, label: "same"})
    assert message["box"] == {label: "same", "text": "aa"}
    assert message.get(label) == ("assistant" if label == "role" else "same")


# -- citations ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["citations", "annotations", "sources", "search_results", "something_new"])
@pytest.mark.parametrize("as_objects", [True, False])
def test_what_is_repeated_in_every_chunk_is_there_once(name: str, as_objects: bool):
    one, two, three = ({"url": f"https://{place}.example", "index": 0} if as_objects else place for place in "abc")
    repeated = folded({name: [one, two]}, {name: [one, two]}, {name: [one, two]}, {"content": "x"})
    assert repeated[name] == [one, two]
    growing = folded({name: [one]}, {name: [one, two]}, {name: []}, {name: [one, two, three]}, {name: None})
    assert growing[name] == [one, two, three]
    in_turn = folded({name: [one]}, {name: [two]}, {name: [three]})
    assert in_turn[name] == [one, two, three]
    twice_at_once = folded({name: [one, one]})
    assert twice_at_once[name] == [one, one]


def test_citations_beside_the_choices_are_there_once():
    accumulator = ChatAccumulator()
    for citations in (["a"], ["a", "b"], [], ["a", "b"], None):
        accumulator.add({"choices": [{"delta": {"content": "x"}}], "citations": citations, "x_groq": {"id": "r"}})
    accumulator.add({"choices": [], "x_groq": {"usage": {"queue_time": 1}}, "system_fingerprint": ""})
    completion = accumulator.result()
    assert completion["citations"] == ["a", "b"]
    assert completion["x_groq"] == {"id": "r", "usage": {"queue_time": 1}}


def test_numbers_are_data_and_equal_tokens_are_two_tokens():
    choice = completed(
        {"delta": {"content": "a"}, "token_ids": [7], "logprobs": {"content": [{"token": "a"}], "tokens": ["a"]}},
        {"delta": {"content": "a"}, "token_ids": [7], "logprobs": {"content": [{"token": "a"}], "tokens": ["a"]}},
    )
    assert choice["token_ids"] == [7, 7]
    assert choice["logprobs"]["content"] == [{"token": "a"}, {"token": "a"}]
    assert choice["logprobs"]["tokens"] == ["a", "a"]


# -- message instead of delta ------------------------------------------------------------------------------------------

LONG = ("Once ", "upon ", "a time", ".")


@pytest.mark.parametrize("null", [{}, {"delta": None}, {"delta": {}}, {"delta": {"content": ""}}])
def test_a_message_in_place_of_the_delta(null: dict[str, Any]):
    growing = [{"message": {"role": "assistant", "content": "".join(LONG[:end])}, **null} for end in range(5)]
    assert completed(*growing)["message"]["content"] == "Once upon a time."
    pieces = [{"message": {"content": piece}, **null} for piece in LONG]
    assert completed(*pieces)["message"]["content"] == "Once upon a time."
    whole = {"message": {"content": "Once upon a time."}, **null}
    assert completed(whole)["message"]["content"] == "Once upon a time."
    assert completed(whole, whole)["message"]["content"] == "Once upon a time."
    assert completed({"message": {"content": "Once upon a time.", "reasoning_content": "hm"}})["message"] == {
        "role": "assistant",
        "content": "Once upon a time.",
        "refusal": None,
        "reasoning_content": "hm",
    }


@pytest.mark.parametrize(
    "end",
    [
        {"content": "Once upon a time."},
        {"content": ""},
        {"content": None},
        {"content": " Once upon a time. \n"},
        {"content": "."},
        {"content": [{"type": "text", "text": "Once upon a time."}]},
    ],
)
def test_a_message_at_the_end_of_the_deltas_is_not_taken_twice(end: dict[str, Any]):
    deltas = [{"delta": {"content": piece}} for piece in LONG]
    message = completed(*deltas, {"message": end, "delta": {}, "finish_reason": "stop"})["message"]
    assert message["content"].strip() == "Once upon a time."


def test_a_message_beside_each_delta_is_not_taken_twice():
    beside = [{"delta": {"content": piece}, "message": {"content": piece}} for piece in LONG]
    assert completed(*beside)["message"]["content"] == "Once upon a time."
    growing = [{"delta": {"content": LONG[end]}, "message": {"content": "".join(LONG[: end + 1])}} for end in range(4)]
    assert completed(*growing)["message"]["content"] == "Once upon a time."


def test_a_message_that_goes_on_with_the_deltas_is_not_lost():
    assert (
        completed({"delta": {"content": "Once "}}, {"message": {"content": "upon."}})["message"]["content"]
        == "Once upon."
    )
    assert (
        completed({"message": {"content": "Once "}}, {"delta": {"content": "upon."}})["message"]["content"]
        == "Once upon."
    )
    more = completed({"delta": {"content": "Once"}}, {"message": {"content": "Once upon."}})
    assert more["message"]["content"] == "Once upon."


def test_calls_citations_and_thoughts_of_a_message_are_not_taken_twice():
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    other = {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}
    note = {"type": "url_citation", "url_citation": {"url": "u"}}
    entry = {"type": "reasoning.text", "text": "hm", "signature": "S=="}
    said = [
        {"delta": {"reasoning_content": "h", "reasoning_details": [{"type": "reasoning.text", "text": "h"}]}},
        {"delta": {"reasoning_content": "m", "reasoning_details": [{"type": "reasoning.text", "text": "m"}]}},
        {"delta": {"reasoning_details": [{"type": "reasoning.text", "signature": "S=="}], "annotations": [note]}},
        {"delta": {"tool_calls": [{"index": 0, **call, "function": {"name": "f", "arguments": '{"x"'}}]}},
        {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}},
    ]
    whole = {
        "content": "",
        "reasoning_content": "hm",
        "reasoning_details": [entry],
        "annotations": [note],
        "tool_calls": [call, other],
    }
    expected = {"role": "assistant", "refusal": None, **whole, "content": None}
    assert completed(*said, {"message": whole, "finish_reason": "tool_calls"})["message"] == expected
    assert completed({"message": whole}, {"message": whole})["message"] == expected
    assert completed(*({"message": {"tool_calls": [call, other][:end]}} for end in (0, 1, 2)))["message"][
        "tool_calls"
    ] == [call, other]


def test_the_calls_of_a_message_that_grows_grow_with_it():
    arguments = ['{"ci', '{"city":"Os', '{"city":"Oslo"}']
    growing = [{"message": {"tool_calls": [{"function": {"name": "w", "arguments": each}}]}} for each in arguments]
    [call] = completed(*growing)["message"]["tool_calls"]
    assert call["function"]["arguments"] == '{"city":"Oslo"}'


def test_the_older_function_call_is_one_call():
    def called(**fields: Any) -> dict[str, Any]:
        return {"function_call": fields}

    choice = completed(*({"delta": called(**each)} for each in ({"name": "f"}, {"name": "f", "arguments": None})))
    assert choice["message"]["function_call"] == {"name": "f", "arguments": "{}"}
    assert choice["finish_reason"] == "function_call"
    split = folded(
        called(name="get_", arguments=""), called(name="x"), called(arguments='{"a"'), called(arguments=":1}")
    )
    assert split["function_call"] == {"name": "get_x", "arguments": '{"a":1}'}
    assert folded(called(name="f", arguments={"a": 1}))["function_call"]["arguments"] == '{"a":1}'
    assert "function_call" not in folded({"content": "x", "function_call": {"name": "", "arguments": ""}})


# -- choices -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "indexes", [(0, 1, 2), ("0", "1", "2"), (7, 8, 9), (None, None, None), ("a", {}, 1.5), (0, 0.0, "0")]
)
def test_an_index_that_changes_is_none_where_one_choice_was_asked_for(indexes: tuple[Any, ...]):
    accumulator = ChatAccumulator(n=1)
    for index, text in zip(indexes, "abc", strict=True):
        accumulator.add({"choices": [{"index": index, "delta": {"content": text}}]})
    accumulator.add({"choices": [{"index": indexes[0], "delta": {"content": "d"}}]})
    (choice,) = accumulator.result()["choices"]
    assert (choice["index"], choice["message"]["content"]) == (0, "abcd")


def test_two_choices_of_one_chunk_are_two_and_so_is_one_after_the_end_of_another():
    accumulator = ChatAccumulator(n=1)
    accumulator.add({"choices": [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}]})
    assert [choice["message"]["content"] for choice in accumulator.result()["choices"]] == ["a", "b"]
    accumulator = ChatAccumulator(n=1)
    accumulator.add({"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]})
    accumulator.add({"choices": [{"index": 1, "delta": {"content": "b"}}]})
    assert [choice["message"]["content"] for choice in accumulator.result()["choices"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ([None, None], "stop"),
        (["null", ""], "stop"),
        (["stop", "null"], "stop"),
        (["tool_calls", None, "stop"], "stop"),
        (["stop", "stop", "length"], "length"),
        ([5, {}], "stop"),
    ],
)
def test_the_last_real_finish_reason_counts(reasons: list[Any], expected: str):
    assert (
        completed(*({"delta": {"content": "a"}, "finish_reason": reason} for reason in reasons))["finish_reason"]
        == expected
    )


@pytest.mark.parametrize(
    "chunk",
    [
        {},
        {"choices": None},
        {"choices": {}},
        {"choices": ["x", None, 5]},
        {"type": "ping"},
        {"choices": [{}]},
        {"choices": [{"delta": 5, "message": "x"}]},
        {"choices": [{"delta": {"tool_calls": "x", "function_call": [], "content": None}}]},
        {"id": 5, "created": "1760000000", "model": None, "choices": []},
    ],
)
def test_what_cannot_be_understood_is_passed_over(chunk: dict[str, Any]):
    accumulator = ChatAccumulator("chatcmpl-1", 1, "m")
    for each in ({"choices": [{"delta": {"content": "a"}}]}, chunk, {"choices": [{"delta": {"content": "b"}}]}):
        accumulator.add(each)
    completion = accumulator.result()
    assert completion["choices"][0]["message"] == {"role": "assistant", "content": "ab", "refusal": None}
    ChatCompletion.model_validate(completion, strict=True)


def test_texts_of_the_older_completions_and_bare_deltas_are_content():
    assert completed({"text": "a"}, {"text": "b"})["message"]["content"] == "ab"
    assert completed({"text": "a", "delta": {"content": "a"}})["message"]["content"] == "a"
    assert completed({"delta": "a"}, {"delta": "b"})["message"]["content"] == "ab"


def test_a_folded_answer_can_be_written_whatever_came():
    deep: Any = "x"
    for _ in range(400):
        deep = [deep]
    halves = completed({"delta": {"content": "x \ud83d"}}, {"delta": {"content": "\ude00 y", "n": 2**70, "deep": deep}})
    assert halves["message"]["content"] == "x \N{GRINNING FACE} y"
    assert (
        completed({"delta": {"content": "x \ud83d"}}, {"delta": {"content": "y"}})["message"]["content"] == "x \ufffdy"
    )
    accumulator = ChatAccumulator()
    accumulator.add({"choices": [{"delta": {"content": "a"}, "logprobs": {"content": [{"logprob": float("-inf")}]}}]})
    assert b'"logprob":null' in dump_json(accumulator.result())


# -- no text is lost ---------------------------------------------------------------------------------------------------

shapes = st.sampled_from(["delta", "message", "text", "parts", "dict"])


@given(st.lists(st.tuples(shapes, st.text(st.sampled_from("abc "), min_size=1, max_size=3)), max_size=6))
def test_the_text_of_deltas_is_neither_lost_nor_changed(pieces: list[tuple[str, str]]):
    forms = {
        "delta": lambda text: {"delta": {"content": text}},
        "text": lambda text: {"text": text},
        "parts": lambda text: {"delta": {"content": [{"type": "text", "text": text}]}},
        "dict": lambda text: {"delta": {"content": {"type": "text", "text": text}}},
        "message": lambda text: {"delta": {"content": text}, "message": {"role": "assistant"}},
    }
    content = completed({"delta": {}}, *(forms[shape](text) for shape, text in pieces))["message"]["content"]
    assert (content or "") == "".join(text for _, text in pieces)


class TestHalvesOfCharacters:
    """A character whose halves came in two deltas is the same as the whole one of a message that says it again."""

    def test_of_a_text(self) -> None:
        choice = completed(
            {"delta": {"content": "x \ud83d"}},
            {"delta": {"content": "\ude00"}},
            {"message": {"content": "x \U0001f600"}},
        )
        assert choice["message"]["content"] == "x \U0001f600"

    def test_of_thoughts(self) -> None:
        deltas = [{"delta": {"reasoning_content": half}} for half in ("\ud83d", "\ude00")]
        choice = completed(*deltas, {"message": {"reasoning_content": "\U0001f600", "content": "x"}})
        assert choice["message"]["reasoning_content"] == "\U0001f600"

    def test_of_the_input_of_a_call(self) -> None:
        pieces = [{"index": 0, "custom": {"name": "f", "input": "\ud83d"}}, {"index": 0, "custom": {"input": "\ude00"}}]
        whole = {"tool_calls": [{"custom": {"name": "f", "input": "\U0001f600"}}]}
        choice = completed(*({"delta": {"tool_calls": [piece]}} for piece in pieces), {"message": whole})
        assert [call["custom"]["input"] for call in choice["message"]["tool_calls"]] == ["\U0001f600"]


def test_a_call_that_a_message_says_again_with_other_blanks_is_one_call() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    again = {"type": "function", "function": {"name": "f", "arguments": '{ "a": 1 }'}}
    choice = completed({"delta": {"tool_calls": [call]}}, {"message": {"tool_calls": [again]}})
    assert choice["message"]["tool_calls"] == [{"id": None, **call}]


def test_many_fragments_take_no_time_that_grows_with_their_square() -> None:
    """An index that grows with every piece makes as many entries; none of them is searched for the next one."""
    message = FoldedMessage()
    pieces = [{"type": "reasoning.text", "index": place, "text": "a"} for place in range(20_000)]
    began = time.process_time()
    for piece in [*pieces, *pieces]:
        message.add_delta({"reasoning_details": [piece]})
    assert [entry["text"] for entry in message.result()["reasoning_details"]] == ["aa"] * len(pieces)
    assert time.process_time() - began < 5
