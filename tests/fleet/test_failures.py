"""A gateway dies, or an engine is gone: clients see what they may send again, and the books are whole afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2
import pytest

from soak import fleet_kills, outages

from .conftest import ANN, Fleets, statuses

SLOTS_BACK_WITHIN = 30.0
"""Seconds until the slots of a gateway that died are free again (the contract)."""

MAY_BE_SENT_AGAIN = {"429 rate_limit_exceeded"}


async def test_a_gateway_that_is_killed_mid_load_leaves_nothing_open_and_gives_its_slots_back(fleets: Fleets) -> None:
    key = {**ANN, "parallel": 12}
    async with fleets([key]) as rig:
        dying, *others = rig.made.urls
        slow = "[[sandbox: stall_head;seconds=60]]"
        asking = asyncio.gather(
            *(rig.chat(key, f"{number} {slow}", at=dying) for number in range(12)), return_exceptions=True
        )
        await rig.sandbox.until(lambda: rig.sandbox.in_flight >= 12)
        assert statuses([await rig.chat(key, at=others[0])]) == {"429 rate_limit_exceeded": 1}
        await rig.made.kill(0)
        cut = await asking
        assert all(isinstance(one, httpx2.TransportError) for one in cut), cut

        async def served() -> bool:
            answer = await rig.chat(key, at=others[0])
            assert statuses([answer]).keys() <= {"200", *MAY_BE_SENT_AGAIN}
            return answer.status_code == 200

        await rig.until(served, SLOTS_BACK_WITHIN)
        assert await rig.made.all_closed()
        rows = await rig.made.rows()
        assert sum(row.state == "unknown" for row in rows) == 12
        assert {row.state for row in rows} == {"unknown", "settled"}
        assert (await rig.made.verify())[0] == 0


@pytest.mark.timeout(300)
async def test_gateways_that_are_killed_again_and_again_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    report = await fleet_kills.run(tmp_path, 10, 20_261_130)

    assert report.ok, report.text()
    figures = {name: int(value.replace(",", "")) for name, value in report.figures.items()}
    assert figures["cut off by a kill"] > 10  # or nothing was tried
    assert figures["unknown"] > 0
    assert figures["settled, measured"] > 100


async def test_a_shared_state_that_stalls_fails_no_request(tmp_path: Path) -> None:
    report = await outages.stall_valkey(tmp_path, 5.0)

    problems = [one for one in report.problems if not one.startswith("p99")]  # this machine is busy with other tests
    assert not problems, report.text()


async def test_a_store_that_is_gone_refuses_what_is_new_and_loses_nothing(tmp_path: Path) -> None:
    report = await outages.stop_postgres(tmp_path, 4.0)

    problems = [one for one in report.problems if not one.startswith("served again")]
    assert not problems, report.text()
    assert int(report.figures["refused while it was gone"]) > 0
    assert int(report.figures["under way, and served"]) == outages.UNDER_WAY
