"""Three gateways act as one: budgets, limits, cooldowns and keys are shared, and each is told of what another met."""

from __future__ import annotations

import asyncio
import json
from functools import partial

import httpx2

from .conftest import ADMIN, ANN, Fleets, bearer, statuses

KNOWN_WITHIN = 10.0
"""Seconds until all know what one has met. The contract says one, on a machine that has nothing else to do."""


async def test_a_crowd_on_a_small_budget_spends_no_nano_dollar_too_much(fleets: Fleets) -> None:
    key = {**ANN, "budget": "0.001/total"}
    async with fleets([key]) as rig:
        answers = await rig.chats(key, 2000)
        counts = statuses(answers)
        assert set(counts) <= {"200", "429 insufficient_quota", "429 rate_limit_exceeded"}, counts
        assert counts["200"] > 3
        await rig.made.all_closed()
        while (await rig.chat(key)).status_code == 200:  # nothing stayed reserved
            pass
        await rig.made.all_closed()
        rows = await rig.made.rows()
        charged = sum(row.owed for row in rows)
        assert 950_000 < charged <= 1_000_000
        assert charged == sum(line.amount or 0 for line in rig.sandbox.bill)
        assert (await rig.made.verify())[0] == 0


async def test_a_limit_of_requests_lets_through_as_many_as_it_says_over_all_three(fleets: Fleets) -> None:
    key = {**ANN, "rpm": 600}
    async with fleets([key]) as rig:
        counts = statuses(await rig.chats(key, 800))
        assert 594 <= counts["200"] <= 606, counts
        assert counts["429 rate_limit_exceeded"] == 800 - counts["200"]


async def test_a_limit_of_parallel_requests_counts_those_at_all_three(fleets: Fleets) -> None:
    key = {**ANN, "parallel": 10}
    async with fleets([key]) as rig:
        slow = "[[sandbox: stall_head;seconds=60]]"
        async with asyncio.TaskGroup() as crowd:
            running = {crowd.create_task(rig.chat(key, f"{number} {slow}")) for number in range(60)}
            refused: set[asyncio.Task[httpx2.Response]] = set()
            async with asyncio.timeout(40):
                while len(refused) < 50:
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    refused |= done
            assert statuses(one.result() for one in refused) == {"429 rate_limit_exceeded": 50}
            await rig.sandbox.until(lambda: rig.sandbox.in_flight == 10)
            for one in running:
                one.cancel()
        await rig.until(partial(rig.is_answered, key, 200))


async def test_a_key_that_one_was_told_to_rest_is_left_alone_by_all(fleets: Fleets) -> None:
    async with fleets() as rig:
        first, *others = rig.made.urls
        rig.sandbox.script("rate_limited;retry_after=30", key="first", times=None)
        async with asyncio.timeout(20):
            while not any(b"piapi-first" in str(one.headers).encode() for one in rig.sandbox.requests):
                assert (await rig.chat(ANN, at=first)).status_code == 200

        async def rests(number: int) -> bool:
            keys = [key for upstream in await rig.upstreams(number) for key in upstream["keys"]]
            return any(key["name"] == "first" and (key["cooling"] or key["models"]) for key in keys)

        for number in (1, 2):
            await rig.until(partial(rests, number), KNOWN_WITHIN)
        rig.sandbox.requests.clear()
        for url in others * 10:
            assert (await rig.chat(ANN, at=url)).status_code == 200
        asked = [one for one in rig.sandbox.requests if one.method == "POST"]
        assert len(asked) == 20
        assert not [one for one in asked if "piapi-first" in str(one.headers)]


async def test_a_key_that_is_made_at_one_works_at_all_and_revoked_at_one_is_refused_by_all(fleets: Fleets) -> None:
    async with fleets() as rig:
        admin = rig.made[0].admin
        headers = {"authorization": f"Bearer {ADMIN}"}
        made = await rig.client.post(f"{admin}/admin/v1/keys", json={"name": "new"}, headers=headers)
        assert made.status_code in (200, 201), made.text
        key = {"key": made.json()["key"]}
        for url in rig.made.urls:
            await rig.until(partial(rig.is_answered, key, 200, at=url), KNOWN_WITHIN)
        gone = await rig.client.delete(f"{admin}/admin/v1/keys/new", headers=headers)
        assert gone.status_code == 200, gone.text
        for url in rig.made.urls:
            await rig.until(partial(rig.is_answered, key, 401, at=url), KNOWN_WITHIN)


async def test_the_status_shows_every_gateway(fleets: Fleets) -> None:
    async with fleets() as rig:
        told = await rig.made.status(1)
        assert len(told["gateways"]) == 3
        assert len({one["id"] for one in told["gateways"]}) == 3
        text = json.dumps(told)
        assert "gw-admin" not in text
        assert bearer(ANN)["authorization"][7:] not in text
