"""Texts for patterns."""

from __future__ import annotations

import re

import pytest

from gateway.sandbox.chat.pattern_examples import matching


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\d{3}-[A-Z]{2}$",
        r"^[^@\s]+@[^@\s]+\.com$",
        r"^(?:19|20)\d\d$",
        r"^#[0-9a-fA-F]{6}$",
        r"^.{30,}$",
        r"^(a|b)\1$",
        r"^[^a-z]\W\S\s?$",
        r"^\D+?x{2}[.-]$",
        r"\bok\b",
        r"^[é]$",
    ],
)
def test_a_pattern_is_matched(pattern: str) -> None:
    assert re.search(pattern, matching(pattern, "!"))


def test_a_text_that_matches_stays() -> None:
    assert matching("[a-z]+", "hello there") == "hello there"


@pytest.mark.parametrize("pattern", ["(", "(?<=a)^b(?!b)", r"\p{L}+", None, 5, "a{99999999999}", "^a$^b$"])
def test_what_cannot_be_followed_leaves_the_text(pattern: object) -> None:
    assert matching(pattern, "!") == "!"
