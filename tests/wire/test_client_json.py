"""What a client may send as JSON: exactly what can be read in one way only."""

from __future__ import annotations

import json
import sys

import orjson
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from gateway.core.errors import ClientError
from gateway.wire.client_json import MAX_VALUES, loads_object


def refusal(body: bytes) -> ClientError:
    with pytest.raises(ClientError) as caught:
        loads_object(body)
    assert caught.value.status == 400
    assert caught.value.__cause__ is None
    return caught.value


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"{", "line 1"),
        (b'{"a": 1,\n  "b": oops}', "line 2 column 8"),
        (b'{"a": 1} x', "after document"),
        (b'{"a": 1}\x00', "after document"),
        (b"{'a': 1}", "line 1 column 2"),
        (b'{"a": 1,}', "line 1"),
        (b'{"a": NaN}', "line 1 column 7"),
        (b'{"a": -Infinity}', "line 1"),
        (b'{"a": 1e999}', "infinity"),
        (b'{"a": 18446744073709551616}', "18446744073709551616 does not fit"),
        (b'{"a": -9223372036854775809}', "does not fit"),
        (b'{"a": [{"b": 99999999999999999999}]}', "does not fit"),
        (b'{"a": ' + b"9" * 300 + b"}", "9" * 64 + "… does not fit"),
        (b'{"a": ' + b"9" * 5000 + b"}", "infinity"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"a": "\\udc00x"}', "surrogate"),
        (b'{"a": "\xed\xa0\x80"}', "UTF-8 at byte 7"),
        (b'{"a": "\xff"}', "UTF-8 at byte 7"),
        (b"\xff\xfe{\x00}\x00", "UTF-8 at byte 0"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'{"a": "\x01"}', "control character"),
        (b"[]", "must be an object"),
        (b'"text"', "must be an object"),
        (b"null", "must be an object"),
        (b"[" * 200_000, "depth"),
        (b'{"a":' * 200_000, "depth"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "too deeply"),
        (b'{"a":' * 1020 + b"1" + b"}" * 1020, "too deeply"),
        (b'{"a":[' + b"1," * (MAX_VALUES + 1) + b"1]}", "more than 100000 values"),
        (b'{"a":[' + b'"",' * (3 * MAX_VALUES) + b"1]}", "more than 100000 values"),
    ],
)
def test_what_is_not_json_or_not_safely_json_is_refused(body, words):
    error = refusal(body)
    assert error.code == "invalid_json"
    assert words in error.message
    assert len(error.message) < 300


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"model": "a", "model": "b"}', "model"),
        (b'{"a": {"b": [{"c": 1, "d": 2, "c": 3}]}}', "c"),
        (b'{"a": 1, "\\u0061": 2}', "a"),
        ('{"ä": 1, "\\u00e4": 2}'.encode(), "ä"),
        (b'{"": 1, "": 2}', ""),
        (b'{"a": 1, "a": 1, "b": 2, "b": 3}', "a"),
        (b'{"' + b"k" * 9000 + b'": 1, "' + b"k" * 9000 + b'": 2}', "k" * 64 + "…"),
    ],
)
def test_a_key_given_twice_is_refused_at_any_depth(body, key):
    error = refusal(body)
    assert (error.code, error.param) == ("duplicate_key", key)
    assert f"'{key}'" in error.message


def test_a_key_may_come_again_in_another_object():
    assert loads_object(b'{"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 2}]}')["b"] == [{"a": 1}, {"a": 2}]


def test_the_ends_of_what_is_allowed():
    body = b' \t\r\n{"a": [18446744073709551615, -9223372036854775808, 1e308, -0.0, true, null, "\\ud83d\\ude00"]} \n'
    assert loads_object(body)["a"] == [2**64 - 1, -(2**63), 1e308, -0.0, True, None, "😀"]


def test_text_full_of_commas_and_brackets_is_only_text():
    text = '[{"quoted": 1, \\ "' * 60_000
    body = orjson.dumps({"content": text, "more": ["x,y"] * 10})
    assert loads_object(body)["content"] == text


