"""Choices as they should be, made of choices as they come. What a whole chunk means is in test_chat_chunk.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.chat_choices import choices_in, tidy_choices
from gateway.wire.chat_chunk import chunk_facts


def in_order(choice: dict[str, Any], n: int) -> bool:
    """Whether a chunk with this choice is taken as it came."""
    facts = chunk_facts({"choices": [choice]}, n)
    return facts.tidied is None and not facts.says_nothing


@pytest.mark.parametrize(
    "choice",
    [
        {"index": 0, "delta": {"content": "x"}, "finish_reason": None},
        {"delta": {}},
        {"index": 1, "delta": None, "finish_reason": "stop", "logprobs": None},
        {"index": 0, "finish_reason": "eos_token"},
        {"index": 0, "delta": {"content": "x"}, "message": None},
    ],
)
def test_choices_in_order(choice: dict[str, Any]) -> None:
    assert in_order(choice, 2)
    [tidied] = tidy_choices([choice], 2)
    assert in_order(tidied, 2)


def test_several_choices_of_one_chunk_stay_apart_even_if_one_was_asked_for() -> None:
    assert [choice["index"] for choice in tidy_choices([{"index": 0}, {"index": 1}], 1)] == [0, 1]
    assert [choice["index"] for choice in tidy_choices([{"delta": {}}, {"delta": {}}], 2)] == [0, 1]


@pytest.mark.parametrize("delta", [{}, None])
def test_a_text_in_place_of_a_delta_is_what_is_said(delta: Any) -> None:
    choice = {"index": 0, "delta": delta, "text": "x"}
    assert not in_order(choice, 1)
    assert tidy_choices([choice], 1) == [{"index": 0, "delta": {"content": "x"}}]


@pytest.mark.parametrize(
    ("chunk", "choices"),
    [
        ({"choices": [{"delta": {}}]}, [{"delta": {}}]),
        ({"choices": {"delta": {}}}, [{"delta": {}}]),
        ({"choices": None}, []),
        ({"choices": "x"}, []),
        ({}, []),
    ],
)
def test_choices_wherever_they_stand(chunk: dict[str, Any], choices: list[Any]) -> None:
    assert choices_in(chunk) == choices


odd = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.text(max_size=2))
choices = st.lists(
    odd
    | st.fixed_dictionaries(
        {},
        optional={
            "index": odd,
            "delta": odd | st.just({"content": "x"}),
            "message": odd | st.just({"content": "y"}),
            "text": odd,
            "finish_reason": odd | st.sampled_from(["stop", "null"]),
        },
    ),
    max_size=4,
)


@given(choices, st.integers(1, 3))
def test_whatever_comes_can_be_put_in_order_once_and_for_all(come: list[Any], n: int) -> None:
    tidied = tidy_choices(come, n)
    assert len(tidied) == sum(isinstance(choice, dict) for choice in come)
    for choice in tidied:
        assert type(choice["index"]) is int
        assert 0 <= choice["index"] < 128
        assert isinstance(choice.get("delta", {}), dict)
        assert isinstance(choice.get("message", {}), dict)
    assert tidy_choices(tidied, 128) == tidied
