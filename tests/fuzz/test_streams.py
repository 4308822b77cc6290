"""Odd streams by the thousand, each held against what a client must get of it."""

from __future__ import annotations

from tests.fuzz.streams import check_stream

FIRST_SEED = 9_000_000
CASES = 4_000


def test_no_odd_stream_is_lost_altered_or_told_complete_when_it_was_not():
    for seed in range(FIRST_SEED, FIRST_SEED + CASES):
        try:
            check_stream(seed)
        except Exception as fault:
            raise AssertionError(f"replay it: python -m tests.fuzz streams --only {seed}") from fault
