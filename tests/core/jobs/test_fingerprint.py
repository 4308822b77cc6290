"""A fingerprint tells what a request says, not how it is written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.jobs.fingerprint import fingerprint

ROUTE = "/v1/images/generations"

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.text(max_size=8), VALUES, max_size=6)


def shuffled(value: Any) -> Any:
    """The same value, the names of every object the other way round."""
    if isinstance(value, dict):
        return {name: shuffled(value[name]) for name in reversed(value)}
    return [shuffled(one) for one in value] if isinstance(value, list) else value


@given(DOCUMENTS)
def test_the_order_of_names_tells_nothing(document: dict[str, Any]) -> None:
    assert fingerprint(ROUTE, document) == fingerprint(ROUTE, shuffled(document))
    assert len(fingerprint(ROUTE, document)) == 32


@given(DOCUMENTS, DOCUMENTS)
def test_what_differs_differs(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert same == (fingerprint(ROUTE, one) == fingerprint(ROUTE, other))


def test_the_route_tells() -> None:
    assert fingerprint(ROUTE, {}) != fingerprint("/v1/images/edits", {})


@pytest.mark.parametrize(
    "files",
    [
        [("image", b"b"), ("image", b"a")],
        [("image", b"a"), ("mask", b"b")],
        [("image", b"a")],
        [("image", b"ab"), ("image", b"")],
        [],
    ],
)
def test_files_tell_by_their_field_their_bytes_and_their_order(files: list[tuple[str, bytes]]) -> None:
    assert fingerprint(ROUTE, {"a": 1}, files) != fingerprint(ROUTE, {"a": 1}, [("image", b"a"), ("image", b"b")])


@pytest.mark.parametrize("odd", ["\ud800", 2**80])
def test_what_no_json_can_hold_is_told_all_the_same(odd: object) -> None:
    assert fingerprint(ROUTE, {"a": odd}) == fingerprint(ROUTE, {"a": odd}) != fingerprint(ROUTE, {"a": 1})
