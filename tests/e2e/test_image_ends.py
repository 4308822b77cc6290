"""How orders for images end when their client leaves, when we shut down, and while everybody has to be patient."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.sandbox import Sandbox

from .conftest import StartGateway
from .harness import Answer, RawClient, Rig, chat_body
from .moments import nothing_in_flight, start
from .raw_orders import (
    GENERATIONS,
    IMAGE,
    NO_IMAGE,
    WORDS,
    files_asked,
    order,
    order_body,
    orders_asked,
    sandbox_links,
)

GPT_IMAGE: dict[str, Any] = {"model": "gpt-image-1", "quality": "low", "size": "1024x1024"}
GPT_IMAGE_COST = 5 * 5_000 + 272 * 40_000
FLUX: dict[str, Any] = {"model": "flux-schnell"}
FLUX_COST = 2_000_000
ORDERS = [
    pytest.param({}, IMAGE, id="gpt-4o-image"),
    pytest.param(GPT_IMAGE, GPT_IMAGE_COST, id="gpt-image-1"),
    pytest.param(FLUX, FLUX_COST, id="flux"),
]
WAYS = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


async def send_order(client: RawClient, **fields: Any) -> None:
    await client.ask(order_body(**fields), target=GENERATIONS)


async def order_and_leave(rig: Rig, **fields: Any) -> None:
    """Order, wait until the upstream works on it, hang up, and wait until the gateway is done with it."""
    async with rig.client() as client:
        await send_order(client, **fields)
        await rig.sandbox.until(lambda: rig.sandbox.in_flight == 1)
        await client.leave()
    await nothing_in_flight(rig)


class TestAClientThatLeaves:
    @WAYS
    @pytest.mark.parametrize(("fields", "cost"), ORDERS)
    async def test_while_waiting_has_bought_the_image(
        self, rig: Rig, fields: dict[str, Any], cost: int, stream: bool
    ) -> None:
        rig.sandbox.script("stall_head;seconds=0.1;method=POST")

        await order_and_leave(rig, **fields, stream=stream)

        row = await rig.row()
        assert (row.outcomes, row.status, row.state) == (["ok"], 499, "settled")
        assert (row.charged, row.upstream_cost, row.images) == (cost, cost, 1)
        assert rig.sandbox.billed == cost
        assert orders_asked(rig) == ["api"]
        figures = await rig.figures()
        assert figures.total("gateway_requests_total", status="499", key="alice") == 1
        assert figures.nano("gateway_cost_usd_total") == cost
        assert figures.total("gateway_images_total") == 1

    async def test_in_the_middle_of_a_stream_has_too(self, rig: Rig) -> None:
        rig.sandbox.script("slow;delay=40")
        async with rig.client() as client:
            await send_order(client, **GPT_IMAGE, stream=True, partial_images=3)
            await client.head()
            await client.until(b"image_generation.partial_image")
            await client.leave()
        await nothing_in_flight(rig)

        row = await rig.row()
        assert (row.outcomes, row.status) == (["ok"], 499)
        assert row.charged == row.upstream_cost == rig.sandbox.billed == GPT_IMAGE_COST
        await rig.sandbox.until_idle()
        assert rig.sandbox.requests[0].ending == "complete"

    async def test_with_several_subrequests_under_way_has_bought_them_all(self, rig: Rig) -> None:
        rig.sandbox.script("stall_head;seconds=0.1;method=POST", times=3)
        async with rig.client() as client:
            await send_order(client, n=3)
            await rig.sandbox.until(lambda: rig.sandbox.in_flight == 3)
            await client.leave()
        await nothing_in_flight(rig)

        row = await rig.row()
        assert (row.charged, row.images, row.status) == (3 * IMAGE, 3, 499)
        assert rig.sandbox.billed == 3 * IMAGE

    async def test_and_did_not_want_links_has_its_images_fetched_for_nobody(self, rig: Rig) -> None:
        """What was begun is carried through: the books are the same as if the client had stayed."""
        rig.sandbox.script("stall_head;seconds=0.1;method=POST")

        await order_and_leave(rig, response_format="b64_json")

        row = await rig.row()
        assert (row.outcomes, row.charged, row.status) == (["ok"], IMAGE, 499)
        assert files_asked(rig) == ["api"]

    async def test_pays_little_for_a_refusal(self, rig: Rig) -> None:
        rig.sandbox.script("stall_head;seconds=0.1;variant=refused")

        await order_and_leave(rig)

        row = await rig.row()
        assert (row.outcomes, row.charged, row.images, row.status) == (["content_policy"], NO_IMAGE, 0, 499)

    @pytest.mark.parametrize(("fields", "cost"), ORDERS)
    async def test_leaves_a_job_that_goes_on_as_it_would_have(
        self, rig: Rig, fields: dict[str, Any], cost: int
    ) -> None:
        """Its re-send joins: what would have been tried for a client that waits is tried."""
        rig.sandbox.script("wall;seconds=0.1;bought=1;method=POST", role="api")

        await order_and_leave(rig, **fields)

        row = await rig.row()
        assert (row.outcomes, row.charged, row.status, row.state) == (["cf_524", "ok"], cost, 499, "settled")
        assert [why for _, why in row.costs] == ["suspected_duplicate", "billed"]
        assert orders_asked(rig) == ["api", "proxy"]

    async def test_from_a_chat_that_is_answered_with_an_image_has_bought_it(self, rig: Rig) -> None:
        rig.sandbox.script("stall_head;seconds=0.1;method=POST")
        async with rig.client() as client:
            await client.ask(chat_body(model="flux-schnell"))
            await rig.sandbox.until(lambda: rig.sandbox.in_flight == 1)
            await client.leave()
        await nothing_in_flight(rig)

        row = await rig.row()
        assert (row.outcomes, row.charged, row.status) == (["ok"], FLUX_COST, 499)


class TestShuttingDown:
    @pytest.mark.parametrize(("fields", "cost"), ORDERS)
    async def test_waits_for_what_was_ordered(self, rig: Rig, fields: dict[str, Any], cost: int) -> None:
        rig.sandbox.script("stall_head;seconds=0.1;method=POST")
        ordering = start(order(rig, **fields))
        await rig.sandbox.until(lambda: rig.sandbox.in_flight == 1)

        rig.gateway.drain()
        late = await order(rig, **fields)
        assert await rig.gateway.drained(10)

        answer = await ordering
        assert (answer.status, len(answer.json()["data"])) == (200, 1)
        assert (late.status, late.error()["code"]) == (503, "server_shutting_down")
        assert late.header("x-should-retry") == "true"
        assert (await rig.row()).charged == cost

    @WAYS
    @pytest.mark.parametrize(("fields", "cost"), ORDERS)
    async def test_in_the_end_cuts_off_what_is_still_waited_for(
        self, rig: Rig, fields: dict[str, Any], cost: int, stream: bool
    ) -> None:
        """It may be bought, so nobody is invited to buy it again; the key does not pay for what it never got."""
        rig.sandbox.script("stall_head;method=POST")
        ordering = start(order(rig, **fields, stream=stream))
        await rig.sandbox.until(lambda: rig.sandbox.in_flight == 1)

        rig.gateway.drain()
        rig.gateway.cut_off()

        answer = await ordering
        assert (answer.status, answer.error()["code"]) == (503, "server_shutting_down")
        assert answer.header("x-should-retry") == "false"
        row = await rig.row()
        assert (row.outcomes, row.charged, row.status, row.state) == (["drain_cut"], 0, 503, "unknown")
        [(lost, why)] = row.costs
        assert (lost > 0, why) == (True, "unknown")

    async def test_leaves_an_image_that_was_being_fetched_to_nobody_to_pay(self, rig: Rig) -> None:
        rig.sandbox.script("stall_head;path=/files/")
        ordering = start(order(rig, response_format="b64_json"))
        await rig.sandbox.until(lambda: len(rig.sandbox.requests) == 2)

        rig.gateway.drain()
        rig.gateway.cut_off()

        answer = await ordering
        assert (answer.status, answer.error()["code"]) == (503, "server_shutting_down")
        row = await rig.row()
        assert (row.outcomes, row.charged, row.images, row.state) == (["drain_cut"], 0, 0, "unknown")
        assert row.costs == [(IMAGE, "unknown")]

    async def test_tells_a_stream_that_had_begun_in_an_event(self, rig: Rig) -> None:
        rig.sandbox.script("stall_mid;after_events=1")
        async with rig.client() as client:
            await send_order(client, **GPT_IMAGE, stream=True, partial_images=2)
            answer = await client.head()
            await client.until(b"partial_image_index")
            rig.gateway.drain()
            rig.gateway.cut_off()
            await client.rest(answer)

        assert answer.stream_error()["code"] == "server_shutting_down"
        row = await rig.row()
        assert (row.outcomes, row.charged, row.status) == (["drain_cut"], 0, 503)

    async def test_charges_of_a_stream_only_the_image_that_came(self, rig: Rig) -> None:
        """Each image is ordered by itself: the one that came is an answer, the other was under way."""
        rig.sandbox.script("stall_head")
        async with rig.client() as client:
            await send_order(client, model="gpt-image-1", quality="high", size="1024x1024", n=2, stream=True)
            await client.head()
            await client.until(b"image_generation.completed")
            rig.gateway.drain()
            rig.gateway.cut_off()
            row = await rig.row()

        assert (row.charged, row.images) == (WORDS * 5_000 + 4160 * 40_000, 1)
        assert sorted(why for _, why in row.costs) == ["billed", "unknown"]
        assert row.upstream_cost >= row.charged == rig.sandbox.billed

    async def test_cuts_off_a_task_that_is_waited_for(self, rig: Rig) -> None:
        """The ledger has its id: what it made is asked for after the restart, and a re-send gets it."""
        rig.sandbox.script("task_never;method=POST")
        ordering = start(order(rig, **FLUX))
        await rig.sandbox.until(lambda: sum(request.method == "GET" for request in rig.sandbox.requests) > 1)

        rig.gateway.drain()
        rig.gateway.cut_off()

        answer = await ordering
        assert (answer.status, answer.error()["code"]) == (503, "server_shutting_down")
        assert answer.header("x-should-retry") == "true"
        row = await rig.row()
        assert (row.outcomes, row.charged, row.state) == (["drain_cut"], 0, "unknown")
        assert row.attempts[0]["task_id"]


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads are held back for a moment only, and comments come often."""
    monkeypatch.setattr("gateway.server.client.HOLD", 0.02)
    monkeypatch.setattr("gateway.server.client.PING_EVERY", 0.02)


