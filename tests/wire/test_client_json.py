"""What a client may send as JSON, and what becomes of a text that was cut in the middle of a character."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from gateway.core.errors import ClientError
from gateway.core.json_weight import MOST_MEMBERS
from gateway.wire.client_json import loads_object


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
        (b'{"a": -' + b"9" * 19 + b"}", "does not fit"),
        (b'{"a":[1,\n-9223372036854775809\n]}', "does not fit"),
        (b'{"9223372036854775809": 92233720368547758090}', "the integer 92233720368547758090 does not fit"),
        (b'{"\\ud83d": 18446744073709551616}', "18446744073709551616 does not fit"),
        (b'{"a": ' + b"9" * 5000 + b"}", "infinity"),
        (b'{"a": "\\ud83d", "b": NaN}', "line 1 column 22"),
        (b'{"a": "\\ud83"}', "escape"),
        (b'{"a": \\ud83d}', "line 1 column 7"),
        (b'{"a": "\\ud83d\x00"}', "line 1"),
        (b'{"a": \xff}', "not valid UTF-8"),
        (b"\xff\xfe{\x00}\x00", "not valid UTF-8"),
        (b"\xef\xbb\xbf\xef\xbb\xbf{}", "line 1 column 1"),
        (b'{"a": "\x01"}', "control character"),
        (b"[]", "must be an object"),
        (b'"text"', "must be an object"),
        (b"null", "must be an object"),
        (b"[" * 100_000, "depth"),
        (b'{"a":' * 90_000, "depth"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "too deeply"),
        (b'{"a":' * 1020 + b"1" + b"}" * 1020, "too deeply"),
        (b'{"a":[' + b"1," * MOST_MEMBERS + b"1]}", "more than 400000 values"),
        (b'{"a":[' + b'"",' * MOST_MEMBERS + b"1]}", "more than 400000 values"),
    ],
)
def test_what_is_not_json_or_not_safely_json_is_refused(body, words):
    error = refusal(body)
    assert error.code == "invalid_json"
    assert words in error.message
    assert len(error.message) < 300


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (b'{"model": "a", "model": "b"}', {"model": "b"}),
        (b'{"a": {"b": [{"c": 1, "d": 2, "c": 3}]}}', {"a": {"b": [{"c": 3, "d": 2}]}}),
        (b'{"a": 1, "\\u0061": {"x": 2}}', {"a": {"x": 2}}),
        ('{"ä": 1, "\\u00e4": 2}'.encode(), {"ä": 2}),
        (b'{"": 1, "": null}', {"": None}),
    ],
)
def test_the_last_of_two_equal_keys_counts_at_any_depth(body, document):
    assert loads_object(body) == document


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (rb"\ud83d", "\ufffd"),
        (rb"\uD83D", "\ufffd"),
        (rb"\ude00", "\ufffd"),
        (rb"\ud83d\ude00", "😀"),
        (rb"\uD83D\uDe00", "😀"),
        (rb"\ud83d\ud83d\ude00\ude00", "\ufffd😀\ufffd"),
        (rb"\ude00\ud83d", "\ufffd\ufffd"),
        (rb"\ud83d\n\ude00", "\ufffd\n\ufffd"),
        (rb"\ud83d\\ude00", "\ufffd\\ude00"),
        (rb"\\ud83d \\\ud83d \\\\ud83d", "\\ud83d \\\ufffd \\\\ud83d"),
        (rb"\"\ud83d\"", '"\ufffd"'),
        (rb"\u0000\ud83d", "\0\ufffd"),
        ("😀".encode()[:3], "\ufffd"),
        ("an é".encode()[:-1], "an \ufffd"),
        (b"\x98\x80 was cut off before", "\ufffd\ufffd was cut off before"),
        (b"caf\xe9", "caf\ufffd"),
        (b"\xed\xa0\xbd", "\ufffd"),
        (b"\xed\xb8\x80 \xed\xa0\xbd", "\ufffd \ufffd"),
        (b"\xed\xa0\xbd\xed\xb8\x80 " + "퀀".encode(), "😀 퀀"),
        (b"\xed\xa0\xbd\xff", "\ufffd\ufffd\ufffd\ufffd"),
        (b"\xed\xa0\xbd\\ude00", "\ufffd\ufffd"),
    ],
)
def test_a_text_that_was_cut_in_the_middle_of_a_character_is_read(text, read):
    document = loads_object(b'{"a": [{"content": "' + text + b'"}]}')
    assert document == {"a": [{"content": read}]}
    assert orjson.loads(orjson.dumps(document)) == document
    assert loads_object(b'{"' + text + b'": 1}') == {read: 1}


def test_a_byte_order_mark_is_passed_over():
    assert loads_object(b"\xef\xbb\xbf{}") == {}
    assert loads_object('\ufeff{"a": "\ufeff"}'.encode()) == {"a": "\ufeff"}


@pytest.mark.parametrize(
    "text",
    [
        b"18446744073709551615",
        b"-9223372036854775808",
        b"0.1234567890123456789012345",
        b"12345678901234567890123456789.5",
        b"12345678901234567890e1",
        b"1e+00000000000000000000007",
        b"1e-00000000000000000000007",
        b'"98765432109876543210"',
        b'"\\"98765432109876543210"',
        b'{"98765432109876543210": "-98765432109876543210"}',
        b'"' + b"1" * 10_000 + b'"',
    ],
)
def test_a_long_run_of_digits_is_read_where_it_is_no_integer_beyond_64_bits(text):
    assert loads_object(b'{"a": ' + text + b"}") == {"a": json.loads(text)}


@given(st.integers(-(10**25), 10**25) | st.sampled_from([10**18, 2**63, 2**64]), st.integers(-2, 2), st.integers(0, 30))
def test_an_integer_is_what_it_was_or_is_refused_wherever_it_stands(near, off, blanks):
    number = near + off
    body = b'{"a":' + b" " * blanks + b"%d}" % number
    if -(2**63) <= number < 2**64:
        assert loads_object(body) == {"a": number}
    else:
        assert "does not fit" in refusal(body).message


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


def test_bodies_made_to_be_slow_are_refused_before_they_are_parsed():
    """Refused by counting bytes, for each of these is broken at its end and nobody has come so far as to notice."""
    for member in (b"{},", b"[],", b"0,", b'"",', b'"\\\\",', b'{"a":1},'):
        body = b'{"a":[' + member * (1 << 19) + b"broken"
        assert "more than 400000 values" in refusal(body).message


def escaped_quotes(n: int) -> bytes:
    return b'{"a":[' + b"1," * MOST_MEMBERS + b'"' + b'\\"' * n


def test_a_string_without_an_end_is_looked_through_once():
    """Searched from each of its quotes to its end, this one takes longer than a test may."""
    assert "more than 400000 values" in refusal(escaped_quotes(1 << 20)).message
    assert "more than 400000 values" in refusal(escaped_quotes(1 << 20) + b"\\").message
    within = escaped_quotes(1 << 20).replace(b"1,", b'",",', 50_000)
    assert "line 1" in refusal(within.replace(b"1,", b"", 10_000)).message


@pytest.mark.parametrize("text", [",", '\\",', ",\\\\", '",' * 9, "\n,", "ä,\u2028,"])
def test_commas_count_outside_strings_only(text):
    fits = orjson.dumps({"a": [text] * (MOST_MEMBERS - 10)})
    assert loads_object(fits) == {"a": [text] * (MOST_MEMBERS - 10)}
    assert "more than 400000 values" in refusal(orjson.dumps({"a": [text] * (MOST_MEMBERS + 2)})).message


def test_a_hundred_thousand_keys_are_read():
    keys = [b'"k%d":%d' % (number, number) for number in range(100_000)]
    assert len(loads_object(b"{" + b",".join(keys) + b"}")) == 100_000


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
    st.binary(max_size=60)
    | st.text('{}[]":,0123456789eE-+.\\untrfals \n', max_size=60).map(str.encode)
    | st.lists(st.sampled_from([rb"\ud83d", rb"\ude00", rb"\\", rb"\"", b'"', b"\xed", b"\xa0\xbd", b"u", b"9" * 18]))
    .map(b"".join)
    .map(lambda text: b'{"a":"' + text + b'"}')
)
def test_any_bytes_give_an_object_or_a_400(body):
    try:
        document = loads_object(body)
    except ClientError as error:
        event(f"refused: {error.code}")
    else:
        assert loads_object(orjson.dumps(document)) == document
        body = body.removeprefix(b"\xef\xbb\xbf")
        try:
            text = body.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            text = body.decode("utf-8", "replace")
        assert document == without_halves(json.loads(text))


def without_halves(value: object) -> object:
    """What JavaScript's ``toWellFormed`` makes of every text in it."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [without_halves(item) for item in value]
    if isinstance(value, dict):
        return {without_halves(key): without_halves(item) for key, item in value.items()}
    return value
