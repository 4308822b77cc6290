"""A model that no catalogue names, at the list price of its vendor: a guess, and marked as one."""

from __future__ import annotations

import pytest

from .conftest import StartGateway
from .harness import ALICE

KEYS = f"keys: [{{name: alice, key: {ALICE}, budget: %s}}]\n"


@pytest.mark.parametrize("model", ["grok-4.7", "grok-4.7-20261001", "gemini-2.5-flash"])
async def test_a_key_with_a_budget_may_use_what_has_a_list_price(gateway: StartGateway, model: str) -> None:
    rig = await gateway(KEYS % "5/day")

    answer = await rig.chat(model=model, max_tokens=100)

    assert answer.status == 200, answer.body
    row = await rig.row()
    assert (row.state, row.confidence) == ("settled", "estimated")
    assert row.charged > 0


async def test_its_bound_is_all_that_it_may_write(gateway: StartGateway) -> None:
    rig = await gateway(KEYS % "0.5/day")
    # 131,072 tokens at 6 dollars a million are more than half a dollar.
    assert (await rig.chat(model="grok-4.7")).status == 429
    assert (await rig.chat(model="grok-4.7", max_tokens=1000)).status == 200


async def test_what_has_none_is_refused_and_the_refusal_suggests_what_is_known(gateway: StartGateway) -> None:
    rig = await gateway(
        KEYS % "5/day" + "models: {house: {targets: [{upstream: backup, model: grok-4.7}, {upstream: piapi}]}}\n"
    )

    unknown = await rig.chat(model="nobody-knows-it")
    assert unknown.status == 403
    listed = await rig.chat(model="house")
    assert listed.status == 403
    assert "input: 2" in listed.error()["message"]
    assert "output: 6" in listed.error()["message"]
