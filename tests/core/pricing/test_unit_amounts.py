"""What characters and seconds cost, alone and beside tokens, and which prices say all."""

from __future__ import annotations

import pytest

from gateway.core.billing_terms import Asked
from gateway.core.pricing.prices import amount_due, upper_bound
from gateway.core.pricing.unit_amounts import is_free, says_all, usual_fields
from gateway.core.types import OperationName, Price, Usage

DOLLARS = 1_000_000_000


@pytest.mark.parametrize(
    ("price", "usage", "due"),
    [
        (Price(characters=15 * DOLLARS), Usage(characters=1_000), 15_000_000),
        (Price(characters=15 * DOLLARS), Usage(), 0),
        (Price(characters=1), Usage(characters=499_999), 0),
        (Price(characters=1), Usage(characters=500_000), 1),
        (Price(seconds=100_000), Usage(audio_milliseconds=2_500), 250_000),
        (Price(seconds=1), Usage(audio_milliseconds=499), 0),
        (Price(seconds=1), Usage(audio_milliseconds=500), 1),
        (Price(seconds=100_000, minimum=10_000_000), Usage(audio_milliseconds=1_000), 10_000_000),
        (Price(seconds=100_000, input=DOLLARS, output=DOLLARS), Usage(2_000, 0, 1_000), 3_000_000),
        (Price(input=DOLLARS, output=DOLLARS), Usage(2_000, audio_milliseconds=9_000), 2_000_000),
        # What has no price is not known.
        (Price(input=DOLLARS, output=DOLLARS), Usage(audio_milliseconds=9_000), None),
        (Price(seconds=100_000), Usage(characters=5), None),
        (Price(characters=DOLLARS), Usage(audio_milliseconds=5), None),
        (Price(seconds=100_000), Usage(5), None),
        (None, Usage(characters=5), None),
    ],
)
def test_what_is_due(price: Price | None, usage: Usage, due: int | None) -> None:
    assert amount_due(price, usage, operation="speech") == due


def test_the_most_is_rounded_up() -> None:
    assert upper_bound(Price(characters=1), 0, 0, asked=Asked(characters=1)) == 1
    assert upper_bound(Price(seconds=1), 0, 0, asked=Asked(milliseconds=1)) == 1
    both = Price(input=DOLLARS, output=DOLLARS, seconds=1_000)
    assert upper_bound(both, 1_000, 1_000, asked=Asked(milliseconds=2_000)) == 2_002_000


@pytest.mark.parametrize(
    ("operation", "price", "all_said"),
    [
        ("embeddings", Price(input=1), True),
        ("embeddings", Price(output=1), False),
        ("completions", Price(input=1), False),
        ("completions", Price(input=1, output=1), True),
        ("responses", Price(input=1, output=1), True),
        ("moderations", Price(input=0), True),
        ("speech", Price(characters=1), True),
        ("speech", Price(seconds=1), False),
        ("speech", Price(input=1, output=1), True),
        ("transcriptions", Price(seconds=1), True),
        ("translations", Price(input=1), False),
        ("translations", Price(minimum=1), False),
    ],
)
def test_which_fields_say_all(operation: OperationName, price: Price, all_said: bool) -> None:
    assert says_all(price, operation) is all_said


def test_the_fields_that_are_asked_for() -> None:
    assert usual_fields("speech") == ("characters",)
    assert usual_fields("transcriptions") == ("seconds",)
    assert usual_fields("embeddings") == ("input",)
    assert usual_fields("chat") == ("input", "output")
    assert usual_fields("task") == ("image",)


def test_what_is_free() -> None:
    assert is_free(Price(input=0))
    assert is_free(Price(input=0, output=0))
    assert not is_free(Price(input=0, output=1))
    assert not is_free(Price(input=0, minimum=1))
    assert not is_free(Price(output=0))
    assert not is_free(None)
