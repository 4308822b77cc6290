"""Base64 inside of texts: recognised, counted out, set aside and put back."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.base64_text import (
    PLACEHOLDER_MARK,
    Base64Filter,
    elide_base64,
    extract_base64,
    is_base64,
    restore_base64,
)

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
            reader = Base64Filter()
            pieces = (text[:first], text[first:second], text[second:])
            assert "".join(reader.add(piece) for piece in pieces if piece) == words
            assert reader.count == len(words)


def test_long_runs_are_set_aside_and_put_back() -> None:
    text = f"a ![x](data:image/png;base64,{RUN}) b base64,short, ![y](data:image/png;base64,{RUN}"
    shorter, runs = extract_base64(text)
    assert runs == [RUN, RUN]
    assert len(shorter) < 100
    assert "base64,short," in shorter
    assert restore_base64(shorter, runs) == text
    assert elide_base64(shorter) == "a ![x](data:image/png;base64,…) b base64,short, ![y](data:image/png;base64,…"


def test_nobody_can_ask_for_a_run_by_its_number() -> None:
    shorter, runs = extract_base64(
        f"{PLACEHOLDER_MARK}0{PLACEHOLDER_MARK} base64,{RUN} {PLACEHOLDER_MARK}7{PLACEHOLDER_MARK}"
    )
    assert restore_base64(shorter, runs) == f"0 base64,{RUN} 7"
    assert elide_base64(f"half a number {PLACEHOLDER_MARK}1") == "half a number 1"
