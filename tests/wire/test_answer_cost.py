"""``usage.cost``: exact digits in place of whatever an upstream wrote there."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.pricing.prices import format_usd
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.writable import dump_json


@given(st.integers(0, 10**15))
def test_every_amount_is_a_plain_decimal_of_exactly_that(nano: int) -> None:
    text = dump_json(AnswerCost(format_usd(nano)).in_usage({"total_tokens": 3}))
    assert b"e" not in text.rpartition(b":")[2].lower()  # 0.0000125, never 1.25e-05
    told = json.loads(text, parse_float=Decimal)
    assert told["cost"] * 10**9 == nano
    assert orjson.loads(text)["cost"] == pytest.approx(nano / 10**9, rel=1e-15)


def test_the_least_amount() -> None:
    assert orjson.dumps(AnswerCost(format_usd(1)).in_usage({})) == b'{"cost":0.000000001}'


@pytest.mark.parametrize("theirs", [0.5, "0.5", None, {"total": 1}, [1], float("nan"), 10**400, "\ud83d"])
def test_an_upstreams_own_word_is_replaced_or_left_out(theirs: Any) -> None:
    """Also where the rest can only be written leniently."""
    usage = {"prompt_tokens": 1, "cost": theirs, "is_byok": True, "odd": float("nan"), "half": "\ud83d"}
    told = json.loads(dump_json({"usage": AnswerCost("0.02").in_usage(usage)}))["usage"]
    assert (list(told), told["cost"]) == (["prompt_tokens", "cost", "is_byok", "odd", "half"], 0.02)
    untold = AnswerCost(None).in_usage(usage)
    assert list(untold) == ["prompt_tokens", "is_byok", "odd", "half"]
    assert usage["cost"] is theirs


def test_the_fallback_of_the_writer_keeps_the_digits() -> None:
    usage = AnswerCost("0.0000125").in_usage({"half": "\ud83d"})
    assert dump_json({"usage": usage}) == '{"usage":{"half":"\ufffd","cost":0.0000125}}'.encode()
