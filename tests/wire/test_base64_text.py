"""Base64 inside of texts: recognised, counted out, set aside and put back."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.base64_text import ASIDE, Words, is_base64, put_back, set_aside, without_runs

RUN = base64.b64encode(bytes(range(256)) * 6).decode()


@given(st.binary(min_size=1, max_size=50))
def test_what_was_encoded_is_base64(data: bytes) -> None:
    assert is_base64(base64.b64encode(data).decode())


@pytest.mark.parametrize(
    "text", ["", "=", "====", "abc", "abcde", "a===", "ab=c", "abc)", "ab-_", "abc\n", "äbcd", "abcd====", "ab cd=ef"]
)
def test_what_could_not_be_decoded_is_none(text: str) -> None:
    assert not is_base64(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        ("no image at all", "no image at all"),
        ("![x](data:image/png;base64,AAAA) and on", "![x](data:image/png;base64,) and on"),
        ("base64,AAAAbase64,", "base64,,"),
        ("base64,AA base64,BB base6", "base64, base64, base6"),
    ],
)
def test_words_are_what_is_not_in_an_image_however_they_are_split(text: str, words: str) -> None:
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            reader = Words()
            pieces = (text[:first], text[first:second], text[second:])
            assert "".join(reader.add(piece) for piece in pieces if piece) == words
            assert reader.count == len(words)


def test_long_runs_are_set_aside_and_put_back() -> None:
    text = f"a ![x](data:image/png;base64,{RUN}) b base64,short, ![y](data:image/png;base64,{RUN}"
    shorter, runs = set_aside(text)
    assert runs == [RUN, RUN]
    assert len(shorter) < 100
    assert "base64,short," in shorter
    assert put_back(shorter, runs) == text
    assert without_runs(shorter) == "a ![x](data:image/png;base64,…) b base64,short, ![y](data:image/png;base64,…"


def test_nobody_can_ask_for_a_run_by_its_number() -> None:
    shorter, runs = set_aside(f"{ASIDE}0{ASIDE} base64,{RUN} {ASIDE}7{ASIDE}")
    assert put_back(shorter, runs) == f"0 base64,{RUN} 7"
    assert without_runs(f"half a number {ASIDE}1") == "half a number 1"
