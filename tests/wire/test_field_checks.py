"""The checks that tables of fields are made of; what they say is read by people who cannot see our code."""

from __future__ import annotations

import math

import pytest

from gateway.core.errors import ClientError
from gateway.wire.field_checks import (
    a_boolean,
    a_model_name,
    a_number,
    a_string,
    a_string_or,
    an_array,
    an_integer,
    an_object,
    an_object_with,
    each,
    missing,
    one_of,
    unknown,
)


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (a_boolean, False),
        (a_string, ""),
        (a_model_name, "openai/gpt-4o:free"),
        (an_object, {}),
        (an_array, []),
        (one_of("a", "b"), "b"),
        (an_integer(1), 1 << 70),
        (an_integer(1, 3), 3),
        (a_number(0, 1), 1),
        (a_number(0, 1), 0.5),
        (each(a_string), ["a", "b"]),
        (a_string_or(each(a_string), "either"), "a"),
        (a_string_or(each(a_string), "either"), ["a"]),
        (an_object_with(a=a_string), {"a": "x", "b": 1}),
    ],
)
def test_what_is_right_passes(check, value):
    assert check(value, "field") is None


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (a_boolean, 1, "Invalid type for 'field': expected a boolean, but got an integer instead."),
        (a_string, None, "Invalid type for 'field': expected a string, but got null instead."),
        (a_model_name, "", "Invalid value for 'field': it must not be empty."),
        (an_object, [], "Invalid type for 'field': expected an object, but got an array instead."),
        (an_array, {}, "Invalid type for 'field': expected an array, but got an object instead."),
        (one_of("a", "b"), "c", "Invalid value for 'field': it must be one of a, b."),
        (one_of("a", "b"), True, "Invalid type for 'field': expected a string, but got a boolean instead."),
        (an_integer(1), 0, "Invalid value for 'field': it must be at least 1."),
        (an_integer(1, 3), 4, "Invalid value for 'field': it must be at least 1 and at most 3."),
        (an_integer(1), 1.0, "Invalid type for 'field': expected an integer, but got a number instead."),
        (a_number(0, 0.5), 0.6, "Invalid value for 'field': it must be a number from 0 to 0.5."),
        (a_number(0, 1), math.nan, "Invalid value for 'field': it must be a number from 0 to 1."),
        (a_number(0, 1), "1", "Invalid type for 'field': expected a number, but got a string instead."),
        (each(a_string), ["a", 1], "Invalid type for 'field[1]': expected a string, but got an integer instead."),
        (a_string_or(an_array, "a b"), 1, "Invalid type for 'field': expected a b, but got an integer instead."),
        (an_object_with(a=a_string), {"a": None}, "Missing required parameter: 'field.a'."),
        (
            an_object_with(a=a_string),
            {"a": 1},
            "Invalid type for 'field.a': expected a string, but got an integer instead.",
        ),
    ],
)
def test_what_is_wrong_is_said(check, value, message):
    with pytest.raises(ClientError) as caught:
        check(value, "field")
    assert (caught.value.status, caught.value.message) == (400, message)
    assert f"'{caught.value.param}'" in message


def test_absent_and_unknown_fields():
    assert (missing("a").param, missing("a").code) == ("a", "missing_required_parameter")
    error = unknown("x" * 100, "OpenAI's")
    assert (error.param, error.code) == ("x" * 64 + "…", "unknown_parameter")
    assert error.message.endswith("passes on the parameters of OpenAI's only.")
