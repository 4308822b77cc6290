"""Clients that leave: each pays for what ran, upstreams are let go, and nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import random
import resource
from collections.abc import Callable
from typing import Any

import pytest

from gateway.sandbox import Sandbox

from .conftest import StartGateway
from .harness import ROLES, Answer, Rig, Row, chat_body, eventually
from .moments import applications_running, connect, nothing_in_flight, raw_request, received, silent_port, start

INPUT, OUTPUT = 1_875, 7_500  # nano-dollars a token of gpt-4o on PiAPI
IMAGE = 20_000_000


async def ask_and_leave(rig: Rig, when: Callable[[], Any], **fields: Any) -> None:
    """Ask, wait until ``when`` holds, hang up, and wait until the gateway is done with it."""
    async with rig.client() as client:
        await client.ask(chat_body(**fields))
        await eventually(when, "the moment to leave")
        await client.leave()
    await nothing_in_flight(rig)


async def check_left(rig: Rig, row: Row, outcome: str) -> None:
    """The books and figures agree on how it ended."""
    assert row.outcomes == [outcome]
    assert row.status == 499
    figures = await rig.figures()
    assert figures.total("gateway_upstream_attempts_total", outcome=outcome) == 1
    assert figures.total("gateway_requests_total", status="499", key="alice", model=row.model) == 1
    assert figures.total("gateway_requests_in_flight") == 0
    assert figures.nano("gateway_cost_usd_total") == row.charged


async def check_upstream_let_go(sandbox: Sandbox) -> None:
    """The connection is closed: what would still come belongs to nobody."""
    await sandbox.until(lambda: sandbox.open_connections == 0)
    assert {request.ending for request in sandbox.requests} == {"client_gone"}


class TestBeforeAnythingWasSent:
    async def test_while_uploading(self, rig: Rig) -> None:
        body = chat_body()
        _, writer = await connect(rig)
        writer.write(raw_request(body, len(body) + 1))
        await writer.drain()
        await eventually(lambda: applications_running() > 0, "the request at the gateway")
        writer.transport.abort()

        async def counted() -> bool:
            return (await rig.figures()).total("gateway_requests_total", status="499", key="alice") == 1

        await eventually(counted, "a request with status 499")
        assert rig.sandbox.requests == []
        assert await rig.rows(0) == []

    async def test_while_the_upstream_is_dialled(self, gateway: StartGateway) -> None:
        with silent_port() as url:
            rig = await gateway(f"upstreams: {{piapi: {{endpoints: [{{url: '{url}'}}]}}}}")
            await ask_and_leave(rig, lambda: rig.gateway.services.pool.open_count == 1)
            row = await rig.row()
            await check_left(rig, row, "client_gone_early")
            assert (row.state, row.charged, row.upstream_cost) == ("released", 0, 0)
            assert rig.gateway.services.pool.open_count == 0

    async def test_while_all_keys_are_busy(self, gateway: StartGateway) -> None:
        rig = await gateway(
            "upstreams: {backup: {keys: []}, piapi: {keys: [{name: one, value: sk-one-00001111, max_parallel: 1}]}}"
        )
        rig.sandbox.script("stall_head;seconds=1")
        first = start(rig.chat())
        await rig.sandbox.until(lambda: rig.sandbox.in_flight == 1)
        async with rig.client() as client:
            await client.ask(chat_body())
            await eventually(lambda: len(rig.gateway.services.gate) == 2, "the second request")
            await client.leave()
        await eventually(lambda: len(rig.gateway.services.gate) == 1, "the end of the second request")
        assert (await first).status == 200
        rows = await rig.rows(2)
        [left] = [row for row in rows if row.status == 499]
        assert (left.outcomes, left.state, left.charged) == ([], "released", 0)


class TestWhileWaiting:
    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    @pytest.mark.parametrize("scenario", ["stall_head", "stall_before_content"])
    async def test_pays_for_the_question(self, scenario: str, stream: bool, rig: Rig) -> None:
        rig.sandbox.script(scenario)
        await ask_and_leave(rig, lambda: rig.sandbox.in_flight == 1, stream=stream)
        row = await rig.row()
        await check_left(rig, row, "client_gone_wait")
        assert (row.state, row.confidence, row.output_tokens) == ("settled", "estimated", 0)
        assert row.input_tokens > 0
        assert row.charged == row.input_tokens * INPUT
        assert row.costs == [(row.charged, "billed")]
        await check_upstream_let_go(rig.sandbox)

    async def test_after_a_failover_pays_for_the_last_attempt_only(self, rig: Rig) -> None:
        rig.sandbox.script("html_200", role="api")
        rig.sandbox.script("stall_head", role="proxy")
        await ask_and_leave(rig, lambda: len(rig.sandbox.requests) == 2)
        row = await rig.row()
        assert row.outcomes == ["bad_content_type", "client_gone_wait"]
        assert row.charged == row.input_tokens * INPUT
        assert row.costs == [(row.charged, "unknown"), (row.charged, "billed")]

    async def test_an_answer_that_was_not_to_be_streamed_pays_for_the_part_that_came(self, rig: Rig) -> None:
        whole = await rig.chat(stream=True)
        rig.sandbox.script("stall_mid;after_events=6")
        part = sum(len(event) for event in whole.events[:6])

        def part_came() -> bool:
            return received(rig) >= part

        await ask_and_leave(rig, part_came)
        _, row = await rig.rows(2)
        assert (row.outcomes, row.status) == (["client_gone_wait"], 499)
        delivered = Answer(200, [], b"".join(whole.events[:6]), complete=True).text
        assert row.output_tokens == rig.gateway.services.tokenizer.count(delivered)
        assert row.charged == row.input_tokens * INPUT + row.output_tokens * OUTPUT
        await rig.sandbox.until_idle()
        assert rig.sandbox.requests[-1].ending == "client_gone"

    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    async def test_an_image_is_bought_already_and_runs_to_its_end(self, stream: bool, rig: Rig) -> None:
        rig.sandbox.script("slow;delay=15", model="gpt-4o-image")
        await ask_and_leave(rig, lambda: rig.sandbox.in_flight == 1, model="gpt-4o-image", stream=stream)
        row = await rig.row()
        await check_left(rig, row, "ok")
        assert (row.state, row.images, row.charged, row.upstream_cost) == ("settled", 1, IMAGE, IMAGE)
        assert rig.sandbox.billed == IMAGE
        await rig.sandbox.until_idle()
        assert rig.sandbox.requests[0].ending == "complete"

    async def test_an_image_that_fails_after_its_client_left_is_tried_on(self, rig: Rig) -> None:
        """It is the work of a job, which a re-send joins."""
        rig.sandbox.script("wall;seconds=0.3", model="gpt-4o-image", role="api")
        await ask_and_leave(rig, lambda: rig.sandbox.in_flight == 1, model="gpt-4o-image")
        row = await rig.row()
        assert (row.outcomes, row.status, row.charged) == (["cf_524", "ok"], 499, IMAGE)
        assert [request.role for request in rig.sandbox.requests] == ["api", "proxy"]


class TestMidStream:
    async def test_usage_that_comes_within_two_seconds_is_what_is_paid(self, rig: Rig) -> None:
        rig.sandbox.script("slow;delay=30;chunks=20")
        async with rig.client() as client:
            await client.ask(chat_body(stream=True))
            await client.head()
            await client.leave()
        row = await rig.row()
        await check_left(rig, row, "ok")
        await rig.sandbox.until_idle()
        assert (row.confidence, row.charged, row.upstream_cost) == ("measured", rig.sandbox.billed, rig.sandbox.billed)
        assert rig.sandbox.requests[0].ending == "complete"

    async def test_what_takes_longer_is_cut_off_and_estimated(self, rig: Rig) -> None:
        """The one test that waits for the two seconds."""
        rig.sandbox.script("endless;delay=10")
        loop = asyncio.get_running_loop()
        async with rig.client() as client:
            await client.ask(chat_body(stream=True))
            await client.head()
            await client.leave()
            began = loop.time()
        await nothing_in_flight(rig)
        assert loop.time() - began >= 1.9
        row = await rig.row()
        await check_left(rig, row, "client_gone_stream")
        assert row.confidence == "estimated"
        assert row.output_tokens > 20
        assert row.charged == row.input_tokens * INPUT + row.output_tokens * OUTPUT
        assert row.costs == [(row.charged, "billed")]
        await check_upstream_let_go(rig.sandbox)

    async def test_what_floods_is_cut_off_by_its_size(self, rig: Rig) -> None:
        rig.sandbox.script("endless")
        async with rig.client() as client:
            await client.ask(chat_body(stream=True))
            await client.head()
            await client.leave()
        row = await rig.row()
        await check_left(rig, row, "client_gone_stream")
        await check_upstream_let_go(rig.sandbox)

    async def test_when_too_many_are_read_on_the_next_is_cut_off_at_once(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.exchange.exchange.READ_ON_AT_ONCE", 1)
        monkeypatch.setattr("gateway.exchange.exchange.READ_ON_SECONDS", 60.0)
        rig.sandbox.script("stall_mid", times=None)
        gate = rig.gateway.services.gate
        for expected in (1, 0):
            async with rig.client() as client:
                await client.ask(chat_body(stream=True))
                await client.head()
                await client.leave()
            await eventually(lambda wanted=expected: len(gate) == 1 and gate.reading_on == 1, "one read on")
        row = await rig.row()
        assert (row.outcomes, row.confidence) == (["client_gone_stream"], "estimated")
        rig.gateway.cut_off()
        await nothing_in_flight(rig)
        assert gate.reading_on == 0

    async def test_an_upstream_that_breaks_off_meanwhile_is_paid_for_what_it_delivered(self, rig: Rig) -> None:
        whole = await rig.chat(stream=True)
        rig.sandbox.script("cut;after_events=8;delay=30")
        async with rig.client() as client:
            await client.ask(chat_body(stream=True))
            await client.head()
            await client.leave()
        _, row = await rig.rows(2)
        assert (row.outcomes, row.status, row.confidence) == (["sse_cut_late"], 499, "estimated")
        delivered = Answer(200, [], b"".join(whole.events[:8]), complete=True).text
        assert row.output_tokens == rig.gateway.services.tokenizer.count(delivered)
        assert row.charged == row.input_tokens * INPUT + row.output_tokens * OUTPUT


# How a thousand clients leave: a marker in the prompt says what the upstream does, and whether a stream is asked for.
WAYS = (
    ("stall_head", True),
    ("stall_head", False),
    ("stall_before_content", True),
    ("stall_mid", False),
    ("endless;delay=3", True),
    ("slow;delay=2", True),
    ("slow;delay=2", False),
    ("ok", True),
)
CROWD = 1_000
AT_ONCE = 64


async def leave_somehow(rig: Rig, number: int, chance: random.Random) -> None:
    scenario, stream = WAYS[number % len(WAYS)]
    words = f"[[sandbox: {scenario}]] {number}"
    body = chat_body(messages=[{"role": "user", "content": words}], stream=stream)
    reader, writer = await connect(rig)
    if number % 10 == 9:
        writer.write(raw_request(body)[: -chance.randrange(1, len(body))])
    else:
        writer.write(raw_request(body))
    if number % 3 == 0 and scenario in ("endless;delay=3", "slow;delay=2", "ok") and number % 10 != 9:
        await reader.read(1)
    else:
        await asyncio.sleep(chance.random() * 0.02)
    if number % 2:
        writer.transport.abort()
    else:
        writer.close()


async def stripped(rig: Rig) -> dict[str, int]:
    """What there is once idle connections to the upstreams are closed, too."""
    pool = rig.gateway.services.pool
    for role in ROLES:
        await rig.sandbox.refuse(role)
        await rig.sandbox.listen(role)
    await eventually(lambda: pool.open_count == 0, "no connection to an upstream")
    await eventually(lambda: applications_running() == 0, "no request running")
    gate = rig.gateway.services.gate
    states = rig.gateway.services.snapshot.states
    now = asyncio.get_running_loop().time()
    figures = await rig.figures()
    await asyncio.sleep(0.05)  # for the connection that asked
    return {
        "connections to the sandbox": rig.sandbox.open_connections,
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "in flight": len(gate),
        "read on": gate.reading_on,
        "in flight, by the figures": int(figures.total("gateway_requests_in_flight")),
        "keys in use": sum(key.in_flight for state in states for key in state.pool.snapshot(now)),
        "server connections": sum(len(server._state.connections) for server in rig.gateway._servers),
    }


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
async def test_a_thousand_clients_that_leave_leave_nothing_behind(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    monkeypatch.setattr("gateway.exchange.exchange.READ_ON_SECONDS", 0.05)
    chance = random.Random(1)
    assert (await rig.chat(stream=True)).status == 200
    before = await stripped(rig)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    numbers = iter(range(CROWD))

    async def one_after_the_other() -> None:
        for number in numbers:
            await leave_somehow(rig, number, chance)

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
    await nothing_in_flight(rig)
    await rig.sandbox.until_idle()

    assert await stripped(rig) == before
    record_property("rss_growth_kib", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident)
    figures = await rig.figures()
    left = figures.total("gateway_requests_total", status="499")
    assert left > CROWD * 0.7
    assert figures.total("gateway_requests_total") == CROWD + 1
    assert (await rig.chat(stream=True)).complete