def comments(answer: Answer) -> list[bytes]:
    return [line for line in answer.body.split(b"\n") if line.startswith(b":")]


@pytest.mark.usefixtures("hurried")
class TestPatience:
    @pytest.mark.parametrize(("fields", "cost"), ORDERS)
    async def test_a_streams_client_hears_from_us_while_it_waits(
        self, rig: Rig, fields: dict[str, Any], cost: int
    ) -> None:
        rig.sandbox.script("stall_head;seconds=0.2;method=POST")

        answer = await order(rig, **fields, stream=True)

        assert answer.is_stream
        assert answer.complete
        assert len(comments(answer)) >= 2
        [completed] = [json.loads(payload) for payload in answer.payloads]
        assert completed["type"] == "image_generation.completed"
        assert (await rig.row()).charged == cost

    async def test_it_hears_how_far_the_upstream_is(self, rig: Rig) -> None:
        rig.sandbox.script("slow;delay=25")

        answer = await order(rig, stream=True)

        told = comments(answer)
        assert b": progress 15%" in told
        assert b": progress 64%" in told
        assert told.index(b": progress 15%") < told.index(b": progress 64%")

    async def test_another_upstream_may_still_be_tried(self, rig: Rig) -> None:
        """Comments commit nobody: the answer is another host's, and whole."""
        rig.sandbox.script("wall;seconds=0.1", role="api")

        answer = await order(rig, stream=True, response_format="url")

        assert comments(answer)
        [completed] = [json.loads(payload) for payload in answer.payloads]
        assert [completed["url"]] == sandbox_links(rig, role="proxy")
        assert (await rig.row()).outcomes == ["cf_524", "ok"]

    async def test_a_failure_comes_as_an_event_then(self, rig: Rig) -> None:
        rig.sandbox.script("stall_head;seconds=0.1;variant=refused", role="api")

        answer = await order(rig, stream=True)

        error = answer.stream_error()
        assert (error["type"], error["code"]) == ("image_generation_user_error", "content_policy_violation")
        assert (await rig.row()).charged == NO_IMAGE

    async def test_who_leaves_during_it_has_bought_the_image(self, rig: Rig) -> None:
        rig.sandbox.script("stall_head;seconds=0.2")
        async with rig.client() as client:
            await send_order(client, stream=True)
            await client.head()
            await client.until(b": ping")
            await rig.sandbox.until(lambda: rig.sandbox.in_flight == 1)
            await client.leave()
        await nothing_in_flight(rig)

        row = await rig.row()
        assert (row.outcomes, row.charged, row.status) == (["ok"], IMAGE, 499)


