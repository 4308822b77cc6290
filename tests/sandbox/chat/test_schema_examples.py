"""Instances of JSON schemas: each is held against its schema by a validator of others."""

from __future__ import annotations

import datetime
import enum
from typing import Any, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel, Field

from gateway.sandbox.chat.schema_examples import example_of


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Leaf(BaseModel):
    share: float = Field(gt=0, lt=1)
    count: int = Field(ge=100)
    kind: Literal["leaf"]
    plate: str = Field(pattern=r"^[A-Z]{3}-\d{4}$")
    dozens: int = Field(multiple_of=12, gt=0)


class Tree(BaseModel):
    """Everything that pydantic writes into a schema, and itself within itself."""

    name: str
    children: list[Tree]
    parent: Tree | None
    colour: Colour
    leaf: Leaf
    either: int | str
    day: datetime.date
    moment: datetime.datetime
    pair: tuple[int, str]
    by_name: dict[str, int]
    distinct: set[int] = Field(min_length=3)
    note: str | None = None


class Strict(BaseModel):
    value: str
    children: list[Strict]
    leaf: Leaf | None
    colour: Colour


def fits(schema: Any, text: str = "hello there") -> Any:
    made = example_of(schema, text)
    jsonschema.validate(made, schema, format_checker=jsonschema.FormatChecker())
    return made


def test_what_pydantic_describes_is_made() -> None:
    assert Tree.model_validate(fits(Tree.model_json_schema())).children[0].children == []
    assert Strict.model_validate(fits(to_strict_json_schema(Strict))).value == "hello there"


@pytest.mark.parametrize(
    ("schema", "made"),
    [
        ({"type": "string"}, "hello there"),
        ({"type": "integer"}, 42),
        ({"type": "number"}, 4.2),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"]}, 42),
        ({"const": None}, None),
        ({"const": {"a": [1]}}, {"a": [1]}),
        ({"enum": ["a", "b"]}, "a"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 42),
        ({"oneOf": [{"const": 1}, {"const": 2}]}, 1),
        ({"type": "object", "required": ["a"], "additionalProperties": {"type": "integer"}}, {"a": 42}),
        ({"type": "object", "properties": {}, "additionalProperties": False}, {}),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {"key_1": 42}),
        ({"properties": {"a": {"type": "integer"}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 42}),
        ({"type": "array", "minItems": 2, "items": {"type": "integer"}}, [42, 42]),
        ({"type": "array", "maxItems": 0, "items": {"type": "integer"}}, []),
        ({"type": "array", "minItems": 2, "uniqueItems": True, "items": {"enum": [1, 2, 3]}}, [1, 2]),
        ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 2}, 1),
        ({"type": "integer", "maximum": -5}, -5),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5}, 0.25),
        ({"type": "string", "maxLength": 5}, "hello"),
        ({"type": "string", "format": "date"}, "2026-11-29"),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer"}}}, 42),
    ],
)
def test_each_word_is_followed(schema: dict[str, Any], made: Any) -> None:
    assert fits(schema) == made


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"required": ["b"]}]},
        {"type": "array", "minItems": 3, "uniqueItems": True, "items": {"type": "string"}},
        {"type": "string", "minLength": 50},
        {"type": "string", "pattern": r"^(?:\+|00)[0-9]{2,}$"},
        {"type": "array", "items": {"$ref": "#"}},
        {"type": "object", "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}, "c": {"type": "null"}}},
    ],
)
def test_the_rest_fits_as_well(schema: dict[str, Any]) -> None:
    fits(schema)


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"$ref": "#/nowhere"}, {"allOf": [{"$ref": "#"}]}, True, None, {}])
def test_what_describes_nothing_ends_all_the_same(schema: Any) -> None:
    example_of(schema, "x")


NUMBERS = st.integers(-50, 50)
SCHEMAS = st.recursive(
    st.builds(lambda low, room: {"type": "integer", "minimum": low, "maximum": low + room}, NUMBERS, st.integers(0, 9))
    | st.builds(lambda low: {"type": "number", "exclusiveMinimum": low}, NUMBERS)
    | st.builds(lambda step: {"type": "integer", "multipleOf": step, "exclusiveMinimum": 0}, st.integers(1, 9))
    | st.builds(
        lambda low, room: {"type": "string", "minLength": low, "maxLength": low + room},
        st.integers(0, 30),
        st.integers(0, 9),
    )
    | st.builds(lambda choices: {"enum": choices}, st.lists(NUMBERS | st.text(max_size=3), min_size=1, max_size=3))
    | st.sampled_from([{"type": "boolean"}, {"type": ["string", "null"]}, {"type": "string", "format": "uuid"}]),
    lambda inner: (
        st.builds(lambda items, least: {"type": "array", "items": items, "minItems": least}, inner, st.integers(0, 3))
        | st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3))
        | st.builds(
            lambda parts, closed: {
                "type": "object",
                "properties": parts,
                "required": list(parts),
                **({"additionalProperties": False} if closed else {}),
            },
            st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3),
            st.booleans(),
        )
    ),
    max_leaves=8,
)


@given(SCHEMAS, st.text(max_size=20))
def test_an_example_always_fits(schema: dict[str, Any], text: str) -> None:
    fits(schema, text)
