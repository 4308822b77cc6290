"""The short way of reading plain chunks says what the long way says, or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
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


def written(data: bytes, field: bytes = b"data: ", end: bytes = b"\n\n") -> bytes:
    return field + data + end


def taught(data: bytes, field: bytes = b"data: ", end: bytes = b"\n\n") -> ContentTemplate:
    template = ContentTemplate()
    template.learn(written(data, field, end), data, orjson.loads(data))
    return template


def learned(example: dict[str, Any]) -> ContentTemplate:
    return taught(orjson.dumps(example))


def text_of(template: ContentTemplate, data: bytes) -> str | None:
    """The text of one event."""
    texts = template.texts(written(data))
    return None if texts is None else "".join(texts)


def test_a_stream_s_plain_chunks_are_read_by_their_text() -> None:
    template = learned(chunk("Hello"))
    assert text_of(template, orjson.dumps(chunk(" world ✓"))) == " world ✓"


@pytest.mark.parametrize(
    "example",
    [
        chunk(""),
        chunk("done", finish_reason="stop"),
        chunk("x", logprobs={"content": []}),
        chunk("x", delta={"content": "x", "refusal": "y"}),
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
    assert text_of(template, orjson.dumps(example)) is None
    assert text_of(template, orjson.dumps(chunk("Hello"))) is None


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
    assert text_of(learned(chunk("Hello")), orjson.dumps(other)) is None


@pytest.mark.parametrize("raw", [b"\xff", b"\x01", b"\t"])
def test_bytes_that_are_no_json_text_are_left_to_the_parser(raw: bytes) -> None:
    data = orjson.dumps(chunk("HERE")).replace(b"HERE", raw)
    assert text_of(learned(chunk("Hello")), data) is None


@pytest.mark.parametrize("text", ['say "content":"x"', "back\\slash", "ends in \\", '"', "line\nend", "\u2028", "🙂"])
def test_what_is_escaped_is_the_text_that_it_stands_for(text: str) -> None:
    assert text_of(learned(chunk("Hello")), orjson.dumps(chunk(text))) == text
    assert text_of(learned(chunk("Hello")), json.dumps(chunk(text)).encode()) is None  # written in another way
    assert text_of(learned(chunk('"Hello"\n')), orjson.dumps(chunk(text))) == text
    template = taught(json.dumps(chunk("Hello")).encode())
    assert text_of(template, json.dumps(chunk(text)).encode()) == text


@pytest.mark.parametrize("broken", [rb"\q", rb"\ud83d", b"\\", rb'\\"', b'a","b', b'a"', b"\n"])
def test_what_is_no_text_of_json_is_left_to_the_parser(broken: bytes) -> None:
    data = orjson.dumps(chunk("HERE")).replace(b"HERE", broken)
    assert text_of(learned(chunk("Hello")), data) is None


@pytest.mark.parametrize("letters", ["", "a", "aB3" * 40])
def test_padding_may_be_of_any_length(letters: str) -> None:
    for write in (orjson.dumps, lambda given: json.dumps(given).encode()):
        template = taught(write({**chunk("Hello"), "obfuscation": "abc"}))

        def padded(text: str, letters: str, write: Callable[[Any], bytes] = write) -> bytes:
            return write({**chunk(text), "obfuscation": letters})

        data = padded(" world", letters)
        assert text_of(template, data) == " world"
        assert text_of(template, padded("", letters)) is None
        assert text_of(template, padded(" world", letters + '"')) is None
        assert text_of(template, padded(" world", letters + "-")) is None
        assert text_of(template, data[:-1] + b',"x":1}') is None
        assert text_of(template, write(chunk(" world"))) is None
        several = written(data) + written(padded('"', letters)) + written(padded("✓", "xyz"))
        assert template.texts(several) == [" world", '"', "✓"]


@pytest.mark.parametrize(
    "odd",
    [
        chunk("b"),
        {**chunk(""), "obfuscation": "abc"},
        {**chunk("b"), "obfuscation": "a-b"},
        {**chunk("b"), "obfuscation": None},
        {**chunk("b"), "obfuscation": ["abc"]},
        {**chunk("b", finish_reason="stop"), "obfuscation": "abc"},
    ],
)
def test_padded_events_with_an_odd_one_among_them_are_left_to_the_parser(odd: dict[str, Any]) -> None:
    padded = {**chunk("Hello"), "obfuscation": "abc"}
    assert learned(padded).texts(as_events(padded, odd, padded)) is None


def test_an_event_that_looks_like_two_is_left_to_the_parser() -> None:
    padded = {**chunk("HERE"), "obfuscation": "abc"}
    for text in (b'a","b', b'a"],["b', b'a"\n,"b', b'a"\n\n,"b', b'a"]\n,["b', b'a",["b"],"c'):
        for example in (padded, chunk("HERE")):
            events = as_events(example, example, example)
            for place in range(4):
                broken = b"".join(
                    event.replace(b"HERE", text if at == place else b"x") + b"HERE"[:0]
                    for at, event in enumerate(events.split(b"\n\n"))
                    for event in [event + b"\n\n" if event else b""]
                )
                assert (learned(example).texts(broken) is None) == (place < 3)


def test_an_event_that_lacks_what_stands_before_its_padding_is_left_to_the_parser() -> None:
    template = learned({**chunk("Hello"), "obfuscation": "abc"})
    events = as_events(*({**chunk(text), "obfuscation": "abc"} for text in "xyz"))
    start, end = events.find(b'y"'), events.find(b'"abc"', events.find(b'y"'))
    for between in (b'y",', b"y"):
        assert template.texts(events[:start] + between + events[end:]) is None


def test_events_that_together_look_like_texts_are_left_to_the_parser() -> None:
    template = learned(chunk("Hello"))
    events = as_events(chunk("FIRST"), chunk("b"), chunk("LAST"))
    assert template.texts(events) == ["FIRST", "b", "LAST"]
    assert template.texts(events.replace(b"FIRST", b'a",["b').replace(b"LAST", b'x"],"y')) is None


def test_padding_elsewhere_is_a_field_like_any_other() -> None:
    template = learned({**chunk("Hello"), "x": {"obfuscation": "abc"}})
    assert text_of(template, orjson.dumps({**chunk(" world"), "x": {"obfuscation": "abc"}})) == " world"
    assert text_of(template, orjson.dumps({**chunk(" world"), "x": {"obfuscation": "abcd"}})) is None


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
    template = learned(example)
    assert text_of(template, orjson.dumps(example)) == text
    assert text_of(template, orjson.dumps(example).replace(b'"%b"' % text.encode(), b'"\\"a\\":"')) == '"a":'
    template.forget()
    assert text_of(template, orjson.dumps(example)) is None


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
    assert text_of(learned(example), orjson.dumps(example)) is None


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
    assert text_of(taught(data), data) is None


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

    template = learned(padded("Hello", "abc"))
    data = orjson.dumps(padded(text, padding))
    assert text_of(template, data) == text
    for candidate in (data[:at] + noise + data[at:], data[:at] + noise, data[at:]):
        found = text_of(template, candidate)
        if found is not None:
            read = orjson.loads(candidate)
            assert read == padded(found, read["obfuscation"])


@given(st.text(min_size=1), st.binary(max_size=40), st.integers(0, 200))
@settings(deadline=None)
def test_the_short_way_never_says_anything_else_than_the_long_way(text: str, noise: bytes, at: int) -> None:
    template = learned(chunk("Hello"))
    data = orjson.dumps(chunk(text))
    for candidate in (data, data[:at] + noise + data[at:], data[:at] + noise):
        found = text_of(template, candidate)
        if found is not None:
            assert orjson.loads(candidate) == chunk(found)


def as_events(*chunks: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + orjson.dumps(one) + b"\n\n" for one in chunks)


def test_whole_events_are_read_at_once() -> None:
    template = learned(chunk("Hello"))
    assert template.texts(as_events(chunk(" world"))) == [" world"]
    assert template.texts(as_events(chunk(" ✓"))) == [" ✓"]
    assert template.texts(as_events(chunk("a"), chunk('"'), chunk("✓"), chunk("\\"))) == ["a", '"', "✓", "\\"]


def test_a_run_of_events_ends_where_another_kind_begins() -> None:
    template = learned(chunk("Hello"))
    alike, other = as_events(chunk("a"), chunk("b"), chunk("c")), as_events(chunk("d", finish_reason="stop"))
    assert template.run(other + alike + other, len(other)) == len(other + alike)
    assert template.run(alike, 0) == len(alike)
    assert template.run(alike[:-1], 0) == len(alike) // 3 * 2
    assert template.run(b": ping\n\n" + alike, 0) == 0
    assert template.run(alike[:40], 0) == 0
    assert ContentTemplate().run(alike, 0) == 0


@pytest.mark.parametrize(
    "events",
    [
        as_events(chunk("a"), chunk("")),
        as_events(chunk("a"), chunk("✓")).replace("✓".encode(), "✓".encode()[:2]),
        as_events(chunk("✓1"), chunk("2")).replace("✓1".encode(), "✓".encode()[:2]).replace(b"2", "✓".encode()[2:]),
        as_events(chunk("a"), chunk("b", index=1)),
        as_events(chunk("a")) + b": ping\n\n",
        b": ping\n\n" + as_events(chunk("a")),
        as_events(chunk("a"))[:-1],
        as_events(chunk("a")) + as_events(chunk("b"))[:-1],
        as_events(chunk("a")).replace(b"\n\n", b"\r\n\r\n"),
        b"data: [DONE]\n\n",
        b"",
    ],
)
def test_what_is_not_all_plain_events_is_left_to_the_parser(events: bytes) -> None:
    assert learned(chunk("Hello")).texts(events) is None


@pytest.mark.parametrize(("field", "end"), [(b"event: x\ndata: ", b"\n\n"), (b"", b""), (b":\ndata:", b"\n\n")])
def test_only_usual_events_are_read_so(field: bytes, end: bytes) -> None:
    template = taught(orjson.dumps(chunk("Hello")), field, end)
    assert template.texts(written(orjson.dumps(chunk("a")), field, end)) is None


@pytest.mark.parametrize("field", [b"data: ", b"data:"])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_usual_events_have_a_blank_or_none_and_either_line_end(field: bytes, end: bytes) -> None:
    template = taught(orjson.dumps(chunk("Hello")), field, end)
    events = b"".join(written(orjson.dumps(chunk(text)), field, end) for text in "ab")
    assert template.texts(events) == ["a", "b"]
    assert template.run(events, 0) == len(events)


NOISE = st.binary(max_size=60) | st.lists(
    st.sampled_from([b'"', b",", b"\n", b"\n\n", b"[", b"]", b"a", b"\\", b"}", b"data: ", b" ", b"\r"]), max_size=6
).map(b"".join)


@pytest.mark.parametrize("example", [chunk("Hello"), {**chunk("Hello"), "obfuscation": "abc"}])
@given(st.lists(st.text(max_size=5), max_size=5), NOISE, st.integers(0, 700))
@settings(deadline=None, max_examples=400)
def test_events_read_at_once_say_what_the_parser_and_the_long_way_say(
    example: dict[str, Any], texts: list[str], noise: bytes, at: int
) -> None:
    template = learned(example)
    data = as_events(*({**example, **chunk(text)} for text in texts))
    for candidate in (data, data[:at] + noise + data[at:], data[:at] + noise, data[at:]):
        found = template.texts(candidate)
        if found is not None:
            events = SSEParser().feed(candidate)
            assert b"".join(event.raw for event in events if isinstance(event, Event)) == candidate
            read = [orjson.loads(event.data) for event in events if isinstance(event, Event)]
            assert [one["choices"][0]["delta"]["content"] for one in read] == found
            assert read == [{**one, **chunk(text)} for one, text in zip(read, found, strict=True)]
            assert all(one.keys() == example.keys() for one in read)
