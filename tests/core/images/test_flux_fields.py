"""Reading the values of Flux's own fields, which a form can only send as text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import ClientError
from gateway.core.images.flux_catalogue import InputRule
from gateway.core.images.flux_fields import given_fields, read_number, read_object, read_text

NUMBER, INTEGER = InputRule("number"), InputRule("integer")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3), (2.5, 2.5), ("2.5", 2.5), ("3", 3), ("-1", -1), ("1e2", 100.0), ("0", 0), (0.0, 0.0)],
)
def test_numbers(value, number):
    assert read_number(value, NUMBER, "x") == number


@pytest.mark.parametrize(("value", "number"), [(28, 28), (28.0, 28), ("28", 28), ("28.0", 28), ("-1", -1)])
def test_whole_numbers_stay_whole(value, number):
    read = read_number(value, INTEGER, "x")
    assert (read, type(read)) == (number, int)


@pytest.mark.parametrize(
    "value", [None, True, "", " 1", "1 ", "0x10", "1_000", "٣", "nan", "-inf", "--1", [1], {}, math.nan, math.inf]
)
def test_what_is_no_number(value):
    with pytest.raises(ClientError) as caught:
        read_number(value, NUMBER, "x")
    assert (caught.value.param, caught.value.code) == ("x", "invalid_type")
    assert "a number" in caught.value.message


@pytest.mark.parametrize("value", [1.5, "1.5", "one", True])
def test_what_is_no_whole_number(value):
    with pytest.raises(ClientError, match="an integer"):
        read_number(value, INTEGER, "x")


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 1e300, "99999999999999999999"])
def test_what_no_integer_of_64_bits_holds(value):
    with pytest.raises(ClientError, match="64 bits"):
        read_number(value, INTEGER, "x")


@pytest.mark.parametrize(
    ("rule", "good", "bad", "words"),
    [
        (InputRule("number", above=0, maximum=1), (0.0001, 1), (0, 1.0001, -1), "above 0 and at most 1"),
        (InputRule("number", minimum=1.5, maximum=5), (1.5, 5), (1.4999, 5.0001), "at least 1.5 and at most 5"),
        (InputRule("integer", minimum=1), (1, 10**9), (0, -5), "at least 1"),
    ],
)
def test_bounds(rule, good, bad, words):
    assert [read_number(value, rule, "x") for value in good] == list(good)
    for value in bad:
        with pytest.raises(ClientError) as caught:
            read_number(value, rule, "x")
        assert caught.value.code == "invalid_value"
        assert words in caught.value.message


@settings(max_examples=200)
@given(value=JSON)
def test_anything_is_a_number_or_refused(value):
    try:
        read = read_number(value, NUMBER, "x")
    except ClientError:
        return
    assert math.isfinite(read)
    assert not isinstance(read, bool)


def test_text_may_be_empty_but_must_be_text():
    assert read_text("", "x") == ""
    with pytest.raises(ClientError, match="a string"):
        read_text(5, "x")


def test_null_and_empty_lists_say_nothing():
    assert given_fields({"a": None, "b": [], "c": 0, "d": "", "e": {}}) == {"c": 0, "d": "", "e": {}}


def test_a_long_unknown_name_is_not_repeated_whole():
    with pytest.raises(ClientError) as caught:
        read_object({"x" * 10_000: 1}, ("known",), "settings")
    assert len(caught.value.message) < 200
    assert len(caught.value.param or "") < 100
