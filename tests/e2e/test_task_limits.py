"""An account runs only so many tasks at once: more wait in our queue, in which virtual keys take turns."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from openai.types import ImagesResponse

from gateway.exchange.exchange import Exchange

from .conftest import StartGateway
from .faults import SECOND_KEY, TWO_KEYS
from .flux import CREATE, DEV, created, hold, links, order, refused
from .harness import FLUX_ONLY, PIAPI_KEY, Rig, eventually
from .moments import nothing_in_flight, start
from .test_flux_endings import ask_raw

ACCOUNT = "/account/info"


def allow(rig: Rig, tasks: int) -> None:
    """So many tasks at once, says the account page; PiAPI refuses one more."""
    rig.sandbox.set_default(f"ok;concurrency={tasks};enforce_concurrency=1")


async def learned(rig: Rig, *keys: str) -> None:
    """The limit is learned at the first use, beside the first task."""
    lines = rig.gateway.services.task_limiter._slots._queues
    for account in [("piapi", key) for key in keys or ("first",)]:
        await eventually(lambda: account in lines and lines[account].limit is not None, "the account's limit")  # noqa: B023


def waiting(rig: Rig, key: str = "first") -> int:
    return rig.gateway.services.task_limiter._slots.waiting(("piapi", key))


async def queued(rig: Rig, count: int) -> None:
    await eventually(lambda: waiting(rig) == count, f"{count} tasks in the queue")


def client_gone(rig: Rig) -> list[bool]:
    """Of each request in flight, whether its client has left."""
    return [one.client.gone for one in rig.gateway.services.gate if isinstance(one, Exchange)]


async def came(orders: Iterable[asyncio.Task[ImagesResponse]]) -> int:
    """How many images the orders brought in all."""
    return sum(len(links(answer)) for answer in await asyncio.gather(*orders))


class TestTheLimit:
    async def test_is_asked_for_once_and_then_kept(self, rig: Rig) -> None:
        allow(rig, 2)
        await order(rig)
        await learned(rig)
        held = hold(rig)
        orders = [start(order(rig)) for _ in range(6)]
        await rig.sandbox.until(lambda: len(created(rig)) == 3)
        await queued(rig, 4)
        assert rig.sandbox.tasks.running(PIAPI_KEY) == 2
        held.cancel()

        assert await came(orders) == 6

        assert rig.sandbox.tasks.most_at_once(PIAPI_KEY) == 2
        assert [request.path for request in rig.sandbox.requests].count(ACCOUNT) == 1
        rows = await rig.rows(7)
        assert {(row.state, tuple(row.outcomes), row.charged) for row in rows} == {("settled", ("ok",), DEV)}

    async def test_holds_for_the_subrequests_of_one_order(self, rig: Rig) -> None:
        allow(rig, 2)
        await order(rig)
        await learned(rig)

        assert len(links(await order(rig, n=5))) == 5

        assert rig.sandbox.tasks.most_at_once(PIAPI_KEY) == 2
        assert (await rig.rows(2))[1].outcomes == ["ok"] * 5

    async def test_is_each_keys_own(self, gateway: StartGateway) -> None:
        rig = await gateway(TWO_KEYS)
        allow(rig, 1)
        held = hold(rig)
        first = [start(order(rig)) for _ in range(2)]
        await rig.sandbox.until(lambda: len(created(rig)) == 2)
        await learned(rig, "first", "second")
        more = [start(order(rig)) for _ in range(4)]
        await eventually(lambda: waiting(rig, "first") + waiting(rig, "second") == 4, "four tasks in the queues")
        held.cancel()

        assert await came([*first, *more]) == 6

        assert [rig.sandbox.tasks.most_at_once(key) for key in (PIAPI_KEY, SECOND_KEY)] == [1, 1]

    @pytest.mark.parametrize("page", ["server_error", "html_200", "key_forbidden"])
    async def test_that_cannot_be_learned_is_none(self, page: str, rig: Rig) -> None:
        rig.sandbox.script(f"{page};path={ACCOUNT}", times=None)
        held = hold(rig)
        orders = [start(order(rig)) for _ in range(7)]
        await rig.sandbox.until(lambda: len(created(rig)) == 7)
        held.cancel()
        assert await came(orders) == 7

    async def test_a_failed_task_gives_its_place_to_the_next(self, rig: Rig) -> None:
        allow(rig, 1)
        await order(rig)
        await learned(rig)
        rig.sandbox.script(f"task_failed;{CREATE}")
        held = hold(rig)
        failing = start(refused(rig))
        await rig.sandbox.until(lambda: len(created(rig)) == 2)
        following = start(order(rig))
        await queued(rig, 1)
        held.cancel()

        assert (await failing).status_code == 502
        assert len(links(await following)) == 1


class TestTheQueue:
    async def test_two_virtual_keys_take_turns(self, rig: Rig) -> None:
        allow(rig, 1)
        await order(rig, prompt="learn")
        await learned(rig)
        held = hold(rig)
        orders = [start(order(rig, prompt="alice 1"))]
        await rig.sandbox.until(lambda: len(created(rig)) == 2)
        for count, (key, name) in enumerate(
            [(None, "alice 2"), (None, "alice 3"), (None, "alice 4"), (FLUX_ONLY, "carol 1"), (FLUX_ONLY, "carol 2")], 1
        ):
            sdk = rig.openai() if key is None else rig.openai(api_key=key)
            orders.append(start(sdk.images.generate(model="flux-dev", prompt=name)))
            await queued(rig, count)
        held.cancel()

        assert await came(orders) == 6

        prompts = [request.json["input"]["prompt"] for request in created(rig)]
        assert prompts == ["learn", "alice 1", "alice 2", "carol 1", "alice 3", "carol 2", "alice 4"]
        assert {row.key: row.charged for row in await rig.rows(7)} == {"alice": DEV, "carol": DEV}

    async def test_whoever_leaves_it_has_bought_nothing(self, rig: Rig) -> None:
        allow(rig, 1)
        await order(rig)
        await learned(rig)
        held = hold(rig)
        running = start(order(rig))
        await rig.sandbox.until(lambda: len(created(rig)) == 2)
        async with rig.client() as client:
            await ask_raw(client)
            await queued(rig, 1)
            await client.leave()
            await queued(rig, 0)
        held.cancel()
        await running
        await nothing_in_flight(rig)

        assert len(created(rig)) == 2
        gone = next(row for row in await rig.rows(3) if row.status == 499)
        assert (gone.state, gone.charged, gone.upstream_cost) == ("released", 0, 0)
        assert gone.outcomes == ["client_gone_early"]

    async def test_subrequests_that_had_no_turn_yet_are_made_though_the_client_left(self, rig: Rig) -> None:
        """They are one order, a part of which is bought: its re-send gets all of it."""
        allow(rig, 2)
        await order(rig)
        await learned(rig)
        held = hold(rig)
        async with rig.client() as client:
            await ask_raw(client, n=5)
            await rig.sandbox.until(lambda: len(created(rig)) == 3)
            await queued(rig, 3)
            await client.leave()
        held.cancel()

        left = (await rig.rows(2))[1]

        assert len(created(rig)) == 6
        assert left.outcomes == ["ok"] * 5
        assert (left.state, left.charged, left.images, left.status) == ("settled", 5 * DEV, 5, 499)
        assert left.upstream_cost == 5 * DEV

    async def test_a_place_that_does_not_come_in_time(self, gateway: StartGateway) -> None:
        """Nothing was sent, so nothing is in doubt."""
        rig = await gateway("upstreams: {piapi: {timeouts: {total: 1s}, tasks: {deadline: 1s}}}")
        allow(rig, 1)
        await order(rig)
        await learned(rig)
        piapi = rig.gateway.config.upstreams["piapi"]
        async with rig.gateway.services.task_limiter.slot(piapi, piapi.credentials[0], "somebody else"):
            error = await refused(rig)

        assert (error.status_code, error.code) == (504, "upstream_timeout")
        assert len(created(rig)) == 1
        row = (await rig.rows(2))[1]
        assert (row.outcomes, row.state, row.charged, row.upstream_cost) == (["deadline"], "released", 0, 0)
        assert row.confidence == "measured"

    async def test_the_time_in_it_is_not_taken_from_the_task(self, gateway: StartGateway) -> None:
        rig = await gateway("upstreams: {piapi: {tasks: {deadline: 1s}}}")
        allow(rig, 1)
        await order(rig)
        await learned(rig)
        piapi = rig.gateway.config.upstreams["piapi"]
        async with rig.gateway.services.task_limiter.slot(piapi, piapi.credentials[0], "somebody else"):
            waits = start(order(rig))
            await asyncio.sleep(1.1)
            assert waiting(rig) == 1
        assert len(links(await waits)) == 1
