"""The short way of reading plain chunks says what the long way says, or nothing."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.chat_template import ContentTemplate
from gateway.wire.sse import Event, SSEParser


def chunk(text: str, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    return {"id": "chatcmpl-1", "model": "m", "choices": [choice | more], "usage": None}


def learned(example: dict[str, Any]) -> ContentTemplate:
    template = ContentTemplate()
    template.learn(orjson.dumps(example), example)
    return template


def test_a_stream_s_plain_chunks_are_read_by_their_text() -> None:
    template = learned(chunk("Hello"))
    assert template.text(orjson.dumps(chunk(" world ✓"))) == " world ✓"
    assert template.index == 0


@pytest.mark.parametrize(
    "example",
    [
        chunk(""),
        chunk("done", finish_reason="stop"),
        chunk("x", logprobs={"content": []}),
        chunk("x", delta={"content": "x", "refusal": "y"}),
        chunk("x", delta={"reasoning_content": "x"}),
        chunk("x", delta={"content": None}),
        chunk("x", delta={"content": ["x"]}),
        chunk("x", delta={}),
        {**chunk("x"), "usage": {"prompt_tokens": 1, "completion_tokens": 1}},
        {**chunk("x"), "choices": []},
        {**chunk("x"), "choices": chunk("x")["choices"] * 2},
        {"content": "a decoy", **chunk("x")},
    ],
)
def test_what_is_not_plain_teaches_nothing(example: dict[str, Any]) -> None:
    template = learned(example)
    assert template.text(orjson.dumps(example)) is None
    assert template.text(orjson.dumps(chunk("Hello"))) is None


@pytest.mark.parametrize(
    "other",
    [
        chunk("x", finish_reason="stop"),
        chunk("x", index=1),
        chunk(""),
        {**chunk("x"), "id": "another"},
    ],
)
def test_what_does_not_fit_is_left_to_the_parser(other: dict[str, Any]) -> None:
    assert learned(chunk("Hello")).text(orjson.dumps(other)) is None


@pytest.mark.parametrize("raw", [b"\xff", b"\x01", b"\t"])
def test_bytes_that_are_no_json_text_are_left_to_the_parser(raw: bytes) -> None:
    data = orjson.dumps(chunk("HERE")).replace(b"HERE", raw)
    assert learned(chunk("Hello")).text(data) is None


@pytest.mark.parametrize("text", ['say "content":"x"', "back\\slash", "ends in \\", '"', "line\nend", "\u2028", "🙂"])
def test_what_is_escaped_is_the_text_that_it_stands_for(text: str) -> None:
    assert learned(chunk("Hello")).text(orjson.dumps(chunk(text))) == text
    assert learned(chunk("Hello")).text(json.dumps(chunk(text)).encode()) is None  # written in another way
    assert learned(chunk('"Hello"\n')).text(orjson.dumps(chunk(text))) == text
    template = ContentTemplate()
    template.learn(json.dumps(chunk("Hello")).encode(), chunk("Hello"))
    assert template.text(json.dumps(chunk(text)).encode()) == text


@pytest.mark.parametrize("broken", [rb"\q", rb"\ud83d", b"\\", rb'\\"', b'a","b', b'a"', b"\n"])
def test_what_is_no_text_of_json_is_left_to_the_parser(broken: bytes) -> None:
    data = orjson.dumps(chunk("HERE")).replace(b"HERE", broken)
    assert learned(chunk("Hello")).text(data) is None
    assert taught(chunk("Hello")).texts(b"data: " + data + b"\n\n") is None


@pytest.mark.parametrize("letters", ["", "a", "aB3" * 40])
def test_padding_may_be_of_any_length(letters: str) -> None:
    for write in (orjson.dumps, lambda given: json.dumps(given).encode()):
        template, example = ContentTemplate(), {**chunk("Hello"), "obfuscation": "abc"}
        template.learn(write(example), example, b"data: " + write(example) + b"\n\n")
        data = write({**chunk(" world"), "obfuscation": letters})
        assert template.text(data) == " world"
        assert template.texts(b"data: " + data + b"\n\n") == (" world", 1)
        assert template.text(write({**chunk(""), "obfuscation": letters})) is None
        assert template.text(write({**chunk(" world"), "obfuscation": letters + '"'})) is None
        assert template.text(data[:-1] + b',"x":1}') is None
        assert template.text(write(chunk(" world"))) is None


def test_padding_elsewhere_is_a_field_like_any_other() -> None:
    template = learned({**chunk("Hello"), "x": {"obfuscation": "abc"}})
    assert template.text(orjson.dumps({**chunk(" world"), "x": {"obfuscation": "abc"}})) == " world"
    assert template.text(orjson.dumps({**chunk(" world"), "x": {"obfuscation": "abcd"}})) is None


CALL = {"index": 0, "id": None, "function": {"name": None, "arguments": "{"}}
OTHERS = [
    ({"reasoning_content": "Hm", "content": None}, "Hm"),
    ({"role": "assistant", "content": "", "reasoning": "Hm"}, "Hm"),
    ({"refusal": "No"}, "No"),
    ({"tool_calls": [CALL]}, "{"),
]


@pytest.mark.parametrize(("delta", "text"), OTHERS)
def test_other_texts_are_read_where_any_will_do(delta: dict[str, Any], text: str) -> None:
    example = chunk("", delta=delta)
    template = ContentTemplate()
    template.learn(orjson.dumps(example), example, any_text=True)
    assert template.text(orjson.dumps(example)) == text
    assert template.text(orjson.dumps(example).replace(b'"%b"' % text.encode(), b'"\\"a\\":"')) == '"a":'
    assert learned(example).text(orjson.dumps(example)) is None
    template.forget()
    assert template.text(orjson.dumps(example)) is None


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x", "reasoning_content": "y"},
        {"tool_calls": [{**CALL, "function": {"name": "f", "arguments": "{"}}]},
        {"tool_calls": [CALL, CALL]},
        {"tool_calls": CALL},
        {"tool_calls": ["{"]},
        {"tool_calls": [{"arguments": "{"}]},
        {"thinking": "not counted"},
        {"content": "x", "audio": {"id": "a"}},
    ],
)
def test_what_says_more_than_one_text_teaches_nothing(delta: dict[str, Any]) -> None:
    example = chunk("", delta=delta)
    template = ContentTemplate()
    template.learn(orjson.dumps(example), example, any_text=True)
    assert template.text(orjson.dumps(example)) is None


@pytest.mark.parametrize(
    "data",
    [
        b'{"id":"x","x\\"content":"x","choices":[{"index":0,"delta":{"content": "x"}}]}',
        b'{"id":"x","choices":[{"index":0,"delta":{"\\u0063ontent":"x"}}],"content":"x"}',
        b'{"id":"x","choices":[{"index":0,"delta":{"content":"x","content":"x"}}]}',
        b'{"id":"x","content"  :"x","choices":[{"index":0,"delta":{"content":"x"}}]}',
        b'{"id":"x","choices":[{"index":0,"delta":{"content" :"x"}}]}',
    ],
)
def test_no_other_field_is_taken_for_the_text(data: bytes) -> None:
    template = ContentTemplate()
    template.learn(data, orjson.loads(data))
    assert template.text(data) is None


@given(
    st.text(min_size=1),
    st.text("aB3", max_size=9),
    st.binary(max_size=40),
    st.integers(0, 250),
    st.sampled_from([{"content": ""}, {"reasoning_content": "", "content": None}, {"refusal": ""}]),
)
@settings(deadline=None)
def test_the_short_way_is_the_long_way_whatever_text_it_is_of(
    text: str, padding: str, noise: bytes, at: int, delta: dict[str, Any]
) -> None:
    name = next(iter(delta))

    def padded(text: str, padding: str) -> dict[str, Any]:
        return {**chunk("", delta={**delta, name: text}), "obfuscation": padding}

    template = ContentTemplate()
    template.learn(orjson.dumps(padded("Hello", "abc")), padded("Hello", "abc"), any_text=True)
    data = orjson.dumps(padded(text, padding))
    assert template.text(data) == text
    for candidate in (data[:at] + noise + data[at:], data[:at] + noise, data[at:]):
        found = template.text(candidate)
        if found is not None:
            read = orjson.loads(candidate)
            assert read == padded(found, read["obfuscation"])


@given(st.text(min_size=1), st.binary(max_size=40), st.integers(0, 200))
@settings(deadline=None)
def test_the_short_way_never_says_anything_else_than_the_long_way(text: str, noise: bytes, at: int) -> None:
    template = learned(chunk("Hello"))
    data = orjson.dumps(chunk(text))
    for candidate in (data, data[:at] + noise + data[at:], data[:at] + noise):
        found = template.text(candidate)
        if found is not None:
            assert orjson.loads(candidate) == chunk(found)


def as_events(*chunks: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + orjson.dumps(one) + b"\n\n" for one in chunks)


def taught(example: dict[str, Any], field: bytes = b"data: ", end: bytes = b"\n\n") -> ContentTemplate:
    template = ContentTemplate()
    data = orjson.dumps(example)
    template.learn(data, example, field + data + end)
    return template


def test_whole_events_are_read_at_once() -> None:
    template = taught(chunk("Hello"))
    assert template.texts(as_events(chunk(" world"))) == (" world", 1)
    assert template.texts(as_events(chunk(" ✓"))) == (" ✓", 1)
    assert template.texts(as_events(chunk("a"), chunk(" b"), chunk("c"))) == ("a bc", 3)


@pytest.mark.parametrize(
    "events",
    [
        as_events(chunk("a"), chunk("")),
        as_events(chunk("a"), chunk("✓")),  # read one by one, in case a character was cut in two
        as_events(chunk("a"), chunk("b", index=1)),
        as_events(chunk("a")) + b": ping\n\n",
        b": ping\n\n" + as_events(chunk("a")),
        as_events(chunk("a"))[:-1],
        as_events(chunk("a")) + as_events(chunk("b"))[:-1],
        as_events(chunk("a")).replace(b"\n\n", b"\r\n\r\n"),
        as_events(chunk("a"), chunk('"')),
        b"data: [DONE]\n\n",
        b"",
    ],
)
def test_what_is_not_all_plain_events_is_left_to_the_parser(events: bytes) -> None:
    assert taught(chunk("Hello")).texts(events) is None


@pytest.mark.parametrize(("field", "end"), [(b"data: ", b"\r\n\r\n"), (b"event: x\ndata: ", b"\n\n"), (b"", b"")])
def test_only_usual_events_are_read_so(field: bytes, end: bytes) -> None:
    template = taught(chunk("Hello"), field, end)
    assert template.texts(field + orjson.dumps(chunk("a")) + end) is None


@given(st.lists(st.text(max_size=5), max_size=5), st.binary(max_size=60), st.integers(0, 400))
@settings(deadline=None)
def test_events_read_at_once_say_what_the_parser_and_the_long_way_say(texts: list[str], noise: bytes, at: int) -> None:
    template = taught(chunk("Hello"))
    data = as_events(*(chunk(text) for text in texts))
    for candidate in (data, data[:at] + noise + data[at:], data[:at] + noise, data[at:]):
        found = template.texts(candidate)
        if found is not None:
            events = SSEParser().feed(candidate)
            assert b"".join(event.raw for event in events if isinstance(event, Event)) == candidate
            assert found[1] == len(events)
            said = [orjson.loads(event.data)["choices"][0]["delta"]["content"] for event in events]  # type: ignore[union-attr]
            assert "".join(said) == found[0]
            assert [orjson.loads(event.data) for event in events] == [chunk(one) for one in said]  # type: ignore[union-attr]
