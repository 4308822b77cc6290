"""How deep a document is nested, without parsing it."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.chat_accumulator import ChatAccumulator
from gateway.wire.nesting import MAX_DEPTH, WRITTEN_DEPTH, too_deep, writable_depth


def nested(opening: bytes, depth: int, closing: bytes, inner: bytes = b"1") -> bytes:
    return opening * depth + inner + closing * depth


@pytest.mark.parametrize(
    ("opening", "levels", "closing"),
    [(b"[", 1, b"]"), (b'{"a":', 1, b"}"), (b'[1,{"]":', 2, b"}]"), (b'{"\\"":', 1, b"}")],
)
def test_one_level_too_many_is_too_deep(opening, levels, closing):
    deepest = MAX_DEPTH // levels
    assert not too_deep(nested(opening, deepest, closing))
    assert too_deep(nested(opening, deepest, closing, b"[1]"))
    assert too_deep(nested(opening, 5_000, closing))


def test_many_brackets_side_by_side_or_in_a_text_are_not_deep():
    assert not too_deep(orjson.dumps([[{}]] * 10_000))
    assert not too_deep(orjson.dumps({"content": '[[{{"\\' * 10_000}))
    assert not too_deep(nested(b"[", 150, b"]", orjson.dumps('"[' * 300)))
    assert too_deep(nested(b"[", 150, b"]", orjson.dumps(['"]' * 300, orjson.Fragment(nested(b"[", 50, b"]"))])))


def test_what_is_not_too_deep_can_be_folded_and_written():
    value = orjson.loads(nested(b'{"a":', MAX_DEPTH - 4, b"}"))
    chunk = {"choices": [{"index": 0, "delta": {"deep": value}}], "usage": None}
    assert not too_deep(orjson.dumps(chunk))
    accumulator = ChatAccumulator()
    accumulator.add(chunk)
    accumulator.add(chunk)
    assert orjson.loads(orjson.dumps(accumulator.result()))["choices"][0]["message"]["deep"] == value


def test_megabytes_made_to_be_slow_are_answered():
    for piece in (b"[", b"]", b"[],", b'"",', b'"[', b'\\"', b'"\\"', b"{"):
        too_deep(b"[" * 201 + piece * (1 << 18))
        too_deep(b"[" * 201 + b'"' + piece * (1 << 18))


def depth_of(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


values = st.recursive(
    st.text('[]{}"\\,', max_size=5) | st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('{["\\', max_size=3), inner, max_size=3),
    max_leaves=15,
)


@given(values, st.integers(MAX_DEPTH - 8, MAX_DEPTH + 2))
def test_the_depth_is_the_documents(value, around):
    document = b"[" * around + orjson.dumps(value) + b"]" * around
    assert too_deep(document) == (around + depth_of(value) > MAX_DEPTH)


@given(st.text('[]{}":,\\x', max_size=80), st.integers(0, 300))
def test_any_bytes_are_answered(text, brackets):
    assert too_deep(b"[" * brackets + text.encode()) in (True, False)


@given(values, st.integers(WRITTEN_DEPTH - 5, WRITTEN_DEPTH + 2), st.booleans())
def test_what_orjson_writes_is_not_too_deep_to_be_written(value, around, in_objects):
    opening, closing = (b'{"a":', b"}") if in_objects else (b"[", b"]")
    data = opening * around + orjson.dumps(value) + closing * around
    document = orjson.loads(data)
    try:
        orjson.dumps(document)
    except orjson.JSONEncodeError:
        assert not writable_depth(data, document)
    else:
        assert writable_depth(data, document)


def test_what_is_nothing_but_depth_is_told_by_its_beginning():
    assert too_deep(b"[" * (32 << 20))
    assert too_deep(b'{"a":"' + b"x" * (1 << 17) + b'","b":' + nested(b"[", MAX_DEPTH, b"]") + b"}")
