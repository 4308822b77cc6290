"""How values are written for people."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.console import shown
from gateway.core.outcomes.table import RULES, Verdict


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        (None, "–"),
        (0, "$0.00"),
        (0.0, "$0.00"),
        (12.5, "$12.50"),
        (0.00066, "$0.00066"),
        (0.000001, "$0.000001"),
        (1234567.891, "$1,234,567.891"),
        (-3.2, "-$3.20"),
        (100, "$100.00"),
    ],
)
def test_money(dollars: float | None, text: str) -> None:
    assert shown.money(dollars) == text


@given(nano=st.integers(0, 10**15))
def test_money_of_the_books_is_right_to_the_micro_dollar(nano: int) -> None:
    text = shown.nano_money(nano)
    assert text.startswith("$")
    assert abs(round(float(text[1:].replace(",", "")) * 1e6) - nano / 1000) <= 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0.000 s"),
        (0.1234, "0.123 s"),
        (4.52, "4.5 s"),
        (60, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3600, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_seconds(value: float | None, text: str) -> None:
    assert shown.seconds(value) == text


def test_counts_and_moments() -> None:
    assert (shown.count(None), shown.count(0), shown.count(1234567)) == ("–", "0", "1,234,567")
    assert shown.clock(None) == "–"
    assert shown.clock("2026-11-30T14:36:08Z") == shown.clock("2026-11-30T14:36:08.123456Z") == "2026-11-30 14:36:08"
    assert shown.wall(0) == "1970-01-01 00:00:00"
    assert shown.between("2026-11-30T14:36:08Z", None) == "–"
    assert shown.between("2026-11-30T14:36:08Z", "2026-11-30T14:37:38.5Z") == "1 min 30 s"
    assert shown.words("connect_refused") == "connect refused"


@pytest.mark.parametrize("slug", sorted(RULES))
def test_every_outcome_says_where_the_request_went_next(slug: str) -> None:
    stays = RULES[slug].onward in (Verdict.DONE, Verdict.STOP)
    assert bool(shown.onward(slug)) is not stays


def test_an_outcome_of_a_later_version_is_shown_without_a_guess() -> None:
    assert shown.onward("struck_by_lightning") == ""


@given(text=st.text(max_size=30))
def test_any_text_is_one_segment_of_a_path(text: str) -> None:
    segment = shown.segment(text)
    assert segment.isascii()
    assert not set("/?#&=\"'<> \r\n") & set(segment)
    assert unquote(segment) == text
