"""JSON with long texts is read and written as orjson does it, whatever stands around them."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.long_texts import LONG, dumps, loads
from gateway.wire.base64_text import SLICE, decoded_base64, encoded_base64, is_base64

LETTERS = "QUJD" * (LONG // 4)

DOCUMENTS = {
    "one": {"data": [{"b64_json": LETTERS}]},
    "several": [LETTERS, {"a": LETTERS + "x", "b": [LETTERS]}],
    "beside a place of its own": {"a": LETTERS, "b": "\ue0010\ue001"},
    "as a name": {LETTERS: 1, "b": LETTERS},
    "with escapes": {"a": LETTERS + '"\\\n', "b": LETTERS},
    "with backslashes at its end": {"a": LETTERS + "\\" * 7, "b": LETTERS},
    "of backslashes": {"a": "\\" * LONG, "b": LETTERS},
    "not ASCII": {"a": LETTERS + "\u00e9", "b": LETTERS},
    "a data URL": {"url": "data:image/png;base64," + LETTERS},
    "a text alone": LETTERS,
    "none": {"a": [1, 2.5, None, True, "x"]},
    "many quotes": {"a": ["x"] * 20_000, "b": LETTERS},
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_reads_and_writes_as_orjson_does(name):
    document = DOCUMENTS[name]
    written = orjson.dumps(document)
    assert loads(written) == document
    assert dumps(document) == written


def test_what_orjson_refuses_is_refused():
    for broken in (
        b'{"a":"' + LETTERS.encode(),
        b'{"a":"' + LETTERS.encode() + b'"',
        b'["' + LETTERS.encode() + b'"1"x"]',
    ):
        with pytest.raises(orjson.JSONDecodeError):
            loads(broken)
    with pytest.raises(orjson.JSONEncodeError):
        dumps({"a": LETTERS, "b": object()})


def test_a_line_end_within_a_text_is_refused():
    with pytest.raises(orjson.JSONDecodeError):
        loads(b'{"a":"' + LETTERS.encode() + b'\n"}')


def test_a_name_that_comes_twice_means_the_last():
    data = b'{"a":"' + LETTERS.encode() + b'","a":1}'
    assert loads(data) == {"a": 1}


@settings(max_examples=50)
@given(st.integers(0, 5), st.integers(0, 5))
def test_base64_in_slices_is_base64(slices, rest):
    data = b"\x00\xff\x10" * (SLICE // 4 * slices // 2) + b"xyzzy"[:rest]
    text = encoded_base64(data)
    assert is_base64(text) == bool(data)
    assert decoded_base64(text) == data


@pytest.mark.parametrize("broken", ["A" * (SLICE - 4) + "QQ==" + "QUJD", "A" * SLICE + "QQ=", "=" * 4, "QU JD"])
def test_padding_stands_at_the_end_only(broken):
    assert not is_base64(broken)
    with pytest.raises(ValueError, match=r"\w"):
        decoded_base64(broken)


def test_a_fault_beside_a_long_text_is_told_as_the_parser_tells_it() -> None:
    broken = b'{"a":"' + b"x" * (2 << 20) + b'","b":}'
    with pytest.raises(orjson.JSONDecodeError) as whole:
        orjson.loads(broken)
    with pytest.raises(orjson.JSONDecodeError) as told:
        loads(broken)
    assert str(told.value) == str(whole.value)
