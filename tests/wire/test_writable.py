"""What a strict JSON reader refuses and upstreams send: it is read, and the nearest of it can be written."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.writable import dump_json, loads_lenient, writable, written_strictly


@pytest.mark.parametrize(
    ("data", "read", "written"),
    [
        (b'{"text":"x \\ud83d"}', {"text": "x \ud83d"}, {"text": "x \ufffd"}),
        (b'"\\ude00 y"', "\ude00 y", "\ufffd y"),
        (b'"\\ude00\\ud83d"', "\ude00\ud83d", "\ufffd\ufffd"),
        (b'"\xed\xa0\xbd half, as bytes"', "\ud83d half, as bytes", "\ufffd half, as bytes"),
        (b'{"\\ud83d":1}', {"\ud83d": 1}, {"\ufffd": 1}),
        (b'[[{"a":["\\udc00"]}]]', [[{"a": ["\udc00"]}]], [[{"a": ["\ufffd"]}]]),
        (b'{"logprob":-Infinity}', {"logprob": -math.inf}, {"logprob": None}),
        (b"[Infinity, 1e999, -1e999]", [math.inf, math.inf, -math.inf], [None, None, None]),
        (b'{"n":123456789012345678901234567890}', {"n": 1.2345678901234568e29}, {"n": 1.2345678901234568e29}),
        (b"[18446744073709551615, -9223372036854775808]", [2**64 - 1, -(2**63)], [2**64 - 1, -(2**63)]),
        (b"18446744073709551616", 2**64, float(2**64)),
        (b'{"n":' + b"7" * 5000 + b"}", {"n": math.inf}, {"n": None}),
        (b'"a\tb\x1b[0m"', "a\tb\x1b[0m", "a\tb\x1b[0m"),
        (b'"caf\xe9"', "caf\ufffd", "caf\ufffd"),
        (b'\xef\xbb\xbf{"a":1} \r\n', {"a": 1}, {"a": 1}),
        (b'{"a":1,"a":2}', {"a": 2}, {"a": 2}),
        (b"null", None, None),
    ],
)
def test_what_is_read_and_what_is_written(data: bytes, read: Any, written: Any):
    assert loads_lenient(data) == read
    assert writable(read) == written
    assert orjson.loads(dump_json(read)) == written


def test_nan_is_no_number():
    assert math.isnan(loads_lenient(b'{"logprob":NaN}')["logprob"])
    assert writable(math.nan) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b'{"choices":[',
        b": keepalive",
        b"[DONE]",
        b"<html>",
        b"'a'",
        b'{"a":1}{"b":2}',
        b"nan",
        b"\xff",
    ],
)
def test_what_is_no_json_is_refused(data: bytes):
    with pytest.raises(ValueError, match=r"."):
        loads_lenient(data)


@pytest.mark.parametrize("levels", [201, 1_000, 100_000])
def test_depth_is_bounded(levels: int):
    with pytest.raises(ValueError, match="nested too deeply"):
        loads_lenient(b"[" * levels + b"NaN" + b"]" * levels)


def test_halves_that_meet_are_the_whole():
    halves = [loads_lenient(b'"x \\ud83d"'), loads_lenient(b'"\\ude00 y"')]
    assert writable("".join(halves)) == "x \N{GRINNING FACE} y"
    assert writable("\ud83d\ud83d\ude00\ude00") == "\ufffd\N{GRINNING FACE}\ufffd"


def test_what_is_nested_too_deeply_to_be_written_ends_in_null():
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    written = orjson.loads(dump_json({"kept": "text", "deep": deep}))
    assert written["kept"] == "text"
    assert json.dumps(written["deep"]).endswith("[null" + "]" * (json.dumps(written["deep"]).count("[")))


def test_what_is_given_is_left_as_it_was():
    given_value = {"a": ["\ud83d", math.inf], "b": 2**70}
    writable(given_value)
    assert given_value == {"a": ["\ud83d", math.inf], "b": 2**70}


odd_texts = st.text(st.characters(), max_size=8) | st.text(st.sampled_from("\ud83d\ude00a\ufeff"), max_size=8)
odd_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | odd_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_texts, inner, max_size=3),
    max_leaves=8,
)


@given(odd_values)
def test_anything_can_be_written_and_what_could_be_is_unchanged(value: Any):
    written = orjson.dumps(writable(value))
    try:
        expected = orjson.dumps(value)
    except orjson.JSONEncodeError:
        assert written
    else:
        assert written == expected


@given(odd_values)
def test_anything_that_python_writes_is_read(value: Any):
    read = loads_lenient(json.dumps(value).encode())
    assert dump_json(read) == dump_json(json.loads(json.dumps(value)))


@pytest.mark.parametrize(
    ("data", "strict"),
    [
        (b'{"a": 1 }', b'{"a": 1 }'),
        (b'{"a":"x \\ud83d"}', '{"a":"x \ufffd"}'.encode()),
        (b'{"a":[NaN,-Infinity]}', b'{"a":[null,null]}'),
        (b'\xef\xbb\xbf{"a":1}', b'{"a":1}'),
        (b'{"a":"caf\xe9"}', '{"a":"caf\ufffd"}'.encode()),
        (b"<html>", b"<html>"),
        (b"[" * 300, b"[" * 300),
    ],
)
def test_json_is_written_strictly_and_the_rest_left_alone(data: bytes, strict: bytes):
    assert written_strictly(data) == strict
