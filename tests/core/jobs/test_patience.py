"""How long clients say that they wait, in the words of their SDKs, and when they are answered."""

from __future__ import annotations

import re
from pathlib import Path

import openai
import pytest

from gateway.core.jobs.patience import LONGEST, Patience, patience_of
from tests.e2e.node_sdk import FOLDER as NODE


@pytest.mark.parametrize(
    ("header", "value", "patience"),
    [
        (b"x-stainless-read-timeout", b"20", Patience(20.0, from_body=True)),
        (b"x-stainless-read-timeout", b"600.0", Patience(600.0, from_body=True)),
        (b"x-stainless-read-timeout", b"2.5", Patience(2.5, from_body=True)),
        (b"x-stainless-timeout", b"20", Patience(20.0)),
        (b"x-gateway-patience", b"90s", Patience(90.0)),
        (b"x-gateway-patience", b" 500ms ", Patience(0.5)),
        (b"x-gateway-patience", b"1.5m", Patience(90.0)),
        (b"x-gateway-patience", b"2h", Patience(7200.0)),
        (b"x-gateway-patience", b"45", Patience(45.0)),
    ],
)
def test_each_header_in_its_own_unit(header: bytes, value: bytes, patience: Patience) -> None:
    assert patience_of({header: value}) == patience


@pytest.mark.parametrize("value", [b"0", b"", b"none", b"-3", b"nan", b"inf", b"1e99", b"20 s", b"%d" % (LONGEST + 1)])
@pytest.mark.parametrize("header", [b"x-stainless-read-timeout", b"x-stainless-timeout"])
def test_what_an_sdk_cannot_mean_hurries_nothing(header: bytes, value: bytes) -> None:
    assert patience_of({header: value}) is None


@pytest.mark.parametrize("value", [b"soon", b"0s", b"-1s", b"", b"1d", b"90 seconds", b"1e3", b"\xff"])
def test_a_header_of_ours_that_says_nothing_is_told(value: bytes) -> None:
    with pytest.raises(ValueError, match="90s"):
        patience_of({b"x-gateway-patience": value})


def test_own_header_wins_and_no_header_is_no_patience() -> None:
    told = {b"x-gateway-patience": b"90s", b"x-stainless-read-timeout": b"600", b"x-stainless-timeout": b"600"}
    assert patience_of(told) == Patience(90.0)
    assert patience_of({}) is None
    assert patience_of({b"x-gateway-patience": b"1000h"}) is None


@pytest.mark.parametrize(
    ("seconds", "after"), [(600.0, 599.0), (20.0, 19.0), (10.0, 9.5), (2.0, 1.75), (0.5, 0.25), (0.2, 0.1)]
)
def test_the_answer_comes_shortly_before_the_end(seconds: float, after: float) -> None:
    assert Patience(seconds).answer_after == pytest.approx(after)


def test_the_python_sdk_sends_seconds() -> None:
    client = openai.OpenAI(api_key="none", timeout=20)
    sent = client._build_headers(openai._models.FinalRequestOptions(method="post", url="/images/generations"))
    assert sent["x-stainless-read-timeout"] == "20"


def test_the_node_sdk_sends_whole_seconds_of_its_milliseconds() -> None:
    source = NODE / "node_modules" / "openai" / "client.mjs"
    if not Path(source).is_file():
        pytest.skip("run scripts/node_sdk.sh first: the openai npm package is missing")
    written = source.read_text(encoding="utf-8")
    assert re.search(r"'X-Stainless-Timeout': String\(Math\.trunc\(options\.timeout / 1000\)\)", written)
