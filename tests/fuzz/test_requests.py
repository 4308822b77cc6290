"""Odd requests by the hundred, each held against what must become of it."""

from __future__ import annotations

from tests.e2e.conftest import *  # noqa: F403  the gateway in the test's process
from tests.e2e.harness import Rig
from tests.fuzz.requests import check_request

FIRST_SEED = 9_000_000
CASES = 600


async def test_no_odd_request_is_refused_for_what_the_gateway_does_not_act_on(rig: Rig) -> None:
    for seed in range(FIRST_SEED, FIRST_SEED + CASES):
        try:
            await check_request(rig, seed)
        except Exception as fault:
            raise AssertionError(f"replay it: python -m tests.fuzz requests --only {seed}") from fault
