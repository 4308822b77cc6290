"""Paid once by a fleet: the stories of test_pay_once.py, with each re-send at another gateway, as a balancer would have
it. The sandbox's bill is the judge: one line for each order, always, and one row that is charged.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox import Sandbox

from .balanced import balanced
from .buyers import BUYERS, Buyer, Got, Wish
from .running import new_client

PICTURE, IMPATIENT = 5.0, 3.0
"""Seconds that the picture takes, and that its client waits for it at a time, three times at most."""

MANY = 20
"""Tries of a client whose gateway is dead for a while: until its lease has run out."""


@pytest.fixture(params=BUYERS)
def buyer(request: pytest.FixtureRequest) -> Buyer:
    return BUYERS[request.param]()


def relayed(scenario: str) -> dict[str, Any]:
    return {"model": "gpt-image-1", "quality": "low", "prompt": f"a lighthouse [[sandbox: {scenario}]]"}


def task(scenario: str) -> dict[str, Any]:
    return {"model": "flux-schnell", "size": "256x256", "prompt": f"a lighthouse [[sandbox: {scenario}]]"}


@pytest.mark.parametrize("misled", [False, True], ids=["told in time", "timing out"])
async def test_a_client_that_times_out_gets_it_at_another_gateway(
    tmp_path: Path, sandbox: Sandbox, buyer: Buyer, postgres_url: str, valkey_url: str, misled: bool
) -> None:
    async with balanced(tmp_path, sandbox, postgres_url, valkey_url) as made:
        order = relayed(f"stall_head;seconds={PICTURE}")
        got = await buyer.buy(made.url, Wish(order, timeout=IMPATIENT, misled=misled))
        assert got.trouble == ""
        assert got.document["data"][0]["b64_json"]
        await made.check_books(sandbox)


async def test_a_client_that_comes_back_after_the_end_gets_it_at_another_gateway(
    tmp_path: Path, sandbox: Sandbox, buyer: Buyer, postgres_url: str, valkey_url: str
) -> None:
    async with balanced(tmp_path, sandbox, postgres_url, valkey_url) as made:
        order = relayed("stall_head;seconds=2")
        left = await buyer.buy(made.gateways[0].url, Wish(order, timeout=1.0, retries=0, misled=True))
        assert left.trouble in ("APITimeoutError", "APIConnectionTimeoutError", "ReadTimeout")
        await sandbox.until(lambda: len(sandbox.bill) == 1)
        got = await buyer.buy(made.gateways[1].url, Wish(order, again=True))
        assert got.document["data"][0]["b64_json"]
        await made.check_books(sandbox, joined=1)


@pytest.mark.parametrize("first_leaves", [True, False], ids=["the first leaves", "the second leaves"])
async def test_of_two_that_wait_at_two_gateways_one_leaves(
    tmp_path: Path, sandbox: Sandbox, postgres_url: str, valkey_url: str, first_leaves: bool
) -> None:
    buyer, order = BUYERS["python"](), relayed("stall_head;seconds=5")
    async with balanced(tmp_path, sandbox, postgres_url, valkey_url) as made, asyncio.TaskGroup() as group:
        first = group.create_task(buyer.buy(made.gateways[0].url, Wish(order)))
        await sandbox.until(lambda: len(sandbox.requests) == 1)
        second = group.create_task(buyer.buy(made.gateways[1].url, Wish(order, again=True)))
        await made.until("SELECT count(*) FROM job_waiters", 1)
        leaving, staying = (first, second) if first_leaves else (second, first)
        leaving.cancel()
        got = await staying
        assert got.document["data"][0]["b64_json"]
        await made.until("SELECT count(*) FROM job_waiters", 0)
        await made.check_books(sandbox, joined=1)


async def test_the_task_of_a_killed_gateway_is_brought_to_its_end_by_another(
    tmp_path: Path, sandbox: Sandbox, postgres_url: str, valkey_url: str
) -> None:
    """The SDK's own re-sends: the connection breaks, and the next ones wait at those that live."""
    buyer = BUYERS["python"]()
    async with balanced(tmp_path, sandbox, postgres_url, valkey_url, size=3) as made:
        wish = Wish(task("ok;ready=3"), retries=MANY)
        async with asyncio.TaskGroup() as group:
            buying = group.create_task(buyer.buy(made.url, wish))
            await made.until("SELECT count(*) FROM tasks", 1)
            owner = made.gateways[made.given[0]]
            owner.signal(signal.SIGKILL)
            assert await owner.wait() == -signal.SIGKILL
            got = await buying
        assert got.trouble == ""
        assert got.document["data"][0]["url"].endswith(".png")
        await made.until("SELECT count(*) FROM corrections WHERE state = 'settled'", 1)
        await made.check_books(sandbox)
        async with new_client() as client:
            link = str(got.document["data"][0]["url"])
            assert (await client.get(link)).status_code == 200


async def test_a_relay_of_a_killed_gateway_is_unknown_once(
    tmp_path: Path, sandbox: Sandbox, postgres_url: str, valkey_url: str
) -> None:
    buyer, order = BUYERS["python"](), relayed("stall_head;seconds=2;bought=1")
    async with balanced(tmp_path, sandbox, postgres_url, valkey_url, size=3) as made, asyncio.TaskGroup() as group:
        buying = group.create_task(buyer.buy(made.url, Wish(order, retries=MANY)))
        await sandbox.until(lambda: len(sandbox.requests) == 1)
        owner = made.gateways[made.given[0]]
        owner.signal(signal.SIGKILL)
        await owner.wait()
        assert await buying == Got(trouble="upstream_outcome_unknown")
        await sandbox.until(lambda: len(sandbox.bill) == 1)
        once_more = await buyer.buy(made.url, Wish(order, again=True))
        assert once_more.document["data"][0]["b64_json"]
        assert len(sandbox.bill) == 2


async def test_two_re_sends_with_one_idempotency_key_at_two_gateways_at_once_buy_once(
    tmp_path: Path, sandbox: Sandbox, postgres_url: str, valkey_url: str
) -> None:
    async with balanced(tmp_path, sandbox, postgres_url, valkey_url) as made, new_client() as client:
        sandbox.set_default("stall_head;seconds=0.3")
        for number in range(10):
            headers = {"idempotency-key": f"order-{number}"}
            order = {**relayed("stall_head;seconds=0.3"), "user": str(number)}
            sent = [
                client.post(f"{one.url}/v1/images/generations", json=order, headers=headers) for one in made.gateways
            ]
            answers = await asyncio.gather(*sent)
            assert [answer.status_code for answer in answers] == [200, 200]
            assert len({answer.content for answer in answers}) == 1
            assert len(sandbox.bill) == number + 1
