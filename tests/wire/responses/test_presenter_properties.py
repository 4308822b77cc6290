"""Whatever a model says, in whatever pieces: a stream's events, joined as clients join them, are the whole answer."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.types import Usage
from gateway.wire.chat_accumulator import ChatAccumulator
from gateway.wire.responses.answer import ResponseFacts
from gateway.wire.responses.presenter import ResponsePresenter

WORDS = st.text(min_size=1, max_size=8)
CALLS = st.lists(st.tuples(st.sampled_from(["sun", "rain"]), st.dictionaries(WORDS, WORDS, max_size=2)), max_size=3)
SAID = st.lists(st.tuples(st.sampled_from(["content", "reasoning_content", "refusal"]), WORDS), max_size=6)
FACTS = ResponseFacts("resp_1", 1, "m", {}, lambda: 2.0, frozenset({"sun", "rain"}))


def chunks(said: list[tuple[str, str]], calls: list[tuple[str, dict[str, str]]], cut: int) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [{"role": "assistant"}, *({name: text} for name, text in said)]
    for index, (name, arguments) in enumerate(calls):
        text = json.dumps(arguments)
        head = {"index": index, "id": f"c{index}", "type": "function", "function": {"name": name, "arguments": ""}}
        deltas.append({"tool_calls": [head]})
        pieces = [text[at : at + cut] for at in range(0, len(text), cut)]
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in pieces]
    found = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    return [*found, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]


def told(output: list[Any]) -> dict[str, list[str]]:
    """What an output says, by kind; the texts of one kind joined, as a whole answer has them."""
    joined: dict[str, list[str]] = {}
    for item in output:
        if item["type"] == "function_call":
            joined.setdefault("call", []).append(f"{item['call_id']} {item['name']} {item['arguments']}")
        for part in item.get("content", ()):
            joined.setdefault(part["type"], [""])[0] += part.get("text", part.get("refusal", ""))
    return joined


@given(SAID, CALLS, st.integers(1, 9))
def test_a_stream_says_what_the_whole_says(
    said: list[tuple[str, str]], calls: list[tuple[str, dict[str, str]]], cut: int
) -> None:
    streaming = ResponsePresenter(FACTS, lambda _: None, streamed=True)
    accumulator = ChatAccumulator("c", 1, "m", n=1, tools=FACTS.offered)
    written = b""
    for chunk in chunks(said, calls, cut):
        written += streaming.chunk(chunk)
        accumulator.add(chunk)
    written += streaming.end(Usage(1, 0, 1), None)
    events = [json.loads(event.partition(b"\ndata: ")[2]) for event in written.split(b"\n\n") if event]
    whole = json.loads(
        ResponsePresenter(FACTS, lambda _: None, streamed=False).whole(accumulator.result(), Usage(1, 0, 1), None)
    )

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert told(events[-1]["response"]["output"]) == told(whole["output"])
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert sorted(done, key=lambda item: item["id"]) == sorted(
        events[-1]["response"]["output"], key=lambda item: item["id"]
    )
    added = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    assert added == list(range(len(added)))
    for item in done:
        deltas = [one["delta"] for one in events if one.get("item_id") == item["id"] and "delta" in one]
        if item["type"] == "function_call":
            assert "".join(deltas) == item["arguments"]
        elif item["type"] == "message":
            assert "".join(deltas) == "".join(part.get("text", part.get("refusal")) for part in item["content"])


def events_of(deltas: list[dict[str, Any]]) -> list[Any]:
    presenter = ResponsePresenter(FACTS, lambda _: None, streamed=True)
    written = b"".join(presenter.chunk({"choices": [{"index": 0, "delta": delta}]}) for delta in deltas)
    written += presenter.end(Usage(1, 0, 1), None)
    return [json.loads(event.partition(b"\ndata: ")[2]) for event in written.split(b"\n\n") if event]


def piece(index: int, arguments: str, *, begins: bool = False) -> dict[str, Any]:
    head = {"id": f"c{index}", "type": "function"} if begins else {}
    function = {"arguments": arguments} | ({"name": ("sun", "rain")[index]} if begins else {})
    return {"tool_calls": [{"index": index, **head, "function": function}]}


def test_a_call_has_ended_before_the_next_one_begins() -> None:
    events = events_of([piece(0, '{"a"', begins=True), piece(0, ":1}"), piece(1, '{"b":2}', begins=True)])
    steps = [(event["type"].removeprefix("response."), event["output_index"]) for event in events[2:-1]]
    delta, done = "function_call_arguments.delta", "function_call_arguments.done"
    one = [("output_item.added", 0), (delta, 0), (delta, 0), (done, 0), ("output_item.done", 0)]
    assert steps == [*one, ("output_item.added", 1), (delta, 1), (done, 1), ("output_item.done", 1)]


def test_calls_whose_pieces_come_in_turns_end_together() -> None:
    events = events_of(
        [
            piece(0, '{"a"', begins=True),
            piece(1, '{"b"', begins=True),
            piece(0, ":1}"),
            piece(1, ":2}"),
        ]
    )
    assert [item["arguments"] for item in events[-1]["response"]["output"]] == ['{"a":1}', '{"b":2}']
    done = [event["arguments"] for event in events if event["type"] == "response.function_call_arguments.done"]
    assert sorted(done) == ['{"a":1}', '{"b":2}']


def test_nothing_is_told_of_a_call_that_has_ended() -> None:
    events = events_of([piece(0, '{"a":1}', begins=True), piece(1, '{"b":2}', begins=True), piece(0, " ")])
    place = {event["item"]["id"]: number for number, event in enumerate(events) if event["type"].endswith("item.done")}
    for number, event in enumerate(events):
        if "item_id" in event:
            assert number < place[event["item_id"]]
    assert [item["status"] for item in events[-1]["response"]["output"]] == ["completed"] * 2


def test_a_placeholder_is_not_taken_for_the_whole() -> None:
    events = events_of([piece(0, "{}", begins=True), piece(1, '{"b":2}', begins=True), piece(0, '{"a":1}')])
    assert events[-1]["response"]["output"][0]["arguments"] == '{"a":1}'
