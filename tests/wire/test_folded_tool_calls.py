"""Whatever an upstream leaves out or repeats, the calls of a folded answer are those that its model made."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.chat_accumulator import ChatAccumulator
from gateway.wire.folded_tool_calls import ToolCalls, offered_names

OSLO, ROME = '{"city":"Oslo"}', '{"city":"Rome"}'
Calls = list[tuple[str | None, str, str]]


def piece(name: str | None = None, arguments: Any = ..., /, **marks: Any) -> dict[str, Any]:
    """One entry of ``tool_calls``; ``marks``: its id, index and type."""
    function = {"name": name, "arguments": arguments}
    if name is None:
        del function["name"]
    if arguments is ...:
        del function["arguments"]
    return {**marks, "function": function} if function else marks


def calls_of(*pieces: dict[str, Any], tools: tuple[str, ...] = ()) -> Calls:
    """Id, name and arguments of the calls, each piece having come in a chunk of its own."""
    folding = ToolCalls(frozenset(tools))
    for each in pieces:
        folding.extend([each])
    return [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in folding.result()]


APART: dict[str, tuple[list[dict[str, Any]], Calls]] = {
    "two ids of one index": (
        [piece("weather", OSLO, index=0, id="x1"), piece("time", '{"zone":"CET"}', index=0, id="x2")],
        [("x1", "weather", OSLO), ("x2", "time", '{"zone":"CET"}')],
    ),
    "two ids of one index, the same function": (
        [piece("weather", OSLO, index=0, id="x1"), piece("weather", ROME, index=0, id="x2")],
        [("x1", "weather", OSLO), ("x2", "weather", ROME)],
    ),
    "two ids of one index, the very same call: dice are thrown twice": (
        [piece("roll", '{"sides":6}', index=0, id="x1"), piece("roll", '{"sides":6}', index=0, id="x2")],
        [("x1", "roll", '{"sides":6}'), ("x2", "roll", '{"sides":6}')],
    ),
    "two ids of one index, without arguments": (
        [piece("ping", index=0, id="x1"), piece("time", "", index=0, id="x2")],
        [("x1", "ping", "{}"), ("x2", "time", "{}")],
    ),
    "two ids of one index, in pieces one after the other": (
        [
            piece("weather", "", index=0, id="x1"),
            piece(None, '{"city":', index=0),
            piece(None, '"Oslo"}', index=0),
            piece("weather", "", index=0, id="x2"),
            piece(None, '{"city":', index=0),
            piece(None, '"Rome"}', index=0),
        ],
        [("x1", "weather", OSLO), ("x2", "weather", ROME)],
    ),
    "two ids of one index, in pieces among one another": (
        [
            piece("weather", "", index=0, id="x1"),
            piece("time", "", index=0, id="x2"),
            piece(None, OSLO, index=0, id="x1"),
            piece(None, '{"zone":1}', index=0, id="x2"),
        ],
        [("x1", "weather", OSLO), ("x2", "time", '{"zone":1}')],
    ),
    "no ids, one index": (
        [piece("weather", OSLO, index=0, type="function"), piece("time", "{}", index=0, type="function")],
        [(None, "weather", OSLO), (None, "time", "{}")],
    ),
    "no ids, one index, the same function": (
        [piece("weather", OSLO, index=0), piece("weather", ROME, index=0)],
        [(None, "weather", OSLO), (None, "weather", ROME)],
    ),
    "no ids, one index, in pieces": (
        [
            piece("weather", "", index=0),
            piece(None, OSLO, index=0),
            piece("time", "", index=0),
            piece(None, "{}", index=0),
            piece("time", "", index=0),
            piece(None, '{"zone"', index=0),
            piece(None, ":1}", index=0),
        ],
        [(None, "weather", OSLO), (None, "time", "{}"), (None, "time", '{"zone":1}')],
    ),
    "no ids, one index, without arguments": (
        [piece("ping", index=0, type="function"), piece("pong", index=0, type="function")],
        [(None, "ping", "{}"), (None, "pong", "{}")],
    ),
    "empty ids, one index (Gemini)": (
        [piece("weather", OSLO, index=0, id=""), piece("time", "{}", index=0, id="")],
        [(None, "weather", OSLO), (None, "time", "{}")],
    ),
    "ids that say null": (
        [piece("weather", OSLO, id="null"), piece("time", "{}", id="null")],
        [(None, "weather", OSLO), (None, "time", "{}")],
    ),
    "neither index nor id": (
        [piece("weather", OSLO), piece("time", {"zone": "CET"}), piece("time", {"zone": "EST"})],
        [(None, "weather", OSLO), (None, "time", '{"zone":"CET"}'), (None, "time", '{"zone":"EST"}')],
    ),
    "an index, no ids, one function side by side": (
        [
            piece("weather", "", index=0),
            piece("weather", "", index=1),
            piece(None, OSLO, index=0),
            piece(None, ROME, index=1),
        ],
        [(None, "weather", OSLO), (None, "weather", ROME)],
    ),
    "one id for all, two indexes": (
        [piece("weather", OSLO, index=0, id="call"), piece("time", "{}", index=1, id="call")],
        [("call", "weather", OSLO), ("call", "time", "{}")],
    ),
    "one id for all, two indexes, in pieces": (
        [
            piece("weather", "", index=0, id="call"),
            piece("time", "", index=1, id="call"),
            piece(None, OSLO, index=0, id="call"),
            piece(None, '{"zone":1}', index=1, id="call"),
        ],
        [("call", "weather", OSLO), ("call", "time", '{"zone":1}')],
    ),
    "one id for all, one index": (
        [piece("weather", OSLO, index=0, id="call"), piece("time", "{}", index=0, id="call")],
        [("call", "weather", OSLO), ("call", "time", "{}")],
    ),
    "one id for all, one index, one function": (
        [piece("weather", OSLO, index=0, id="call"), piece("weather", ROME, index=0, id="call")],
        [("call", "weather", OSLO), ("call", "weather", ROME)],
    ),
    "two indexes, the second begins with a head alone": (
        [
            piece("weather", OSLO, index=0, id="a"),
            {"index": 1, "id": "b", "type": "function"},
            piece("time", index=1),
            piece(None, "{}", index=1),
        ],
        [("a", "weather", OSLO), ("b", "time", "{}")],
    ),
    "indexes are texts": (
        [
            piece("weather", "", index="0", id="a"),
            piece("time", "", index="1", id="b"),
            piece(None, "{}", index="1"),
            piece(None, OSLO, index="0"),
        ],
        [("a", "weather", OSLO), ("b", "time", "{}")],
    ),
    "indexes are floats, or negative": (
        [
            piece("weather", "", index=-1.0, id="a"),
            piece("time", "", index=2.0, id="b"),
            piece(None, OSLO, index=-1),
            piece(None, "{}", index=2),
        ],
        [("a", "weather", OSLO), ("b", "time", "{}")],
    ),
    "the calls come last first": (
        [piece("time", "{}", index=1, id="b"), piece("weather", OSLO, index=0, id="a")],
        [("a", "weather", OSLO), ("b", "time", "{}")],
    ),
}

ONE: dict[str, tuple[list[dict[str, Any]], tuple[str | None, str, str]]] = {
    "a new id in each piece": (
        [
            piece("weather", "", index=0, id="c1"),
            piece(None, '{"city":', index=0, id="c2"),
            piece(None, '"Oslo"}', index=0, id="c3"),
            piece(None, "", index=0, id="c4"),
        ],
        ("c1", "weather", OSLO),
    ),
    "a new id in each piece, without an index": (
        [piece("weather", "", id="c1"), piece(None, '{"city":', id="c2"), piece(None, '"Oslo"}', id="c3")],
        ("c1", "weather", OSLO),
    ),
    "a new id and the name in each piece": (
        [
            piece("weather", "", index=0, id="c1"),
            piece("weather", '{"city":', index=0, id="c2"),
            piece("weather", '"Oslo"}', index=0, id="c3"),
            piece("weather", "", index=0, id="c4"),
        ],
        ("c1", "weather", OSLO),
    ),
    "a new index in each piece": (
        [
            piece("weather", "", index=0, id="c1"),
            piece(None, '{"city":', index=1),
            piece(None, '"Oslo"}', index=2),
        ],
        ("c1", "weather", OSLO),
    ),
    "a new index, and the same id, in each piece": (
        [
            piece("weather", "", index=0, id="c1"),
            piece("weather", '{"city":', index=1, id="c1"),
            piece("weather", '"Oslo"}', index=2, id="c1"),
        ],
        ("c1", "weather", OSLO),
    ),
    "no index, empty ids": (
        [piece("weather", "", id="c1"), piece(None, OSLO, id="")],
        ("c1", "weather", OSLO),
    ),
    "no index, ids that say null": (
        [piece("weather", "", id="c1"), piece(None, '{"city":', id="null"), piece(None, '"Oslo"}', id=None)],
        ("c1", "weather", OSLO),
    ),
    "no index, no ids": (
        [piece("weather", "", id="c1"), piece(None, '{"city":'), piece("", '"Oslo"}', index=None)],
        ("c1", "weather", OSLO),
    ),
    "the id comes later": (
        [piece("weather", "", index=0), piece(None, OSLO, index=0, id="c1")],
        ("c1", "weather", OSLO),
    ),
    "a number is an id": ([piece("weather", OSLO, index=0, id=7)], ("7", "weather", OSLO)),
    "a name in two pieces": (
        [piece("get_wea", "", index=0, id="c1"), piece("ther", OSLO, index=0)],
        ("c1", "get_weather", OSLO),
    ),
    "a name in three pieces, the id in each": (
        [
            piece("get", "", index=0, id="c1"),
            piece("_wea", "", index=0, id="c1"),
            piece("ther", "{}", index=0, id="c1"),
        ],
        ("c1", "get_weather", "{}"),
    ),
    "a name in two pieces, without index and ids": (
        [piece("get_wea"), piece("ther"), piece(None, OSLO)],
        (None, "get_weather", OSLO),
    ),
    "a name that grows": (
        [piece("get_wea", "", index=0, id="c1"), piece("get_weather", "{}", index=0, id="c1")],
        ("c1", "get_weather", "{}"),
    ),
    "a name repeated": (
        [piece("weather", "", index=0, id="c1"), piece("weather", "{}", index=0, id="c1")],
        ("c1", "weather", "{}"),
    ),
    "a name repeated in each piece, without ids": (
        [piece("weather", "", index=0), piece("weather", '{"city":', index=0), piece("weather", '"Oslo"}', index=0)],
        (None, "weather", OSLO),
    ),
    "a name repeated at the end, without ids": (
        [piece("weather", "", index=0), piece(None, OSLO, index=0), piece("weather", "", index=0)],
        (None, "weather", OSLO),
    ),
    "the whole twice": ([piece("weather", OSLO, index=0, id="c1")] * 2, ("c1", "weather", OSLO)),
    "the whole twice, as an object": ([piece("weather", {"a": 1}, index=0, id="c1")] * 2, ("c1", "weather", '{"a":1}')),
    "pieces, then the whole": (
        [
            piece("weather", "", index=0, id="c1"),
            piece(None, '{"city":', index=0),
            piece(None, '"Oslo"}', index=0),
            piece("weather", OSLO, index=0, id="c1"),
        ],
        ("c1", "weather", OSLO),
    ),
    "pieces, then the whole in other words, without ids": (
        [
            piece("weather", '{"city":', index=0),
            piece(None, ' "Oslo"}', index=0),
            piece("weather", OSLO, index=0),
        ],
        (None, "weather", OSLO),
    ),
    "all so far in each piece": (
        [
            piece("weather", '{"ci', index=0, id="c1"),
            piece("weather", '{"city":"Os', index=0, id="c1"),
            piece("weather", OSLO, index=0, id="c1"),
            piece("weather", OSLO, index=0, id="c1"),
        ],
        ("c1", "weather", OSLO),
    ),
    "all so far in each piece, without ids": (
        [piece("weather", '{"ci', index=0), piece("weather", OSLO, index=0), piece("weather", OSLO, index=0)],
        (None, "weather", OSLO),
    ),
    "all so far in each piece, with new ids": (
        [piece("weather", '{"ci', index=0, id="c1"), piece("weather", OSLO, index=0, id="c2")],
        ("c1", "weather", OSLO),
    ),
    "all so far, cut off": (
        [piece("weather", '{"ci', index=0, id="c1"), piece(None, '{"city":"O', index=0)],
        ("c1", "weather", '{"city":"O'),
    ),
    "an object that grows": (
        [piece("w", {"a": 1}, index=0, id="c1"), piece("w", {"a": 1, "b": 2}, index=0, id="c1")],
        ("c1", "w", '{"a":1,"b":2}'),
    ),
    "a placeholder first": (
        [piece("weather", "{}", index=0, id="c1"), piece(None, '{"city":', index=0), piece(None, '"Oslo"}', index=0)],
        ("c1", "weather", OSLO),
    ),
    "a placeholder object first": (
        [piece("weather", {}, index=0, id="c1"), piece(None, '{"city":', index=0), piece(None, '"Oslo"}', index=0)],
        ("c1", "weather", OSLO),
    ),
    "an object in pieces that look like a repeat": (
        [piece("f", '{"a":', index=0, id="c1"), piece(None, '{"a":1}', index=0), piece(None, "}", index=0)],
        ("c1", "f", '{"a":{"a":1}}'),
    ),
    "cut off by the length": ([piece("weather", '{"city":"Os', index=0, id="c1")], ("c1", "weather", '{"city":"Os')),
    "flat": ([{"index": 0, "id": "c1", "name": "weather", "arguments": OSLO}], ("c1", "weather", OSLO)),
    "no name at all": ([piece(None, OSLO, index=0, id="c1")], ("c1", "", OSLO)),
}


@pytest.mark.parametrize("case", APART)
def test_calls_are_apart(case: str):
    pieces, expected = APART[case]
    assert calls_of(*pieces) == expected


@pytest.mark.parametrize("case", ONE)
def test_a_call_is_one(case: str):
    pieces, expected = ONE[case]
    assert calls_of(*pieces) == [expected]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (..., "{}"),
        (None, "{}"),
        ("", "{}"),
        ("  ", "{}"),
        ("null", "{}"),
        ({}, "{}"),
        ({"city": "Oslo"}, OSLO),
        ({"a": {"b": [1, None]}, "c": "é"}, '{"a":{"b":[1,null]},"c":"é"}'),
        ([1, 2], "[1,2]"),
        (5, "5"),
        (True, "true"),
        ({"x": 2**70}, '{"x":1.1805916207174113e+21}'),
        ({"half": "\ud83d"}, '{"half":"\ufffd"}'),
        ("no json", "no json"),
    ],
)
def test_arguments_leave_as_text(arguments: Any, expected: str):
    assert calls_of(piece("f", arguments, index=0, id="a")) == [("a", "f", expected)]


def test_tools_that_were_offered_tell_where_a_name_ends():
    whole = (piece("ping", index=0), piece("time", index=0))
    assert calls_of(*whole) == [(None, "pingtime", "{}")]
    assert calls_of(*whole, tools=("ping", "time")) == [(None, "ping", "{}"), (None, "time", "{}")]
    split = (piece("get_wea", index=0, id="a", type="function"), piece("ther", index=0, id="b", type="function"))
    assert calls_of(*split) == [("a", "get_wea", "{}"), ("b", "ther", "{}")]
    assert calls_of(*split, tools=("get_weather",)) == [("a", "get_weather", "{}")]
    stem = (piece("get", index=0), piece("get_user", index=0))
    assert calls_of(*stem) == [(None, "get_user", "{}")]
    assert calls_of(*stem, tools=("get", "get_user")) == [(None, "get", "{}"), (None, "get_user", "{}")]
    assert calls_of(piece("get"), piece("_user"), tools=("get", "get_user")) == [(None, "get_user", "{}")]


def test_the_names_of_the_tools_that_a_request_offers():
    tools = [
        {"type": "function", "function": {"name": "weather"}},
        {"type": "custom", "custom": {"name": "sh"}},
        {"function": {"name": 5}},
        {"type": {}, "function": None},
        "odd",
    ]
    assert offered_names({"tools": tools, "functions": [{"name": "older"}, None]}) == {"weather", "sh", "older"}
    assert offered_names({"tools": None, "functions": {}}) == frozenset()


def test_whole_calls_in_one_chunk_are_apart_even_if_they_are_equal():
    folding = ToolCalls()
    folding.extend([piece("roll", "{}"), piece("roll", "{}"), piece("roll", '{"sides":6}')])
    assert [call["function"]["arguments"] for call in folding.result()] == ["{}", "{}", '{"sides":6}']


def test_labels_stay_and_what_else_a_call_has_is_kept():
    folding = ToolCalls()
    signature = {"google": {"thought_signature": "S=="}}
    folding.extend([{**piece("f", "", index=0, id="a", type="function"), "extra_content": signature}])
    folding.extend([{**piece(None, "{}", index=0, id="a", type="function"), "extra_content": signature}])
    assert folding.result() == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": signature}
    ]


def test_the_input_of_a_custom_tool_is_any_text():
    folding = ToolCalls()
    folding.extend([{"index": 0, "id": "a", "type": "custom", "custom": {"name": "sh", "input": "{}"}}])
    folding.extend([{"index": 0, "custom": {"input": "{ echo"}}, {"index": 0, "custom": {"input": " 1; }"}}])
    folding.extend([{"index": 1, "id": "b", "custom": {"name": "sh"}}])
    assert folding.result() == [
        {"id": "a", "type": "custom", "custom": {"name": "sh", "input": "{}{ echo 1; }"}},
        {"id": "b", "type": "custom", "custom": {"name": "sh", "input": ""}},
    ]


def test_what_is_no_call_is_passed_over():
    folding = ToolCalls()
    folding.extend(["odd", None, 5, [], {}, {"neither": "this"}])
    assert folding.result() == []
    folding.extend({"id": "a", "function": {"name": "alone", "arguments": None}})
    folding.extend([{"index": 7}, {"index": 8, "id": "z", "type": "function"}, {"function": None}])
    assert [call["function"]["name"] for call in folding.result()] == ["alone"]


def test_an_upstream_cannot_make_us_read_all_that_came_at_every_piece():
    folding = ToolCalls()
    folding.extend([piece("f", '{"a":"', index=0, id="a")])
    for _ in range(50_000):
        folding.extend([piece("f", "{}", index=0)])
    [call] = folding.result()
    assert len(call["function"]["arguments"]) == 100_006


def test_an_upstream_cannot_make_us_keep_calls_without_end():
    folding = ToolCalls()
    folding.extend([{"index": index, "id": str(index), "function": {"name": "f"}} for index in range(50_000)])
    assert len(folding.result()) == 2_000


# -- any calls, cut in any way -----------------------------------------------------------------------------------------

names = st.sampled_from(["weather", "time", "get_user"])
objects = st.dictionaries(st.text(max_size=3), st.text(max_size=5) | st.integers(0, 99), max_size=3)
made_calls = st.lists(st.tuples(names, objects), min_size=1, max_size=4)


def in_pieces(draw: st.DrawFn, text: str) -> list[str]:
    cuts = sorted(draw(st.lists(st.integers(1, max(len(text) - 1, 1)), max_size=4)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def folded(deltas: list[list[dict[str, Any]]]) -> Calls:
    accumulator = ChatAccumulator()
    for delta in deltas:
        accumulator.add({"choices": [{"index": 0, "delta": {"tool_calls": delta}}]})
    (choice,) = accumulator.result()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    calls = choice["message"]["tool_calls"]
    return [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls]


@st.composite
def streams(draw: st.DrawFn) -> tuple[Calls, list[list[dict[str, Any]]]]:
    """Calls as OpenAI streams them: index in each piece, id and name in the first; side by side or in a row."""
    calls: Calls = []
    queues: list[list[dict[str, Any]]] = []
    for index, (name, arguments) in enumerate(draw(made_calls)):
        text = json.dumps(arguments)
        calls.append((f"call_{index}", name, text))
        first = piece(name, "", index=index, id=f"call_{index}", type="function")
        queues.append([first, *(piece(None, part, index=index) for part in in_pieces(draw, text))])
    if draw(st.booleans()):
        order = draw(st.permutations([index for index, queue in enumerate(queues) for _ in queue]))
    else:
        order = [index for index, queue in enumerate(queues) for _ in queue]
    iterators = [iter(queue) for queue in queues]
    return calls, [[next(iterators[index])] for index in order]


@given(streams(), st.data())
def test_neither_cuts_nor_merges_nor_nulls_change_the_calls(stream: Any, data: st.DataObject):
    calls, deltas = stream
    assert folded(deltas) == calls
    merged: list[list[dict[str, Any]]] = []
    for delta in deltas:
        if merged and data.draw(st.booleans()):
            merged[-1] = merged[-1] + delta
        else:
            merged.append(delta)
    assert folded(merged) == calls
    nulls: dict[str, Any] = {"id": None, "type": None, "custom": None}
    padded = [[{**nulls, **each, "function": {"name": None, **each["function"]}} for each in delta] for delta in deltas]
    assert folded(padded) == calls
    empty = [[{"id": "", **each, "function": {"name": "", **each["function"]}} for each in delta] for delta in deltas]
    assert folded(empty) == calls


@given(made_calls, st.data())
def test_calls_in_a_row_need_no_index(calls: Any, data: st.DataObject):
    pieces: list[list[dict[str, Any]]] = []
    expected: Calls = []
    index: dict[str, Any] = data.draw(st.sampled_from([{}, {"index": 0}, {"index": None}, {"index": "0"}]))
    for number, (name, arguments) in enumerate(calls):
        text = json.dumps(arguments)
        expected.append((f"call_{number}", name, text))
        pieces.append([piece(name, "", **index, id=f"call_{number}")])
        pieces.extend([piece(None, part, **index)] for part in in_pieces(data.draw, text))
    assert folded(pieces) == expected


@given(made_calls, st.sampled_from([{}, {"index": 0}, {"id": ""}, {"index": 0, "id": "null"}]), st.booleans())
def test_whole_calls_need_no_marks(calls: Any, marks: dict[str, Any], as_objects: bool):
    deltas = [[piece(name, arguments if as_objects else json.dumps(arguments), **marks)] for name, arguments in calls]
    found = folded(deltas)
    assert [(name, orjson.loads(arguments)) for _, name, arguments in found] == calls
