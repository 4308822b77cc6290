"""JSON with lists of thousands of messages is read and written as orjson does it, whatever stands around them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway.core.long_lists as long_lists
from gateway.core.long_lists import dumps, loads

MESSAGE = {"role": "user", "content": "x" * 90}
CALLS = {
    "role": "assistant",
    "content": [{"role": "a"}, {"role": "b"}],
    "calls": [{"x": [{"role": "c"}, {"role": "d"}]}],
}
MANY = [MESSAGE] * 40

DOCUMENTS: dict[str, Any] = {
    "one list": {"model": "m", "messages": MANY, "n": 1},
    "two lists": {"messages": MANY, "more": MANY, "n": 1},
    "of lists": {"messages": [CALLS] * 30},
    "within others": {"around": {"messages": MANY}, "messages": [MESSAGE]},
    "no object": MANY,
    "words that look like it": {"messages": [{"role": "user", "content": '},{"role":'}] * 40},
    "the place itself": {"x": [long_lists._PLACE], "messages": MANY},
    "the place, and a list within others": {"x": [long_lists._PLACE], "around": {"messages": MANY}},
    "the place in words": {"messages": [{"role": "user", "content": str(long_lists._PLACE)}] * 40},
    "short": {"messages": [MESSAGE]},
}


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_lists, "_SLICE", 200)
    monkeypatch.setattr(long_lists, "_MANY", 3)


@pytest.mark.parametrize("spaces", [False, True])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_reads_as_orjson_does(name: str, spaces: bool) -> None:
    document = DOCUMENTS[name]
    assert loads(json.dumps(document).encode() if spaces else orjson.dumps(document)) == document


@pytest.mark.parametrize("name", [name for name, document in DOCUMENTS.items() if isinstance(document, dict)])
def test_it_writes_what_orjson_reads(name: str) -> None:
    written = dumps(DOCUMENTS[name], 4_000)
    assert orjson.loads(written) == DOCUMENTS[name]
    assert len(written) == len(orjson.dumps(DOCUMENTS[name]))


def test_an_object_of_lists_alone_is_written_whole() -> None:
    assert orjson.loads(dumps({"a": MANY, "b": MANY}, 4_000)) == {"a": MANY, "b": MANY}
    assert dumps({}, 4_000) == b"{}"


def test_slices_are_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    longest = 0

    def read(data: bytes) -> Any:
        nonlocal longest
        longest = max(longest, len(data))
        return orjson.loads(data)

    monkeypatch.setattr(long_lists, "orjson", type("", (), {"loads": read, "JSONDecodeError": ValueError}))
    document = {"model": "m", "messages": MANY}
    assert loads(orjson.dumps(document)) == document
    assert longest < 1_000


def test_a_name_that_comes_twice_means_the_last() -> None:
    data = b'{"messages":%s,"messages":[{"role":"last"}]}' % orjson.dumps(MANY)
    assert loads(data) == {"messages": [{"role": "last"}]}


@given(st.integers(0, 4_000), st.sampled_from([b"", b"}", b"]", b'"', b",", b"{", b"x", b"\\"]), st.booleans())
def test_what_is_broken_is_told_as_the_parser_tells_it(place: int, other: bytes, cut: bool) -> None:
    data = orjson.dumps({"model": "m", "messages": [MESSAGE, CALLS] * 15, "n": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_lists, "_SLICE", 200)
        broken = data[:place] + other + (b"" if cut else data[place + 1 :])
        assert _read(loads, broken) == _read(orjson.loads, broken)


def _read(read: Callable[[bytes], Any], data: bytes) -> Any:
    """The document, or what is said of it."""
    try:
        return read(data)
    except orjson.JSONDecodeError as error:
        return ("broken", str(error))


def test_depth_is_told_as_orjson_tells_it() -> None:
    def deep(levels: int) -> dict[str, Any]:
        inner: Any = 1
        for _ in range(levels):
            inner = [inner]
        return {"messages": [{"role": "user", "content": inner}] * 20}

    assert orjson.loads(dumps(deep(251), 20_000)) == deep(251)
    for write in (orjson.dumps, lambda document: dumps(document, 20_000)):
        with pytest.raises(orjson.JSONEncodeError):
            write(deep(252))
