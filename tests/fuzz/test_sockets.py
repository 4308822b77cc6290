"""Odd streams through a whole gateway, over sockets: what the fuzz of conversations cannot see."""

from __future__ import annotations

from tests.e2e.conftest import *  # noqa: F403  the gateway in the test's process
from tests.e2e.conftest import StartGateway
from tests.fuzz.sockets import check_socket, is_quick, overrides, scripted_upstream

FIRST_SEED = 9_000_000
CASES = 200


async def test_no_odd_stream_is_lost_on_its_way_through_a_gateway(gateway: StartGateway) -> None:
    async with scripted_upstream() as upstream:
        rig = await gateway(overrides(upstream))
        for seed in filter(is_quick, range(FIRST_SEED, FIRST_SEED + CASES)):
            try:
                await check_socket(rig, upstream, seed)
            except Exception as fault:
                raise AssertionError(f"replay it: python -m tests.fuzz sockets --only {seed}") from fault
