"""Paid once: what clients do that time out, leave, come back, or wait together, and a gateway that is killed.

The sandbox's bill is the judge: one line for each order, always, and one row that is charged.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox import Sandbox

from .buyers import BUYERS, Buyer, Got, Wish
from .running import PATIENCE, Gateway, rows, settings, write

PICTURE, IMPATIENT = 5.0, 3.0
"""Seconds that the picture takes, and that its client waits for it at a time, three times at most."""

MANY = 12
"""Tries of a client that finds no server for a while."""


@pytest.fixture(params=BUYERS)
def buyer(request: pytest.FixtureRequest) -> Buyer:
    return BUYERS[request.param]()


def relayed(scenario: str) -> dict[str, Any]:
    return {"model": "gpt-image-1", "quality": "low", "prompt": f"a lighthouse [[sandbox: {scenario}]]"}


def task(scenario: str, **fields: Any) -> dict[str, Any]:
    return {"model": "flux-schnell", "size": "256x256", "prompt": f"a lighthouse [[sandbox: {scenario}]]", **fields}


async def until(condition: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)
    assert condition(), what


def check_books(folder: Path, sandbox: Sandbox, *, joined: int | None = None) -> None:
    """One line of the bill, one row that is charged for it; all others name that, and are charged nothing."""
    assert len(sandbox.bill) == 1
    found = rows(
        folder,
        "SELECT i.id, i.paid_by, coalesce(c.charged, s.charged), i.request_id FROM intents AS i "
        "JOIN settlements AS s USING (id) LEFT JOIN corrections AS c USING (id) ORDER BY i.rowid",
    )
    [(paying, _, charged, _)] = [row for row in found if row[1] is None]
    assert charged == sandbox.bill[0].amount
    others = [row for row in found if row[0] != paying]
    assert [(paid_by, amount) for _, paid_by, amount, _ in others] == [(paying, 0)] * len(others)
    assert len({request for *_, request in found}) == len(found)
    if joined is not None:
        assert len(others) == joined


async def settled(folder: Path, number: int) -> None:
    """Wait until so many rows are settled: those of clients that left are, too."""
    await until(lambda: rows(folder, "SELECT count(*) FROM settlements")[0] >= number, f"{number} rows")


@pytest.mark.parametrize("misled", [False, True], ids=["told in time", "timing out"])
async def test_a_client_that_times_out_gets_it_when_it_sends_it_again(
    tmp_path: Path, sandbox: Sandbox, buyer: Buyer, misled: bool
) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.serve(tmp_path) as gateway:
        order = relayed(f"stall_head;seconds={PICTURE}")
        got = await buyer.buy(gateway.url, Wish(order, timeout=IMPATIENT, misled=misled))
        assert got.trouble == ""
        assert got.document["data"][0]["b64_json"]
        await settled(tmp_path, 2)
        check_books(tmp_path, sandbox)


async def test_a_client_that_comes_back_after_the_end_gets_it_at_once(
    tmp_path: Path, sandbox: Sandbox, buyer: Buyer
) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.serve(tmp_path) as gateway:
        order = relayed("stall_head;seconds=2")
        left = await buyer.buy(gateway.url, Wish(order, timeout=1.0, retries=0, misled=True))
        assert left.trouble in ("APITimeoutError", "APIConnectionTimeoutError", "ReadTimeout")
        await until(lambda: len(sandbox.bill) == 1, "the picture is made without its client")
        got = await buyer.buy(gateway.url, Wish(order, again=True))
        assert got.document["data"][0]["b64_json"]
        await settled(tmp_path, 2)
        check_books(tmp_path, sandbox, joined=1)


async def test_a_gateway_that_is_killed_brings_its_task_to_the_end_once_it_is_back(
    tmp_path: Path, sandbox: Sandbox, buyer: Buyer
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    images = {"dir": str(tmp_path / "images"), "fetch_hosts": ["127.0.0.1"], "fetch_private": True}
    write(tmp_path, settings(sandbox, tmp_path, listen=place, images=images))
    async with Gateway.serve(tmp_path) as gateway:
        wish = Wish(task("ok;ready=3"), retries=MANY)
        async with asyncio.TaskGroup() as group:
            buying = group.create_task(buyer.buy(gateway.url, wish))
            await until(lambda: rows(tmp_path, "SELECT count(*) FROM tasks") == [1], "the task is known")
            gateway.signal(signal.SIGKILL)
            assert await gateway.wait() == -signal.SIGKILL
            async with Gateway.serve(tmp_path):
                got = await buying
                assert got.trouble == ""
                assert got.document["data"][0]["url"].endswith(".png")
                await until(lambda: corrected(tmp_path), "the row is corrected")
                check_books(tmp_path, sandbox)


def corrected(folder: Path) -> bool:
    return rows(folder, "SELECT count(*) FROM corrections WHERE state = 'settled'") == [1]


async def test_a_relay_that_was_under_way_is_unknown_once(tmp_path: Path, sandbox: Sandbox) -> None:
    """It is bought a second time only if it is asked for once more by who was told so."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    write(tmp_path, settings(sandbox, tmp_path, listen=place))
    buyer, order = BUYERS["python"](), relayed("stall_head;seconds=2;bought=1")
    async with Gateway.serve(tmp_path) as gateway, asyncio.TaskGroup() as group:
        buying = group.create_task(buyer.buy(gateway.url, Wish(order, retries=MANY)))
        await until(lambda: len(sandbox.requests) == 1, "it is being made")
        gateway.signal(signal.SIGKILL)
        await gateway.wait()
        async with Gateway.serve(tmp_path) as again:
            assert await buying == Got(trouble="upstream_outcome_unknown")
            await until(lambda: len(sandbox.bill) == 1, "it was bought all the same")
            once_more = await buyer.buy(again.url, Wish(order, again=True))
            assert once_more.document["data"][0]["b64_json"]
            assert len(sandbox.bill) == 2


@pytest.mark.parametrize("first_leaves", [True, False], ids=["the first leaves", "the second leaves"])
async def test_of_two_that_wait_one_leaves(tmp_path: Path, sandbox: Sandbox, buyer: Buyer, first_leaves: bool) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    order = relayed("stall_head;seconds=5")
    async with Gateway.serve(tmp_path) as gateway, asyncio.TaskGroup() as group:
        first = group.create_task(buyer.buy(gateway.url, Wish(order)))
        await until(lambda: len(sandbox.requests) == 1, "the first is served")
        second = group.create_task(buyer.buy(gateway.url, Wish(order, again=True)))
        await asyncio.sleep(2.5)  # Node takes its time to begin
        leaving, staying = (first, second) if first_leaves else (second, first)
        leaving.cancel()
        got = await staying
        assert got.document["data"][0]["b64_json"]
        await settled(tmp_path, 2)
        check_books(tmp_path, sandbox, joined=1)
