"""How long a recording is taken for: never shorter than its bytes can play, and close where its kind tells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.recording_length import LOWEST_RATE, likely_milliseconds, most_milliseconds
from tests.e2e.relays import recording


@pytest.mark.parametrize(("seconds", "billed"), [(0.5, 1), (2.5, 3), (59, 60), (60, 61)])
def test_a_wav_file_is_as_long_as_its_samples_and_its_head(seconds: float, billed: int) -> None:
    data = recording(seconds, rate=16_000)
    assert most_milliseconds(data) == likely_milliseconds(data) == billed * 1000


def test_any_other_file_is_as_long_as_the_lowest_rate_allows() -> None:
    assert most_milliseconds(b"OggS" + bytes(LOWEST_RATE * 60 - 4)) == 60_000
    assert most_milliseconds(b"") == 0


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (22, (65_535).to_bytes(2, "little")),  # channels
        (24, (4_000_000_000).to_bytes(4, "little")),  # samples a second
        (34, (255).to_bytes(2, "little")),  # bits
        (34, (0).to_bytes(2, "little")),
        (20, (17).to_bytes(2, "little")),  # a packed kind
        (16, (0xFFFFFFF0).to_bytes(4, "little")),  # the size of the chunk is not believed either
    ],
)
def test_a_head_that_no_real_file_has_makes_it_no_shorter(at: int, value: bytes) -> None:
    data = recording(10)
    odd = data[:at] + value + data[at + len(value) :]
    assert most_milliseconds(odd) >= most_milliseconds(data)


def test_a_wav_files_other_chunks_are_passed_over() -> None:
    data = recording(2)
    listed = data[:12] + b"LIST" + (3).to_bytes(4, "little") + b"abc\x00" + data[12:]
    assert most_milliseconds(listed) == most_milliseconds(data)
    endless = data[:12] + b"LIST\x00\x00\x00\x00" * 100 + data[12:]
    assert most_milliseconds(endless) > most_milliseconds(data)


@pytest.mark.parametrize(
    ("frame", "rate"),
    [(b"\xff\xfb\x90\x64", 16_000), (b"\xff\xf3\x14\xc4", 1_000), (b"\xff\xfb\xe0\x00", 40_000)],
)
def test_an_mp3_file_probably_goes_on_as_it_begins(frame: bytes, rate: int) -> None:
    data = b"ID3\x03\x00\x00\x00\x00\x00\x0a" + bytes(10) + frame
    data += bytes(rate * 30 - len(data))
    assert likely_milliseconds(data) == 30_000
    assert most_milliseconds(data) >= 30_000


def test_what_tells_nothing_is_taken_for_speech_as_it_is_usually_recorded() -> None:
    assert likely_milliseconds(b"\x1aE\xdf\xa3" + bytes(79_996)) == 10_000
    assert likely_milliseconds(b"\xff\xfb\x00\x00" * 4000) == 2_000  # a frame of no rate


@given(st.binary(max_size=2_000))
def test_no_file_is_likely_longer_than_it_can_be_unless_its_kind_says_so(data: bytes) -> None:
    assert likely_milliseconds(data) >= 0
    assert most_milliseconds(data) >= -(-len(data) // 192_000) * 1000 // 8 or not data


@given(st.binary(max_size=200))
def test_no_bytes_behind_a_head_fail(tail: bytes) -> None:
    for head in (b"RIFF\x00\x00\x00\x00WAVE", b"RIFF\x00\x00\x00\x00WAVEfmt ", b"ID3", b"\xff\xfb"):
        assert most_milliseconds(head + tail) >= 0
        assert likely_milliseconds(head + tail) >= 0
