"""An upstream's list of models, as many shapes as there are vendors, and none that can do harm."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.listed_model import ListedModel
from gateway.wire.model_list import LONGEST_NAME, MOST_MODELS, read_list_page, read_model_list

DAY_NS = 86_400 * 10**9
END_OF_2027_01_14 = 1_799_971_200 * 10**9
"""2027-01-15T00:00:00Z."""


def read(document: Any) -> tuple[ListedModel, ...] | None:
    return read_model_list(json.dumps(document).encode())


def ids(document: Any) -> list[str]:
    return [model.id for model in read(document) or ()]


def only(**fields: Any) -> ListedModel:
    found = read({"data": [{"id": "m", **fields}]})
    assert found is not None
    [model] = found
    return model


def test_openais_own_shape() -> None:
    entry = {
        "id": "gpt-4o",
        "object": "model",
        "created": 1_715_367_049,
        "owned_by": "system",
        "shutdown_date": "2027-01-14",
    }
    found = read({"object": "list", "data": [entry, {**entry, "id": "gpt-6-luna", "shutdown_date": None}]})
    assert found == (
        ListedModel("gpt-4o", "system", 1_715_367_049, "2027-01-14", END_OF_2027_01_14),
        ListedModel("gpt-6-luna", "system", 1_715_367_049),
    )


@pytest.mark.parametrize(
    "document",
    [
        {"data": [{"id": "one"}, {"id": "two"}]},
        {"data": ["one", "two"]},
        [{"id": "one"}, {"id": "two"}],
        ["one", "two"],
        {"models": [{"name": "one"}, {"name": "two"}]},
        {"models": [{"id": "one", "name": "Model One"}, {"model": "two"}]},
        {"object": "list", "data": None, "models": ["one", "two"]},
        {"data": [{"id": "one"}, {"id": "one", "owned_by": "another"}, {"id": "two"}]},
        {"success": True, "data": [None, 7, True, [], {}, {"id": 7}, {"id": "one"}, {"id": ["x"]}, "two"]},
    ],
)
def test_shapes_of_other_vendors(document: Any) -> None:
    assert ids(document) == ["one", "two"]


@pytest.mark.parametrize(
    "id", ["gpt-4o", "openai/gpt-4o", "ft:gpt-4o:org::x1", "llama3:latest", "模型-1", "a" * LONGEST_NAME]
)
def test_names_as_they_are(id: str) -> None:
    assert ids({"data": [{"id": id}]}) == [id]


@pytest.mark.parametrize(
    "id",
    ["", " ", "two words", "a\nb", "a\x00", "a\x1b[2J", "gpt-*", "*", "a\u202eb", "a\u2028b", "a" * (LONGEST_NAME + 1)],
)
def test_names_that_no_request_should_carry(id: str) -> None:
    assert ids({"data": [{"id": id}, "sane"]}) == ["sane"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"5",
        b"null",
        b"{}",
        b"[]",
        b'"gpt-4o"',
        b'{"data": []}',
        b'{"data": {}}',
        b'{"data": "gpt-4o"}',
        b'{"data": {"id": "gpt-4o"}}',
        b'{"error": {"message": "no such route"}}',
        b'{"data": [{"id": "gpt-4o"}',
        b'{"data": [{"id": "\xff"}]}',
        b"<!DOCTYPE html><html></html>",
        b"data: {}\n\n",
        b"[" * 5000,
    ],
)
def test_what_is_no_list(body: bytes) -> None:
    assert read_model_list(body) is None


def test_no_more_than_so_many() -> None:
    assert len(read([f"model-{number}" for number in range(MOST_MODELS + 9)]) or ()) == MOST_MODELS


@pytest.mark.parametrize(
    ("created", "read"),
    [
        (1_715_367_049, 1_715_367_049),
        (1_715_367_049.0, 1_715_367_049),
        (1_715_367_049.5, None),
        (0, None),
        (-1, None),
        (1_715_367_049_000, None),
        (10**30, None),
        (True, None),
        ("1715367049", None),
        (None, None),
    ],
)
def test_a_time_is_believed_if_it_is_one(created: Any, read: int | None) -> None:
    assert only(created=created).created == read


@pytest.mark.parametrize(
    ("owner", "read"),
    [("system", "system"), ("", ""), (None, ""), (7, ""), ({"name": "x"}, ""), ("a\nb", ""), ("x" * 999, "")],
)
def test_an_owner_is_a_short_text(owner: Any, read: str) -> None:
    assert only(owned_by=owner).owned_by == read


@pytest.mark.parametrize("day", ["2027-01-14", "2027-01-14T00:00:00Z", "2027-01-14 23:59", "2027-01-14T09:00:00+09:00"])
def test_a_last_day_is_over_at_its_end_in_utc(day: str) -> None:
    model = only(shutdown_date=day)
    assert (model.shutdown, model.ends_ns) == ("2027-01-14", END_OF_2027_01_14)


@pytest.mark.parametrize(
    "day",
    [
        None,
        "",
        "never",
        "2027-1-14",
        "2027-02-30",
        "2027-13-01",
        "14.01.2027",
        "2027-01-14x",
        "-2027-01-14",
        "0001-01-01",
        "1970-01-01",
        "9999-12-31",
        "२०२७-०१-१४",
        20270114,
        1_799_971_200,
        True,
        ["2027-01-14"],
        {"date": "2027-01-14"},
    ],
)
def test_a_last_day_that_is_none_is_none(day: Any) -> None:
    model = only(shutdown_date=day)
    assert (model.shutdown, model.ends_ns) == ("", None)


def test_a_day_of_the_past_is_one() -> None:
    assert only(shutdown_date="2026-10-23").shutdown == "2026-10-23"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inside: (
        st.lists(inside, max_size=4)
        | st.dictionaries(
            st.sampled_from(["data", "models", "id", "name", "created", "owned_by", "shutdown_date"]),
            inside,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_whatever_comes_what_is_read_is_sane(document: Any) -> None:
    for model in read(document) or ():
        assert model.id.isprintable()
        assert 0 < len(model.id) <= LONGEST_NAME
        assert not set(model.id) & set(" *\r\n")
        assert model.owned_by.isprintable()
        assert model.created is None or type(model.created) is int
        assert (model.shutdown == "") == (model.ends_ns is None)


@given(st.binary(max_size=200))
def test_bytes_never_raise(body: bytes) -> None:
    read_model_list(body)


def test_anthropics_pages() -> None:
    entry = {"type": "model", "id": "claude-a", "display_name": "A", "created_at": "2025-02-19T00:00:00Z"}
    body = json.dumps({"data": [entry], "has_more": True, "first_id": "claude-a", "last_id": "claude-a"}).encode()
    page = read_list_page(body)
    assert (page.models, page.next) == ((ListedModel("claude-a", "", 1_739_923_200),), "claude-a")
    last = json.dumps({"data": [{**entry, "created_at": "then"}], "has_more": False, "last_id": "claude-a"}).encode()
    assert read_list_page(last) == ((ListedModel("claude-a"),), "")
    odd = json.dumps({"data": [entry], "has_more": True, "last_id": ["a"]}).encode()
    assert read_list_page(odd).next == ""
