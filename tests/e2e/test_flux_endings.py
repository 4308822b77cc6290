"""A Flux task is paid for from its first moment: the ledger knows it, and whoever leaves, it is not forgotten."""

from __future__ import annotations

import base64
import json

import pytest

from .books import read_rows
from .flux import CREATE, DEV, IMAGE, asked, check, created, hold, links, order
from .harness import RawClient, Rig, eventually
from .moments import nothing_in_flight, start

GENERATIONS = "/v1/images/generations"


async def ask_raw(client: RawClient, **fields: object) -> None:
    """Ask for an image on a connection that can be left."""
    body = json.dumps({"model": "flux-dev", "prompt": IMAGE, **fields}).encode()
    await client.ask(body, target=GENERATIONS)


async def test_the_ledger_knows_the_task_before_anybody_asks_after_it(rig: Rig) -> None:
    rig.sandbox.script("stall_head;method=GET;path=/api/v1/task/")
    ordering = start(order(rig))
    await rig.sandbox.until(lambda: len(asked(rig)) == 1)

    (task,) = rig.tasks()
    assert asked(rig)[0].path.endswith(task.task_id)
    assert (task.upstream, task.credential, task.key, task.model) == ("piapi", "first", "alice", "flux-dev")
    assert read_rows(rig.folder / "gateway.db") == []

    await rig.sandbox.refuse("api")  # what hung is cut; the proxy answers
    assert len(links(await ordering)) == 1
    row = await check(rig)
    assert (row.id, row.task_id) == (task.exchange, task.task_id)


class TestAClientThatLeaves:
    async def test_in_mid_task_pays_for_the_image_it_ordered(self, rig: Rig) -> None:
        held = hold(rig)
        async with rig.client() as client:
            await ask_raw(client)
            await rig.sandbox.until(lambda: len(asked(rig)) >= 1)
            await client.leave()
        await rig.sandbox.until(lambda: len(asked(rig)) >= 3)
        assert len(rig.gateway.services.gate) == 1
        held.cancel()

        row = await check(rig, status=499)

        assert len(created(rig)) == 1
        assert row.charged == rig.sandbox.billed
        await nothing_in_flight(rig)

    async def test_pays_nothing_for_a_task_that_fails(self, rig: Rig) -> None:
        held = hold(rig)
        rig.sandbox.script(f"task_failed;{CREATE}")
        async with rig.client() as client:
            await ask_raw(client)
            await rig.sandbox.until(lambda: len(asked(rig)) >= 1)
            await client.leave()
        held.cancel()

        row = await rig.row()

        assert (row.outcomes, row.state, row.charged, row.upstream_cost) == (["task_failed"], "released", 0, 0)
        assert row.status == 499

    async def test_with_several_images_on_the_way(self, rig: Rig) -> None:
        held = hold(rig)
        async with rig.client() as client:
            await ask_raw(client, n=3)
            await rig.sandbox.until(lambda: len(created(rig)) == 3 and len(asked(rig)) >= 3)
            await client.leave()
        held.cancel()
        await check(rig, outcomes=["ok"] * 3, charged=3 * DEV, costs=[(DEV, "billed")] * 3, images=3, status=499)


class TestShuttingDown:
    async def test_a_task_that_ends_in_time_is_delivered(self, rig: Rig) -> None:
        held = hold(rig)
        ordering = start(order(rig))
        await rig.sandbox.until(lambda: len(asked(rig)) >= 1)
        rig.gateway.drain()
        held.cancel()

        assert len(links(await ordering)) == 1
        assert await rig.gateway.drained(5)
        await check(rig)

    @pytest.mark.parametrize("images", [1, 2])
    async def test_a_task_that_does_not_is_written_down_by_its_id(self, images: int, rig: Rig) -> None:
        hold(rig)
        async with rig.client() as client:
            await ask_raw(client, n=images)
            await rig.sandbox.until(lambda: len(asked(rig)) >= images)
            await eventually(lambda: len(rig.tasks()) == images, "every task in the ledger")
            rig.gateway.drain()
            rig.gateway.cut_off()
            answer = await client.rest(await client.head())

        assert (answer.status, answer.error()["code"]) == (503, "server_shutting_down")
        assert answer.header("x-should-retry") == "true"  # the re-send joins its job
        row = await check(
            rig,
            outcomes=["drain_cut"] * images,
            charged=0,
            costs=[(DEV, "unknown")] * images,
            images=0,
            state="unknown",
            confidence="unknown",
            status=503,
        )
        assert row.task_id in {task.task_id for task in rig.tasks()}
        assert {attempt["task_id"] for attempt in row.attempts} == {task.task_id for task in rig.tasks()}


async def test_a_stream_ends_with_its_image(rig: Rig) -> None:
    rig.sandbox.script(f"ok;polls=4;{CREATE}")
    stream = await rig.openai().images.generate(model="flux-dev", prompt=IMAGE, stream=True)

    (event,) = [event async for event in stream]

    assert (event.type, event.size) == ("image_generation.completed", "1024x1024")
    assert base64.b64decode(event.b64_json)[:4] == b"\x89PNG"
    assert len(asked(rig)) == 5
    await check(rig)
