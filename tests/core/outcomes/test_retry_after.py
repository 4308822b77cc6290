"""Retry-After: what is believed, what is clamped, what means nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.outcomes.retry_after import LONGEST, SHORTEST, asked_wait, parse_retry_after

NOON = 1_795_348_800.0  # Sun, 22 Nov 2026 12:00:00 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1", 1.0),
        ("30", 30.0),
        (b" 2.5 ", 2.5),
        (b"0", SHORTEST),
        (b"7200", LONGEST),
        (b"Sun, 22 Nov 2026 12:00:20 GMT", 20.0),
        (b"Sunday, 22-Nov-26 12:00:20 GMT", 20.0),
        (b"Sun Nov 22 12:00:20 2026", 20.0),
        (b"Sun, 22 Nov 2026 18:00:00 GMT", LONGEST),
    ],
)
def test_what_is_meant(value: bytes | str, seconds: float) -> None:
    assert parse_retry_after(value, wall_seconds=NOON) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"-1",
        b"NaN",
        b"inf",
        b"1e9",
        b"1000000000",
        b"99999999999999999999",
        b"soon",
        b"1,5",
        b"0x10",
        "١٢",
        b"Sun, 22 Nov 2026 11:59:59 GMT",
        b"Sun, 99 Nov 2026 12:00:20 GMT",
        b"Thu, 01 Jan 2099 00:00:00 GMT",
        b"Sun, 22 Nov 2026 12:00:20 +9999999999999999",
        b"x" * 10_000,
    ],
)
def test_what_means_nothing(value: bytes | str | None) -> None:
    assert parse_retry_after(value, wall_seconds=NOON) is None


@given(st.one_of(st.binary(max_size=80), st.text(max_size=80), st.floats().map(str), st.integers().map(str)))
def test_anything_gives_a_wait_within_reason_or_none(value: bytes | str) -> None:
    seconds = parse_retry_after(value, wall_seconds=NOON)
    assert seconds is None or SHORTEST <= seconds <= LONGEST


@given(st.integers(1, 3600))
def test_whole_seconds_are_taken_at_their_word(seconds: int) -> None:
    assert parse_retry_after(str(seconds), wall_seconds=NOON) == seconds


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({}, None),
        ({b"retry-after": b"9"}, 9.0),
        ({b"retry-after-ms": b"1500", b"retry-after": b"9"}, 1.5),
        ({b"retry-after-ms": b"nonsense", b"retry-after": b"9"}, 9.0),
        ({b"retry-after-ms": b"1"}, SHORTEST),
    ],
)
def test_the_millisecond_field_comes_first(fields: dict[bytes, bytes], seconds: float | None) -> None:
    assert asked_wait(fields, wall_seconds=NOON) == seconds
