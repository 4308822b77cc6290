"""A chat as one target gets it, fields renamed and dropped."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.types import Rewrites
from gateway.wire.chat_request import ChatRequest, parse_chat_request, without_withheld
from gateway.wire.chat_rewrites import rewritten

HELLO = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
NEWER = Rewrites((("max_tokens", "max_completion_tokens"),), ("stop", "logit_bias"))


def asked(**fields: Any) -> ChatRequest:
    return parse_chat_request({**HELLO, **fields})


@pytest.mark.parametrize(
    ("fields", "sent", "note"),
    [
        ({"max_tokens": 5}, {"max_completion_tokens": 5}, "rewritten: max_tokens as max_completion_tokens"),
        ({"stop": ["x"]}, {}, "dropped: stop"),
        (
            {"stop": "x", "max_tokens": 5, "logit_bias": {"1": 2}, "seed": 1},
            {"max_completion_tokens": 5, "seed": 1},
            "rewritten: max_tokens as max_completion_tokens; dropped: stop, logit_bias",
        ),
        ({"max_tokens": 5, "max_completion_tokens": 7}, {"max_completion_tokens": 7}, "dropped: max_tokens"),
        ({"max_completion_tokens": 7, "max_tokens": 5}, {"max_completion_tokens": 7}, "dropped: max_tokens"),
        # Null stands for an absent field.
        (
            {"max_completion_tokens": None, "max_tokens": 5},
            {"max_completion_tokens": 5},
            "rewritten: max_tokens as max_completion_tokens",
        ),
        (
            {"max_tokens": 5, "max_completion_tokens": None},
            {"max_completion_tokens": 5},
            "rewritten: max_tokens as max_completion_tokens",
        ),
        ({"max_tokens": None, "stop": None}, {}, None),
    ],
)
def test_what_is_sent_and_told(fields: dict[str, Any], sent: dict[str, Any], note: str | None) -> None:
    request = asked(**fields)
    before = copy.deepcopy(request.body)
    result, told = rewritten(request, NEWER)
    assert (result.body, told) == ({**HELLO, **sent}, note)
    assert request.body == before  # another target gets the original


@pytest.mark.parametrize("rewrites", [None, NEWER])
@pytest.mark.parametrize("fields", [{}, {"max_completion_tokens": 5, "seed": 1}])
def test_what_needs_no_change_goes_as_it_came(rewrites: Rewrites | None, fields: dict[str, Any]) -> None:
    request = asked(**fields)
    result, note = rewritten(request, rewrites)
    assert result is request
    assert note is None


@pytest.mark.parametrize(
    ("rewrites", "fields", "bound"),
    [
        (NEWER, {"max_tokens": 5}, 5),
        (NEWER, {"max_tokens": 5, "max_completion_tokens": 3}, 3),
        (Rewrites(drops=("max_tokens",)), {"max_tokens": 5}, None),
        (Rewrites(drops=("max_tokens",)), {"max_tokens": 5, "max_completion_tokens": 3}, 3),
        (Rewrites(drops=("max_completion_tokens", "max_tokens")), {"max_tokens": 5, "max_completion_tokens": 3}, None),
        # What the target makes of a name that is not known here is not known either.
        (Rewrites((("max_tokens", "max_new_tokens"),)), {"max_tokens": 5}, None),
        (Rewrites((("max_new_tokens", "max_tokens"),)), {"max_new_tokens": 5}, 5),
        (Rewrites((("max_new_tokens", "max_tokens"),)), {"max_new_tokens": "many"}, None),
        (Rewrites((("max_new_tokens", "max_tokens"),)), {"max_new_tokens": True}, None),
        (Rewrites((("max_new_tokens", "max_tokens"),)), {"max_new_tokens": -3}, None),
        (NEWER, {"stop": "x"}, None),
        (NEWER, {"stop": "x", "max_completion_tokens": 4}, 4),
    ],
)
def test_the_bound_of_the_output_is_what_the_target_reads(
    rewrites: Rewrites, fields: dict[str, Any], bound: int | None
) -> None:
    assert rewritten(asked(**fields), rewrites)[0].max_output_tokens == bound


def test_what_is_withheld_anyway_may_be_dropped() -> None:
    request, ignored = without_withheld(asked(models=["a"], provider={}, stop="x"), frozenset({"provider"}))
    result, note = rewritten(request, Rewrites(drops=("models", "provider", "stop")))
    assert result.body == HELLO
    assert (ignored, note) == ("ignored: models", "dropped: provider, stop")


FIELDS = st.dictionaries(
    st.sampled_from(["max_tokens", "max_completion_tokens", "stop", "logit_bias", "seed"]),
    st.none() | st.integers(1, 9),
)


@given(FIELDS)
def test_whatever_comes_nothing_refused_is_sent_and_all_that_changed_is_told(fields: dict[str, Any]) -> None:
    result, note = rewritten(asked(**fields), NEWER)
    assert not result.body.keys() & {"max_tokens", "stop", "logit_bias"}
    assert result.body.get("seed") == fields.get("seed")
    gone = {name for name, value in fields.items() if value is not None and result.body.get(name) != value}
    assert all(name in (note or "") for name in gone)
    assert bool(note) == bool(gone)