def test_depth_that_can_be_read_but_not_written_is_refused():
    deepest = b'{"a":' * 254 + b"1" + b"}" * 254
    assert orjson.dumps(loads_object(deepest)) == deepest
    assert refusal(b'{"a":' * 255 + b"1" + b"}" * 255).code == "invalid_json"


def test_a_recursion_limit_met_on_the_way_is_the_bodys_fault():
    def deep(levels: int) -> ClientError:
        return refusal(b'{"a":' * 250 + b"1" + b"}" * 250) if levels == 0 else deep(levels - 1)

    frames, frame = 0, sys._getframe()
    while frame is not None:
        frames, frame = frames + 1, frame.f_back
    if sys.version_info >= (3, 12):
        pytest.skip("the C scanner does not count Python frames there")
    assert "too deeply" in deep(sys.getrecursionlimit() - frames - 100).message


def test_bodies_made_to_be_slow_are_refused_before_they_are_parsed():
    """Refused by counting bytes, for each of these is broken at its end and nobody has come so far as to notice."""
    for member in (b"{},", b"[],", b"0,", b'"",', b'"\\\\",', b'{"a":1},'):
        body = b'{"a":[' + member * (1 << 19) + b"broken"
        assert "more than 100000 values" in refusal(body).message


def escaped_quotes(n: int) -> bytes:
    return b'{"a":[' + b"1," * (MAX_VALUES + 1) + b'"' + b'\\"' * n


def test_a_string_without_an_end_is_looked_through_once():
    """Searched from each of its quotes to its end, this one takes longer than a test may."""
    assert "more than 100000 values" in refusal(escaped_quotes(1 << 20)).message
    assert "more than 100000 values" in refusal(escaped_quotes(1 << 20) + b"\\").message
    within = escaped_quotes(1 << 20).replace(b"1,", b'",",', 50_000)
    assert "line 1" in refusal(within.replace(b"1,", b"", 10_000)).message


@pytest.mark.parametrize("text", [",", '\\",', ",\\\\", '",' * 9, "\n,", "ä,\u2028,"])
def test_commas_count_outside_strings_only(text):
    fits = orjson.dumps({"a": [text] * MAX_VALUES})
    assert loads_object(fits) == {"a": [text] * MAX_VALUES}
    assert "more than 100000 values" in refusal(orjson.dumps({"a": [text] * (MAX_VALUES + 2)})).message


def test_a_hundred_thousand_keys_are_read():
    keys = [b'"k%d":%d' % (number, number) for number in range(100_000)]
    assert len(loads_object(b"{" + b",".join(keys) + b"}")) == 100_000
    assert refusal(b"{" + b",".join([*keys, keys[-1]]) + b"}").param == "k99999"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('abä\u2028"\\', max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text("abc", max_size=3), json_values, max_size=5), st.booleans(), st.sampled_from([None, 1]))
def test_what_json_can_say_is_read_as_it_was_written(document, ascii_only, indent):
    assert loads_object(json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()) == document


@given(
    st.dictionaries(st.text("ab", min_size=1, max_size=3), st.integers(0, 9), min_size=1),
    st.lists(st.booleans()),
    st.data(),
)
def test_a_doubled_key_is_found_however_deep_and_wherever_it_stands(fields, wrapping, data):
    key = data.draw(st.sampled_from(sorted(fields)))
    members = [f"{json.dumps(name)}: {value}" for name, value in fields.items()]
    members.insert(data.draw(st.integers(0, len(members))), f"{json.dumps(key)}: 1")
    text = "{" + ", ".join(members) + "}"
    for in_list in wrapping:
        text = f"[0, {text}]" if in_list else f'{{"outer": {text}}}'
    error = refusal(f'{{"body": {text}}}'.encode())
    assert (error.code, error.param) == ("duplicate_key", key)


@given(st.binary(max_size=60) | st.text('{}[]":,0123456789eE-+.\\untrfals \n', max_size=60).map(str.encode))
def test_any_bytes_give_an_object_or_a_400(body):
    try:
        document = loads_object(body)
    except ClientError as error:
        event(f"refused: {error.code}")
    else:
        assert document == json.loads(body)
        assert loads_object(orjson.dumps(document)) == document
