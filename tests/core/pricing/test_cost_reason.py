"""What a refused client is told of why so much would be reserved."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

import pytest

from gateway.core.billing_terms import Asked
from gateway.core.pricing.budget_errors import Exceeded
from gateway.core.pricing.calendar import ALL_TIME
from gateway.core.pricing.cost_bound import RequestedWork, cost_bound
from gateway.core.pricing.cost_reason import chat_cost_reason
from gateway.core.types import Budget, Endpoint, LongContext, OperationName, Price, Target, Upstream

from .prices import USD

PLACE = Upstream("piapi", "piapi", (Endpoint("https://a", "https", "a", 443),), ())
PRICE = Price(input=2_500_000_000, output=10_000_000_000)


def target(price: Price | None = PRICE, operation: OperationName = "chat") -> Target:
    return Target(PLACE, "gpt-4o", operation, price)


def test_tokens_times_their_prices_are_the_bound():
    work = RequestedWork(input_tokens=128_000, output_tokens=16_384)
    told = chat_cost_reason(target(), work)
    assert told == "128,000 input tokens at up to $2.50 and 16,384 output tokens at up to $10.00 per 1M"
    assert cost_bound((target(),), work) == 128_000 * 2500 + 16_384 * 10_000


@pytest.mark.parametrize(
    ("price", "work", "told"),
    [
        (replace(PRICE, cache_write=3_125_000_000), RequestedWork(1000, 10), "1,000 input tokens at up to $3.125 and"),
        (
            replace(PRICE, long=LongContext(900, 2000, 1500)),
            RequestedWork(1000, 10),
            "1,000 input tokens at up to $5.00 and 10 output tokens at up to $15.00 per 1M",
        ),
        (
            replace(PRICE, tiers={"fast": 2000}),
            RequestedWork(1000, 10, asked=Asked(tier="fast")),
            "1,000 input tokens at up to $5.00 and 10 output tokens at up to $20.00 per 1M",
        ),
        (
            replace(PRICE, call=10_000_000),
            RequestedWork(0, 10, asked=Asked(calls=3)),
            "0 input tokens at up to $0.00 and 10 output tokens at up to $10.00 per 1M and 3 calls",
        ),
        (
            replace(PRICE, input=1_875_000_000),
            RequestedWork(7, 3),
            "7 input tokens at up to $1.875 and 3 output tokens",
        ),
    ],
)
def test_prices_are_those_that_the_bound_counts_with(price: Price, work: RequestedWork, told: str):
    assert told in chat_cost_reason(target(price), work)


@pytest.mark.parametrize(
    "other", [target(None), target(Price(image=1)), target(PRICE, "images"), target(Price(image=1), "task")]
)
def test_what_is_not_billed_by_tokens_has_no_such_reason(other: Target):
    assert chat_cost_reason(other, RequestedWork(10, 10)) == ""


def test_a_refusal_says_what_would_be_reserved_and_that_a_smaller_bound_lowers_it():
    refusal = Exceeded(("key", "alice"), Budget(USD, "total"), ALL_TIME, 2 * USD, 0, 0, UTC, why="words")
    message = refusal.message()
    assert "may cost up to $2.00, which would be reserved for it: words. " in message
    assert message.endswith(" A smaller max_tokens lowers what is reserved.")
    assert "max_tokens" not in replace(refusal, why="").message()
