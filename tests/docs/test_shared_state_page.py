"""docs/shared-state.md says what is so: the numbers, the URLs, the rights."""

from __future__ import annotations

import re

import pytest

from gateway.config import addresses
from gateway.core.limits.key_limits import GRAIN
from gateway.shared_state.valkey import calls, limits, state
from tests.shared_state.test_outages import RIGHTS

from .written import ROOT

PAGE = (ROOT / "docs" / "shared-state.md").read_text(encoding="utf-8")


def test_its_numbers() -> None:
    for number, words in (
        (GRAIN, "grains of {:g} s"),
        (state.RENEW_EVERY, "renewed every {:g} s"),
        (limits.PLACE_LASTS, "free after {:g} s"),
        (state.BEAT, "a sign of life every {:g} s"),
        (state.ALIVE, "after {:g} s without one"),
        (calls.LATEST * 1000, "no answer within {:g} ms"),
        (calls.GIVEN_UP, "none within {:g} s"),
        (limits.ELSEWHERE, "`retry-after: {:g}`"),
    ):
        assert words.format(number) in PAGE
    assert calls.SLOW_ANSWERS == 3
    assert "three late answers in a row" in PAGE


def test_the_rights_that_are_tried() -> None:
    assert f"ACL SETUSER gateway on >PASSWORD {RIGHTS}\n" in PAGE


@pytest.mark.parametrize("url", re.findall(r"^\| `([a-z+]+://[^`…]+)`", PAGE, re.MULTILINE))
def test_its_urls_are_taken(url: str) -> None:
    assert addresses.shared_state(url.replace("PASSWORD", "secret")) == url.replace("PASSWORD", "secret")
