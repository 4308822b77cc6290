"""How heavy a JSON document is, counted without parsing it: never less than the parser makes of it, and never more."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import gateway.core.json_weight as json_weight
from gateway.core.json_weight import LONG, MOST_MEMBERS, TooHeavy, is_slow, read_json, structure, too_heavy


def weight_of(value: object) -> int:
    """By the parsed document, in the plainest way: what is a list of pairs here was an object."""
    if isinstance(value, Pairs):
        return 2 + sum(1 + weight_of(inner) for _, inner in value.pairs)
    if isinstance(value, list):
        return 2 + sum(map(weight_of, value))
    return 1


class Pairs:
    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        self.pairs = pairs


def with_every_pair(data: bytes) -> object:
    """The document with its objects as pairs, of which equal names are not one."""
    return json.loads(data, object_pairs_hook=Pairs)


HARD = '"\\,:[]{} \n\u2028ä😀u'
texts = st.text(HARD, max_size=12)
values = st.recursive(
    texts | st.integers() | st.floats(allow_nan=False) | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=30,
)
written = st.builds(
    lambda value, indent, ascii_only: json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode(),
    values,
    st.none() | st.integers(0, 3),
    st.booleans(),
)


@settings(max_examples=400)
@given(written, st.integers(1, 9))
@example(b"[]", 1)
@example(b'[""]', 1)
@example(b'["\\\\",[]]', 3)
@example(b'{"a":1,"a":2}', 2)
@example(b'[[ \n ],{\t}, "[]"]', 1)
def test_the_weight_is_the_documents_however_the_text_is_cut_into_blocks(data, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_weight, "_BLOCK", block)
        assert json_weight._weight_of_structure(data, MOST_MEMBERS) == weight_of(with_every_pair(data))


@settings(max_examples=300)
@given(written, st.integers(1, 60))
def test_what_is_accepted_is_light_and_what_is_light_is_accepted(data, most):
    assert too_heavy(data, most) == (weight_of(with_every_pair(data)) > most)


@given(st.binary(max_size=200), st.integers(1, 9))
def test_bytes_that_are_no_json_are_counted_too(data, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_weight, "_BLOCK", block)
        assert json_weight._weight_of_structure(data, MOST_MEMBERS) >= 1
        assert sum(map(len, structure(data))) <= len(data)


@pytest.mark.parametrize(
    "member",
    [b"[]", b"{}", b"0", b'""', b'"\\\\"', b'"\\""', b'{"a":1}', b"[[]]", b" 1 ", b'"a,b[{:"'],
    ids=bytes.decode,
)
def test_the_bound_is_exact(member):
    each = weight_of(with_every_pair(member))
    fits = (MOST_MEMBERS - 2) // each
    assert not too_heavy(b"[" + b",".join([member] * fits) + b"]")
    assert too_heavy(b"[" + b",".join([member] * (fits + 1)) + b"]")


@pytest.mark.parametrize("depth", [2, 100, 250])
def test_lists_within_lists_weigh_as_much_as_lists_side_by_side(depth):
    nest = b"[" * depth + b"]" * depth
    fits = (MOST_MEMBERS - 2) // (2 * depth)
    assert not too_heavy(b"[" + b",".join([nest] * fits) + b"]")
    assert too_heavy(b"[" + b",".join([nest] * (fits + 1)) + b"]")


@pytest.mark.parametrize(
    "text",
    [
        "for (i = 0; i < n; i++) { a[i] = b[i], c: d }\n" * 110_000,
        json.dumps([{"id": 1, "tags": ["a", "b"]}]) * 140_000,
        "1,2,3,4\n" * 640_000,
        "\\" * 5_000_000,
        '"' * 2_500_000,
        "iVBORw0KGgo=" * 1_600_000,
    ],
    ids=["code", "JSON", "CSV", "backslashes", "quotes", "base64"],
)
def test_megabytes_of_punctuation_in_a_text_weigh_nothing(text):
    body = orjson.dumps({"messages": [{"role": "user", "content": text}]})
    assert not too_heavy(body)
    assert read_json(body)["messages"][0]["content"] == text


def test_two_thousand_tools_are_light():
    fields = {f"p{n}": {"type": "string", "description": "What it is.", "enum": ["a", "b"]} for n in range(8)}
    parameters = {"type": "object", "properties": fields, "required": ["p0"]}
    tool = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": parameters}}
    assert not too_heavy(orjson.dumps({"tools": [tool] * 2_000}))


@pytest.mark.parametrize("begin", [b'{"a":"' + b"x" * 200_000 + b'","b":', b" " * 200_000])
def test_what_comes_late_counts_too(begin):
    assert too_heavy(begin + b"[" + b"[]," * MOST_MEMBERS)


@pytest.mark.parametrize("unit", [b"[", b"]", b'"', b"\\", b'"[', b'\\"', b'"\\"', b'"",', b"{", b" ", b"\xff", b"0"])
def test_any_megabytes_are_answered(unit):
    """What is nothing but depth, quotes without an end, runs of backslashes: each is read once."""
    for data in (unit * (1 << 20), b'"' + unit * (1 << 20), b"[" + unit * (1 << 20)):
        assert too_heavy(data) in (True, False)


def test_a_heavy_document_is_refused_before_it_is_parsed():
    with pytest.raises(TooHeavy):
        read_json(b"[" + b"[]," * MOST_MEMBERS + b"broken")


def test_slow_is_what_is_long_or_holds_very_much():
    prose = b'{"text":"%b"}' % (b"words, as people write them: with a comma now and then. " * 3_000)
    assert not is_slow(prose)
    assert is_slow(b'"' + b"a" * LONG + b'"')
    for members in (b"1,", b"[],", b"{},", b'"a":1,'):
        assert is_slow(b"[" + members * 12_000 + b"1]"), members
        assert not is_slow(b"[" + members * 2_000 + b"1]"), members


@settings(max_examples=300)
@given(written, st.integers(2, 20), st.integers(0, 60))
def test_what_is_left_out_stands_within_texts(data, block, around):
    data = b'{"a":"' + b"words, and [brackets: {" * around + b'","b":' + data + b"}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_weight, "_WITHOUT_QUOTES", block)
        patch.setattr(json_weight, "_LOOKED_AT", block // 2 + 1)
        apart = json_weight.apart_from_texts(data)
    outside = b"".join(structure(data))
    assert apart.count(b'"') == data.count(b'"')
    for mark in b",:[{0123456789":
        assert outside.count(mark) <= apart.count(mark) <= data.count(mark)


def test_what_follows_a_block_that_is_no_json_is_never_parsed():
    body = b'{"a":[' + b"[]," * 3_000 + b"oops" + b"[]," * MOST_MEMBERS
    apart = json_weight.apart_from_texts(body)
    assert len(apart) >= len(body) - json_weight._WITHOUT_QUOTES


def test_a_megabyte_of_prose_is_not_looked_through():
    body = orjson.dumps({"messages": [{"role": "user", "content": "words, and more of them: " * 40_000}]})
    assert len(json_weight.apart_from_texts(body)) < 3 * json_weight._WITHOUT_QUOTES
