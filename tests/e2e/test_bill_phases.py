"""Clients that leave and upstreams that break off, at every phase: the books agree with the upstreams' bill.

Every request carries a marker in its prompt and as its request id, by which ``soak.audit`` holds each line of the
sandbox's bill against the row it belongs to.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.sandbox import Sandbox
from soak.audit import Line, Row, audit
from soak.books import rows_after
from soak.orders import CHAT, IMAGES, MARKER, TASK

from .conftest import StartGateway
from .harness import ALICE, PIAPI_KEY, Answer, Client, Rig, eventually
from .moments import nothing_in_flight, received
from .raw_orders import IMAGE
from .streams import SHORT

DEV = 15_000_000
"""Nano-dollars of an image of flux-dev."""

PATIENT = """
keys: [{name: alice, team: growth, key: gw-alice-000111222333444555, budget: 100/day}]
failover: {retry_budget: 1.0, breaker: {failures: 1000}}
"""
"""Faults by the dozen eject nobody, and what is reserved can be seen."""

Body = dict[str, Any]


def chat(model: str = "gpt-4o", **fields: Any) -> Callable[[str], tuple[str, Body]]:
    return lambda words: (CHAT, {"model": model, "messages": [{"role": "user", "content": words}], **fields})


def images(model: str, **fields: Any) -> Callable[[str], tuple[str, Body]]:
    return lambda words: (IMAGES, {"model": model, "prompt": words, **fields})


def task(words: str) -> tuple[str, Body]:
    return TASK, {"model": "Qubico/flux1-dev", "task_type": "txt2img", "input": {"prompt": words}}


class Bench:
    """Sends marked requests to one gateway, and audits its books."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self._sent = 0

    async def send(self, client: Client, make: Callable[[str], tuple[str, Body]], scenario: str) -> None:
        self._sent += 1
        marker = f"soak-{self._sent:07}"
        path, body = make(f"{marker} [[sandbox: {scenario}]]")
        headers = {"x-request-id": marker, "connection": "close"}
        await client.send(json.dumps(body).encode(), ALICE, headers, target=path)

    async def ask(self, make: Callable[[str], tuple[str, Body]], scenario: str) -> Answer:
        async with self.rig.client() as client:
            await self.send(client, make, scenario)
            return await client.rest(await client.head())

    async def leave(self, make: Callable[[str], tuple[str, Body]], scenario: str, when: Callable[[], bool]) -> None:
        """Ask, wait until ``when`` holds, hang up, and wait until all is over."""
        async with self.rig.client() as client:
            await self.send(client, make, scenario)
            await eventually(when, "the moment to leave")
            client.leave()
        await nothing_in_flight(self.rig)

    def has_come(self, part: bytes) -> Callable[[], bool]:
        """Whether the gateway has taken as many bytes of the answer that runs."""
        return lambda: received(self.rig) >= len(part)

    def asks_for(self, path: str, method: str = "POST") -> Callable[[], bool]:
        """Whether the gateway waits for an answer from there."""
        return lambda: any(
            (request.method, request.ending) == (method, "running") and request.path.startswith(path)
            for request in self.rig.sandbox.requests
        )

    async def audited(self) -> list[Row]:
        """The rows, once they are all settled and agree with the bill."""
        rig = self.rig
        await nothing_in_flight(rig)
        await rig.sandbox.until_idle()
        await eventually(lambda: rig.gateway._store.ledger.pending == 0, "nothing owed to the ledger")
        asked = {
            request.number: (found[0].decode(), rig.sandbox.urls[request.role])
            for request in rig.sandbox.requests
            if request.method == "POST" and (found := MARKER.search(request.body))
        }
        lines = [Line(*asked[line.number], line.amount) for line in rig.sandbox.bill]
        rows, _ = rows_after(rig.folder, 0)
        assert audit(rows, lines, [], {marker for marker, _ in asked.values()}).problems == []
        assert len(rows) == self._sent
        services = rig.gateway.services
        [budget] = services.budgets.budgets.states(services.clock.wall_ns())
        assert budget.charged == sum(row.charged for row in rows)
        assert budget.reserved == sum(row.reserved for row in rows if row.state == "unknown")
        return rows


@pytest.fixture
async def bench(gateway: StartGateway) -> Bench:
    return Bench(await gateway(PATIENT))


async def beginnings(sandbox: Sandbox, make: Callable[[str], tuple[str, Body]], scenario: str) -> list[bytes]:
    """What has come of a streamed answer after each of its events, from none on."""
    path, body = make(f"soak-0000000 [[sandbox: {scenario}]]")
    client = await Client.connect(sandbox.urls["api"])
    try:
        await client.send(json.dumps({**body, "stream": True}).encode(), PIAPI_KEY, target=path)
        answer = await client.rest(await client.head())
    finally:
        await client.close()
    sandbox.requests.clear()
    sandbox.bill.clear()
    return [b"".join(answer.events[:count]) for count in range(len(answer.events) + 1)]


