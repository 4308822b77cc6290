"""Prices as the books keep them: exact, under the configuration's names, and read back by it."""

from __future__ import annotations

from decimal import Decimal

import orjson
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.pricing import price_text as module
from gateway.core.pricing.price_text import describe_price, price_text
from gateway.core.types import NANO_PER_USD, LongContext, Price

FULL = Price(
    input=1_875_000_000,
    cached_input=0,
    output=7_500_000_000,
    image=20_000_000,
    no_image=660_000,
    table={"low": {"1024x1024": 11_000_000}},
    picture_tokens={"low": 16},
    minimum=1,
    long=LongContext(272_000, 2_000, 1_500),
    tiers={"flex": 500},
    estimated=True,
)


def test_everything_under_the_names_of_the_configuration():
    assert price_text(FULL) == (
        '{"input":1.875,"cached_input":0,"output":7.5,"image":0.02,"no_image":0.00066,'
        '"table":{"low":{"1024x1024":0.011}},"picture_tokens":{"low":16},'
        '"long":{"above":272000,"input":2,"output":1.5},"tiers":{"flex":0.5},"minimum":0.000000001,"estimated":true}'
    )


def test_unknown_is_not_free():
    assert price_text(None) == ""
    assert price_text(Price()) == "{}"
    assert price_text(Price(input=0, output=0)) == '{"input":0,"output":0}'


@given(st.integers(0, 10**15))
def test_amounts_are_exact(nano: int):
    text = price_text(Price(input=nano))
    assert Decimal(text.removeprefix('{"input":').removesuffix("}")) * NANO_PER_USD == nano
    assert "e" not in text.removeprefix('{"input":').lower()
    assert orjson.loads(text)["input"] == float(describe_price(Price(input=nano))["input"])  # type: ignore[index]


def test_prices_made_for_one_order_do_not_gather():
    for nano in range(3 * module.MOST_REMEMBERED):
        assert price_text(Price(image=nano * NANO_PER_USD)) == f'{{"image":{nano}}}'
    assert len(module._texts) <= module.MOST_REMEMBERED


def test_a_price_of_equal_place_in_memory_is_not_taken_for_another():
    texts = set()
    for nano in range(2_000):
        price = Price(image=nano)
        texts.add(price_text(price))
        del price
    assert len(texts) == 2_000
