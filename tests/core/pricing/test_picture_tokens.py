"""The tokens of a picture, against the table that was worked out by hand from reported usages."""

from __future__ import annotations

import pytest

from gateway.core.pricing.picture_tokens import (
    DEAREST_SIZE,
    bounded_picture_tokens,
    bounded_usage,
    most_picture_tokens,
    picture_tokens,
)
from gateway.core.types import Price

GPT_IMAGE_2 = {"low": 16, "medium": 48, "high": 96}
LATER = {"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96}

TABLE = {
    "1024x1024": (196, 439, 1756, 3122, 7024),
    "1536x1024": (158, 343, 1372, 2459, 5488),
    "1024x1536": (158, 343, 1372, 2459, 5488),
    "2048x2048": (397, 892, 3568, 6343, 14_272),
    "2560x1440": (205, 478, 1843, 3276, 7370),
    "3840x2160": (371, 865, 3336, 5930, 13_342),
    "2880x2880": (659, 1483, 5930, 10_542, 23_719),
}
"""Size → tokens by the factors 16, 24, 48, 64 and 96."""


@pytest.mark.parametrize("size", TABLE)
def test_the_formula_has_the_tokens_of_the_table(size: str) -> None:
    width, height = map(int, size.split("x"))
    assert tuple(picture_tokens(factor, width, height) for factor in (16, 24, 48, 64, 96)) == TABLE[size]


@pytest.mark.parametrize("size", TABLE)
@pytest.mark.parametrize("factors", [GPT_IMAGE_2, LATER, {"low": 16}])
def test_a_reservation_counts_the_dearest_factor_whatever_the_quality(size: str, factors: dict[str, int]) -> None:
    assert most_picture_tokens(factors, size) == TABLE[size][-1]


@pytest.mark.parametrize(
    "size",
    [None, "", "auto", "16:9", "2K", "1000x1000", "256x256", "3856x1024", "3840x1024", "4096x4096", "1024 x 1024"],
)
def test_a_size_that_is_not_known_or_not_legal_counts_as_the_dearest(size: str | None) -> None:
    assert most_picture_tokens(LATER, size) == 23_719
    assert bounded_picture_tokens(LATER, "low", size) == 659


def test_no_legal_size_is_dearer() -> None:
    legal = (
        (width, height)
        for width in range(16, 3841, 16)
        for height in range(16, width + 1, 16)
        if width <= 3 * height and 655_360 <= width * height <= 8_294_400
    )
    assert max(picture_tokens(96, *size) for size in legal) == picture_tokens(96, *DEAREST_SIZE) == 23_719


def test_a_dearer_factor_of_ones_own_counts() -> None:
    assert most_picture_tokens({"ultra": 128}, "1024x1024") == picture_tokens(128, 1024, 1024)


def test_a_model_of_which_nothing_is_known_may_be_an_old_one() -> None:
    assert most_picture_tokens({}, "1024x1536") == 6240
    assert most_picture_tokens({}, "1024x1024") == 7024
    assert bounded_picture_tokens({}, "low", "1024x1024") == 7024


@pytest.mark.parametrize(
    ("quality", "tokens"), [("low", 196), ("medium", 439), ("max", 7024), (None, 7024), ("hd", 7024), ("auto", 7024)]
)
def test_a_bill_that_was_not_told_counts_the_quality_if_it_is_known(quality: str | None, tokens: int) -> None:
    assert bounded_picture_tokens(LATER, quality, "1024x1024") == tokens


def test_the_usage_of_such_a_bill() -> None:
    price = Price(input=1, output=1, picture_tokens=LATER)
    usage = bounded_usage(price, 2, quality="low", size="1024x1024", prompt_bytes=10, sources=3)
    assert (usage.input_tokens, usage.image_input_tokens) == (10 + 3 * 1536, 3 * 1536)
    assert (usage.output_tokens, usage.images, usage.confidence) == (2 * 196, 2, "estimated")
