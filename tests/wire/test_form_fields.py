"""Names with brackets: what the SDKs flatten becomes whole again, or is refused if it can be read in two ways."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import ClientError
from gateway.wire.form_data import parse_form
from gateway.wire.form_fields import unbracket

from .forms import refused_with, sent_by_node_sdk, sent_by_python_sdk

PNG = b"\x89PNG\r\n\x1a\n"
ORDER: dict[str, Any] = {
    "outpaint": {"left": 100, "right": 0, "top": 1, "bottom": 2},
    "lora_settings": [
        {"lora_type": "anime", "lora_strength": 0.7},
        {"lora_type": "mjv6", "lora_strength": 1},
    ],
    "control_net_settings": [
        {"control_type": "depth", "control_image": "https://example.com/a.webp", "return_preprocessed_image": True}
    ],
    "custom_settings": [{"setting_type": "outpaint", "outpaint_left": 500, "outpaint_right": 500}],
    "denoise": 1e-05,
    "guidance_scale": 2.5,
    "seed": -1,
    "tags": ["a", "b"],
}


def refusal(fields: list[tuple[str, str]]) -> ClientError:
    with pytest.raises(ClientError) as caught:
        unbracket(fields)
    assert caught.value.status == 400
    assert caught.value.__cause__ is None
    return caught.value


def test_the_python_sdks_extra_body_is_read_back():
    body, content_type = sent_by_python_sdk(
        "edit", model="m", prompt="7", image=PNG, n=2, stream=True, extra_body={**ORDER, "extra_body": {"steps": 28}}
    )
    sent = {"model": "m", "prompt": "7", "n": 2, "stream": True, **ORDER, "steps": 28}
    assert unbracket(parse_form(body, content_type).fields) == sent


def test_the_node_sdks_fields_are_read_back():
    fields = {"model": "m", "prompt": "7", "n": 2, "stream": False, **ORDER, "lora_settings": [{"lora_type": "a"}] * 3}
    body, content_type = sent_by_node_sdk("edit", fields, {"image": PNG})
    assert unbracket(parse_form(body, content_type).fields) == fields


def test_node_writes_an_arrays_objects_one_after_the_other():
    settings = [{"lora_type": "a", "lora_strength": 1}, {"lora_strength": 2, "lora_type": "b"}]
    fields = {"model": "m", "prompt": "x", "lora_settings": settings}
    body, content_type = sent_by_node_sdk("edit", fields, {"image": PNG})
    assert unbracket(parse_form(body, content_type).fields)["lora_settings"] == settings


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], {}),
        ([("a", "")], {"a": ""}),
        ([("a[]", "1")], {"a": ["1"]}),
        ([("a[1]", "y"), ("a[0]", "x")], {"a": ["x", "y"]}),
        ([("a[0][b]", "x"), ("a[1][b]", "y"), ("a[1][c]", "z")], {"a": [{"b": "x"}, {"b": "y", "c": "z"}]}),
        (
            [("a[][b][c]", "x"), ("a[][d]", "y"), ("a[][b][c]", "z"), ("a[][d]", "w")],
            {"a": [{"b": {"c": "x"}, "d": "y"}, {"b": {"c": "z"}, "d": "w"}]},
        ),
        ([("a[][b][0]", "x"), ("a[][b][1]", "y")], {"a": [{"b": ["x", "y"]}]}),
        ([("a[b][]", "x"), ("a[b][]", "y")], {"a": {"b": ["x", "y"]}}),
        (
            [("a[][b]", "1"), ("a[][b]", "2"), ("a[][c]", "3"), ("a[][c]", "4")],
            {"a": [{"b": "1", "c": "3"}, {"b": "2", "c": "4"}]},
        ),
        (
            [("a[b", "x"), ("b]", "y"), ("a[b]c", "z"), ("", "e"), ("[]", "f"), ("7", "g")],
            {"a[b": "x", "b]": "y", "a[b]c": "z", "": "e", "[]": "f", "7": "g"},
        ),
        ([("a[b][c][d][e][f][g][h][i]", "x")], {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": "x"}}}}}}}}}),
    ],
)
def test_brackets_nest(fields, expected):
    assert unbracket(fields) == expected


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("n", "2", 2),
        ("n", "null", None),
        ("seed", "-1", -1),
        ("seed", "+9223372036854775807", (1 << 63) - 1),
        ("stream", "True", True),
        ("stream", "false", False),
        ("stream", "null", None),
        ("denoise", "0.7", 0.7),
        ("denoise", "1", 1),
        ("denoise", "1e-05", 1e-05),
        ("denoise", "null", None),
        ("a[][lora_strength]", "0.5", [{"lora_strength": 0.5}]),
        ("a[0][lora_strength]", "0.5", [{"lora_strength": 0.5}]),
        ("steps[]", "1", [1]),
        ("prompt", "2", "2"),
        ("prompt", '{"a": 1}', '{"a": 1}'),
        ("negative_prompt", "[red]", "[red]"),
        ("user", "true", "true"),
        ("outpaint", ' {"left": 100, "top": "1"}', {"left": 100, "top": "1"}),
        ("outpaint", "left", "left"),
        ("lora_settings", '[{"lora_type": "a"}]', [{"lora_type": "a"}]),
        ("lora_settings[]", '{"lora_type": "a"}', [{"lora_type": "a"}]),
        ("image", '["https://example.com/a.png"]', ["https://example.com/a.png"]),
    ],
)
def test_text_becomes_what_its_field_holds(name, text, value):
    document = unbracket([(name, text)])
    assert document == {name.partition("[")[0]: value}
    assert orjson.dumps(document) == orjson.dumps({name.partition("[")[0]: value})  # 1 is neither True nor 1.0


@pytest.mark.parametrize("text", ["", "two", "1.5", "1.0", " 1", "1_0", "0x1", "٣", "NaN", "9" * 21])
def test_other_text_for_an_integer_is_refused(text):
    error = refusal([("prompt", "x"), ("lora_settings[][steps]", text)])
    assert (error.code, error.param) == ("invalid_type", "lora_settings[][steps]")
    assert "an integer" in error.message


@pytest.mark.parametrize("text", ["much", "nan", "inf", "-Infinity", "1e999", "1e99999", ".5", "0.5.5", "1" * 50])
def test_other_text_for_a_number_is_refused(text):
    assert refusal([("denoise", text)]).code == "invalid_type"


@pytest.mark.parametrize("text", ["9223372036854775808", "-9223372036854775809", "18446744073709551616"])
@pytest.mark.parametrize("name", ["seed", "denoise"])
def test_integers_fit_in_64_bits(name, text):
    error = refusal([(name, text)])
    assert (error.code, error.param) == ("invalid_value", name)


def test_a_field_that_was_left_empty_is_absent():
    assert unbracket([("n", ""), ("denoise", " "), ("stream", ""), ("prompt", "")]) == {
        **dict.fromkeys(("n", "denoise", "stream")),
        "prompt": "",
    }


@pytest.mark.parametrize("text", ["1", "yes", "on"])
def test_other_text_for_a_boolean_is_refused(text):
    error = refusal([("stream", text)])
    assert (error.code, error.param) == ("invalid_type", "stream")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"left": NaN}',
        '{"left": 1} {}',
        '{"left": 1}, "x": 2',
        '{"left": 1}, "": 2',
        '{"left": 1}], "": [2',
        '{"left": 18446744073709551616}',
        "[" * 5000,
    ],
)
def test_json_text_is_read_as_strictly_as_a_json_body(text):
    error = refusal([("outpaint", text)])
    assert (error.code, error.param) == ("invalid_json", "outpaint")


def test_the_last_of_two_equal_keys_in_json_text_counts():
    assert unbracket([("outpaint", '{"left": 1, "left": 2}')]) == {"outpaint": {"left": 2}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ([("n", "1"), ("n", "1")], "n"),
        ([("tags", "a"), ("tags", "b")], "tags"),
        ([("a", "x"), ("a[b]", "y")], "a"),
        ([("a[]", "x"), ("a", "y")], "a"),
        ([("a[b]", "x"), ("a[b]", "y")], "a[b]"),
        ([("a[0]", "x"), ("a[0]", "y")], "a[0]"),
        ([("a[][b]", "x"), ("a[][b][c]", "x")], "a[][b]"),
        ([("steps", "1"), ("extra_body", '{"steps": 2}')], "steps"),
        ([("extra_body[steps]", "1"), ("extra_body", "{}")], "extra_body"),
    ],
)
def test_a_field_that_comes_twice_is_refused(fields, param):
    error = refusal(fields)
    assert (error.code, error.param) == ("duplicate_key", param)


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ([("a" + "[b]" * 9, "x")], "a" + "[b]" * 9, "more than 8 brackets"),
        ([("a[]", "x"), ("a[b]", "y")], "a", "empty and filled"),
        ([("a[1]", "x")], "a", "count from 0"),
        ([("a[00]", "x"), ("a[0]", "y")], "a", "count from 0"),
        ([("a[0]", "x"), ("a[2]", "y")], "a", "count from 0"),
        ([("a[]", "x"), ("a[][b]", "y")], "a[]", "JSON"),
        ([("a[][]", "x"), ("a[][]", "y")], "a[]", "JSON"),
        ([("a[][b][]", "x"), ("a[][b][]", "y")], "a[]", "JSON"),
        # {b}, {b, c} row by row, {b, c}, {b} column by column.
        ([("a[][b]", "1"), ("a[][b]", "2"), ("a[][c]", "3")], "a[]", "JSON"),
        # {b, c}, {b} or {b}, {c, b}, row by row.
        ([("a[][b]", "1"), ("a[][c]", "2"), ("a[][b]", "3")], "a[]", "JSON"),
    ],
)
def test_brackets_that_can_be_read_in_two_ways_are_refused(fields, param, words):
    error = refusal(fields)
    assert (error.code, error.param) == ("invalid_form", param)
    assert words in error.message


def test_extra_bodys_members_are_fields():
    assert unbracket([("prompt", "x"), ("extra_body", '{"steps": 2, "outpaint": {"left": 1}}')]) == {
        "prompt": "x",
        "steps": 2,
        "outpaint": {"left": 1},
    }
    error = refusal([("extra_body", "steps")])
    assert (error.code, error.param) == ("invalid_type", "extra_body")


_KEYS = st.sampled_from(
    ["prompt", "n", "denoise", "stream", "outpaint", "extra_body", "a", "b", "0", "1", "[", "]", "[]"]
)
_FIELD_NAMES = st.builds(
    lambda name, keys: name + "".join(f"[{key}]" for key in keys), _KEYS, st.lists(_KEYS, max_size=4)
)


@given(
    st.lists(
        st.tuples(_FIELD_NAMES | st.text(max_size=8), st.sampled_from(["1", "x", "{}", "[]"]) | st.text(max_size=8)),
        max_size=8,
    )
)
def test_any_fields_give_an_object_or_a_clients_error(fields):
    codes = {"duplicate_key", "invalid_form", "invalid_json", "invalid_type", "invalid_value"}
    document: dict[str, Any] = {}
    with refused_with(codes):
        document = unbracket(fields)
    assert orjson.loads(orjson.dumps(document)) == document  # JSON through and through: orjson writes NaN as null


_WORDS = st.text(min_size=1, max_size=8)
_NUMBERS = st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: abs(math.frexp(x)[1]) < 100)
_LORA = st.fixed_dictionaries({"lora_type": _WORDS, "lora_strength": _NUMBERS})


@settings(max_examples=50)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "negative_prompt": _WORDS,
            "seed": st.integers(-(1 << 63), (1 << 63) - 1),
            "outpaint": st.dictionaries(st.sampled_from(["left", "right", "top"]), st.integers(0, 9), min_size=1),
            "lora_settings": st.lists(_LORA, min_size=1, max_size=5),
            "tags": st.lists(_WORDS, min_size=1, max_size=3),
        },
    )
)
def test_whatever_the_python_sdk_writes_is_read_back(extra):
    body, content_type = sent_by_python_sdk("edit", model="m", prompt="x", image=PNG, extra_body=extra)
    assert unbracket(parse_form(body, content_type).fields) == {"model": "m", "prompt": "x", **extra}