class TestClientsThatLeave:
    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    async def test_from_a_chat(self, stream: bool, bench: Bench) -> None:
        """Before content they pay for the question, by estimate; after it for all that ran, by the upstream's word."""
        make, scenario = chat(stream=stream), f"slow;delay=12;{SHORT}"
        parts = await beginnings(bench.rig.sandbox, make, scenario)
        for part in parts[:-2]:
            await bench.leave(make, scenario, bench.has_come(part))
        rows = await bench.audited()
        assert all(row.state == "settled" and row.charged > 0 for row in rows)
        assert rows[0].confidence == "estimated"
        assert rows[-1].confidence == ("measured" if stream else "estimated")

    @pytest.mark.parametrize(
        "make", [chat("gpt-4o-image", stream=True), images("gpt-4o-image")], ids=["chat", "images"]
    )
    async def test_from_gpt_4o_image(self, make: Callable[[str], tuple[str, Body]], bench: Bench) -> None:
        """It is bought: it runs to its end and costs what it costs, whenever its client left."""
        scenario = "slow;delay=6"
        parts = await beginnings(bench.rig.sandbox, chat("gpt-4o-image"), scenario)
        for part in parts[: -2 : max(1, len(parts) // 8)]:
            await bench.leave(make, scenario, bench.has_come(part))
        rows = await bench.audited()
        assert len(rows) > 5
        assert {(row.state, row.confidence, row.charged) for row in rows} == {("settled", "measured", IMAGE)}

    async def test_from_gpt_image_1(self, bench: Bench) -> None:
        rig = bench.rig
        for fields in ({}, {"stream": True, "partial_images": 2}):
            make = images("gpt-image-1", quality="low", size="1024x1024", **fields)
            await bench.leave(make, "stall_head;seconds=0.2", bench.asks_for("/v1/images"))
        await bench.leave(make, "slow;delay=60", bench.has_come(b"some bytes"))
        rows = await bench.audited()
        assert [row.charged for row in rows] == [line.amount for line in rig.sandbox.bill]
        assert {(row.state, row.confidence) for row in rows} == {("settled", "measured")}

    async def test_from_a_task(self, bench: Bench) -> None:
        """While it is created, while it is made, while its image is fetched, and while it is relayed."""
        make = images("flux-dev", response_format="b64_json")
        created, asked = "method=POST;path=/api/v1/task", "/api/v1/task/"
        await bench.leave(make, f"stall_head;seconds=0.2;{created}", bench.asks_for("/api/v1/task"))
        bench.rig.sandbox.script("stall_head;seconds=0.2;method=GET;path=/api/v1/task/")
        await bench.leave(make, "ok;ready=0.1", bench.asks_for(asked, "GET"))
        bench.rig.sandbox.script("stall_head;seconds=0.2;path=/files/")
        await bench.leave(make, "ok", bench.asks_for("/files/", "GET"))
        await bench.leave(task, f"stall_head;seconds=0.2;{created}", bench.asks_for("/api/v1/task"))
        rows = await bench.audited()
        assert [(row.state, row.confidence, row.charged) for row in rows] == [("settled", "measured", DEV)] * 4


class TestUpstreamsThatBreakOff:
    @pytest.mark.parametrize("reset", [0, 1], ids=["fin", "rst"])
    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    async def test_of_a_chat(self, stream: bool, reset: int, bench: Bench) -> None:
        """At every event. The client pays for what it got; what the upstream delivered beyond that is named as ours."""
        make = chat(stream=stream)
        parts = await beginnings(bench.rig.sandbox, make, f"ok;{SHORT}")
        for events in range(len(parts)):
            await bench.ask(make, f"cut;{SHORT};after_events={events};reset={reset};delay=1;role=api")
        rows = await bench.audited()
        assert all(row.state == "settled" and row.charged > 0 for row in rows)
        interrupted = [row for row in rows if row.attempts[-1].outcome == "sse_cut_late"]
        assert len(interrupted) == (3 if stream else 0)
        assert {row.confidence for row in interrupted} <= {"estimated"}
        doubtful = [row for row in rows if any(attempt.reason == "unknown" for attempt in row.attempts)]
        assert len(doubtful) >= len(interrupted)

    @pytest.mark.parametrize("bought", [0, 1], ids=["unbilled", "billed"])
    @pytest.mark.parametrize(
        "make", [chat("gpt-4o-image", stream=True), images("gpt-4o-image")], ids=["chat", "images"]
    )
    async def test_of_gpt_4o_image(self, make: Callable[[str], tuple[str, Body]], bought: int, bench: Bench) -> None:
        """The client pays for one image if it got one, and for nothing else; what may have been bought is named."""
        parts = await beginnings(bench.rig.sandbox, chat("gpt-4o-image"), "ok")
        for events in range(0, len(parts), max(1, len(parts) // 10)):
            await bench.ask(make, f"cut;after_events={events};delay=1;bought={bought};role=api")
        rows = await bench.audited()
        assert {row.charged for row in rows if row.state == "settled"} <= {IMAGE, 0}
        assert any(attempt.reason == "suspected_duplicate" for row in rows for attempt in row.attempts)
        assert any(len(row.attempts) == 1 and row.charged == IMAGE for row in rows)

    async def test_of_gpt_image_1(self, bench: Bench) -> None:
        make = images("gpt-image-1", quality="low", size="1024x1024", stream=True, partial_images=2)
        for at in (0, 1, 200, 5_000):
            await bench.ask(make, f"cut_bytes;at={at};bought=1;role=api")
        rows = await bench.audited()
        assert any(attempt.reason == "suspected_duplicate" for row in rows for attempt in row.attempts)

    async def test_of_a_task(self, bench: Bench) -> None:
        """An order that broke off may have been bought; questions and fetches are free, and asked again."""
        make = images("flux-dev", response_format="b64_json")
        for at in (0, 1, 60):
            await bench.ask(make, f"cut_bytes;at={at};bought=1;method=POST;path=/api/v1/task;role=api")
        for at in (0, 40):
            bench.rig.sandbox.script(f"cut_bytes;at={at};method=GET;path=/api/v1/task/", times=2)
            bench.rig.sandbox.script(f"cut_bytes;at={at};path=/files/")
            assert (await bench.ask(make, "ok")).status == 200
        rows = await bench.audited()
        assert [row.charged for row in rows] == [DEV] * 5
        reasons = [[attempt.reason for attempt in row.attempts] for row in rows]
        assert reasons == [["suspected_duplicate", "billed"]] * 3 + [["billed"]] * 2