class TestHeartbeat:
    """Spaces before a JSON body: for proxies that give up on silence."""

    @pytest.mark.parametrize(("fields", "cost"), ORDERS)
    async def test_comes_before_the_body(self, gateway: StartGateway, fields: dict[str, Any], cost: int) -> None:
        rig = await gateway("nonstream_heartbeat: 20ms")
        rig.sandbox.script("stall_head;seconds=0.2;method=POST")

        answer = await order(rig, **fields)

        assert answer.status == 200
        assert answer.complete
        assert answer.header("content-type") == "application/json"
        assert len(answer.body) - len(answer.body.lstrip(b" ")) >= 2
        assert len(answer.json()["data"]) == 1
        assert (await rig.row()).charged == cost

    async def test_commits_the_status_so_that_an_error_comes_behind_a_200(self, gateway: StartGateway) -> None:
        rig = await gateway("nonstream_heartbeat: 20ms")
        rig.sandbox.script("stall_head;seconds=0.1;variant=refused")

        answer = await order(rig)

        assert answer.status == 200
        assert answer.body.startswith(b" ")
        assert answer.json()["error"]["code"] == "content_policy_violation"
        row = await rig.row()
        assert (row.charged, row.status) == (NO_IMAGE, 400)


class TestTime:
    async def test_chats_timers_do_not_bind_images(self, gateway: StartGateway) -> None:
        rig = await gateway("upstreams: {piapi: {timeouts: {head: 40ms, content: 40ms, idle: 40ms}}}")
        for scenario in ("stall_head;seconds=0.15", "stall_before_content;seconds=0.15", "stall_mid;seconds=0.15"):
            rig.sandbox.script(scenario)

            assert (await order(rig)).status == 200

        assert [row.outcomes for row in await rig.rows(3)] == [["ok"]] * 3

    @WAYS
    async def test_that_is_up_leaves_the_purchase_in_doubt(self, gateway: StartGateway, stream: bool) -> None:
        rig = await gateway("upstreams: {piapi: {timeouts: {total: 200ms, stream_total: 200ms}}}")
        rig.sandbox.script("stall_head")

        answer = await order(rig, stream=stream)

        assert (answer.status, answer.error()["code"]) == (504, "upstream_outcome_unknown")
        assert answer.header("x-should-retry") == "false"
        assert orders_asked(rig) == ["api"]
        row = await rig.row()
        assert (row.outcomes, row.charged, row.state) == (["deadline"], 0, "unknown")

    async def test_a_hosts_wall_moves_the_order_on(self, gateway: StartGateway, sandbox: Sandbox) -> None:
        rig = await gateway(
            "upstreams: {piapi: {endpoints: ["
            f"{{url: '{sandbox.urls['api']}', wall: 150ms}}, {{url: '{sandbox.urls['proxy']}'}}]}}}}"
        )
        sandbox.script("stall_head", role="api")

        assert (await order(rig)).status == 200
        row = await rig.row()
        assert row.outcomes == ["stall_head", "ok"]
        assert row.costs == [(IMAGE, "suspected_duplicate"), (IMAGE, "billed")]
