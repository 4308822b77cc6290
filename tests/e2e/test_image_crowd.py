"""Crowds that order images: among upstreams that fail at random, and leaving in the middle. The books stay right."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from gateway.sandbox import Sandbox
from gateway.wire.image_bytes import image_type

from .books import Row, read_rows
from .conftest import StartGateway
from .harness import ALICE, ROLES, Rig, error_of, eventually
from .moments import applications_running, nothing_in_flight
from .raw_orders import GENERATIONS, fetched, order_body

CROWD = 100
SEEDS = (1, 2, 3)
LIMITS = httpx2.Limits(max_connections=CROWD, max_keepalive_connections=CROWD)
MODELS: tuple[dict[str, Any], ...] = (
    {"model": "gpt-4o-image"},
    {"model": "gpt-image-1", "quality": "low", "size": "1024x1024"},
    {"model": "flux-schnell"},
    {"model": "gpt-4o-image", "response_format": "b64_json"},
    {"model": "flux-dev"},
)


@dataclass(frozen=True)
class Got:
    """What one client saw: images or an error, never both, never neither."""

    request_id: str
    status: int
    images: list[dict[str, Any]]
    error: dict[str, Any] | None


def prompt_of(number: int) -> str:
    """By it the sandbox's bill is told apart."""
    return f"order number {number:03d}."


async def ask(http: httpx2.AsyncClient, number: int) -> Got:
    body = {**MODELS[number % len(MODELS)], "prompt": prompt_of(number), "stream": number % 2 == 0}
    headers = {"authorization": f"Bearer {ALICE}", "x-request-id": f"order-{number:03d}"}
    response = await http.post("/images/generations", json=body, headers=headers)
    assert response.headers["x-request-id"] == f"order-{number:03d}"
    if response.status_code != 200:
        assert response.headers["x-should-retry"] == "false" or "retry-after" in response.headers
        return Got(f"order-{number:03d}", response.status_code, [], error_of(response.json()))
    if not body["stream"]:
        return Got(f"order-{number:03d}", 200, response.json()["data"], None)
    lines = [line.removeprefix("data:").strip() for line in response.text.splitlines() if line.startswith("data:")]
    documents = [json.loads(line) for line in lines]
    if documents and "error" in documents[-1]:
        return Got(f"order-{number:03d}", 200, [], error_of(documents[-1]))
    assert {document["type"] for document in documents} == {"image_generation.completed"}
    return Got(f"order-{number:03d}", 200, documents, None)


async def check_image(image: dict[str, Any]) -> None:
    data = base64.b64decode(image["b64_json"]) if image.get("b64_json") else (await fetched(image["url"])).body
    assert image_type(data) == "png"


def bill_by_order(sandbox: Sandbox) -> dict[str, list[int]]:
    """What the providers took, told apart by the prompt."""
    bill: dict[str, list[int]] = defaultdict(list)
    for line in sandbox.bill:
        number = re.search(r"order number (\d{3})\.", sandbox.requests[line.number].body.decode())
        assert number is not None
        bill[f"order-{number[1]}"].append(line.amount or 0)
    return bill


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_crowd_among_random_faults(seed: int, gateway: StartGateway, sandbox: Sandbox) -> None:
    rig = await gateway("failover: {breaker: {failures: 20}}")
    sandbox.set_default(f"random_faults;share=0.4;seed={seed};path=/v1/")
    for role in ROLES:
        sandbox.script(f"random_faults;share=0.4;path=/api/;role={role}", times=None)
    sandbox.reseed(seed)
    async with httpx2.AsyncClient(base_url=rig.url, limits=LIMITS, timeout=60) as http:
        got = await asyncio.gather(*(ask(http, number) for number in range(CROWD)))
    await sandbox.until_idle()
    sandbox.clear_scripts()
    sandbox.set_default("ok")

    served = [one for one in got if one.error is None]
    assert CROWD * 0.4 < len(served) < CROWD  # or this seed tries too little
    for one in served:
        assert len(one.images) == 1
        await check_image(one.images[0])

    rows = {row.request_id: row for row in await rig.rows(CROWD)}
    assert set(rows) == {one.request_id for one in got}
    bill = bill_by_order(sandbox)
    for one in got:
        check_row(rows[one.request_id], one, bill[one.request_id])
    figures = await rig.figures()
    assert figures.nano("gateway_cost_usd_total") == sum(row.charged for row in rows.values())
    assert figures.nano("gateway_upstream_cost_usd_total") == sum(row.upstream_cost for row in rows.values())
    assert figures.total("gateway_images_total") == len(served)
    assert figures.total("gateway_upstream_attempts_total") == sum(len(row.attempts) for row in rows.values())


def check_row(row: Row, got: Got, billed: list[int]) -> None:
    """One order in the books, against what its client saw and what the providers took for it."""
    assert (row.outcomes[-1:] == ["ok"]) == (got.error is None)
    assert row.images == len(got.images)
    assert (row.charged > 0) == (got.error is None)
    assert row.upstream_cost >= sum(billed)  # we may fear to owe more than we do, never less
    doubts = [attempt for attempt in row.attempts if attempt["reason"] != "billed"]
    assert len(doubts) <= 2  # nothing is bought a third time
    if got.error is None:
        assert row.charged in billed
        assert (row.state, row.status) == ("settled", 200)
        assert {attempt["reason"] for attempt in doubts} <= {"suspected_duplicate"}
    elif doubts:
        assert row.state == "unknown"
        assert got.error["code"] in ("upstream_outcome_unknown", "upstream_empty_response")
    else:
        assert row.state == "released"
        assert row.upstream_cost == 0


async def stripped(rig: Rig) -> dict[str, int]:
    """What there is once idle connections are closed."""
    services = rig.gateway.services
    for role in ROLES:
        await rig.sandbox.refuse(role)
        await rig.sandbox.listen(role)
    await eventually(lambda: services.pool.open_count == 0, "no connection to an upstream")
    await eventually(lambda: applications_running() == 0, "no request running")
    now = asyncio.get_running_loop().time()
    figures = await rig.figures()
    await asyncio.sleep(0.05)  # for the connection that asked
    return {
        "tasks": len(asyncio.all_tasks()),
        "in flight": len(services.gate),
        "in flight, by the figures": int(figures.total("gateway_requests_in_flight")),
        "keys in use": sum(key.in_flight for state in services.snapshot.states for key in state.pool.snapshot(now)),
        "wakeups awaited": len(services.wakeups._given),
        "connections to the sandbox": rig.sandbox.open_connections,
    }


async def test_a_crowd_that_leaves_leaves_nothing_behind(rig: Rig) -> None:
    """Whatever each had ordered runs to its end and is charged; no connection, task or slot remains."""
    async with httpx2.AsyncClient(base_url=rig.url) as http:
        await asyncio.gather(*(ask(http, number) for number in range(len(MODELS))))
    before = await stripped(rig)
    rig.sandbox.set_default("slow;delay=1")

    async def leave(number: int) -> None:
        fields = {**MODELS[number % len(MODELS)], "prompt": prompt_of(number), "stream": number % 2 == 0}
        async with rig.client() as client:
            await client.send(order_body(**fields), target=GENERATIONS)
            await asyncio.sleep(0.002 * (number % 20))
            client.leave()

    await asyncio.gather(*(leave(number) for number in range(CROWD)))
    await nothing_in_flight(rig)
    await rig.sandbox.until_idle()
    await eventually(lambda: rig.gateway._store.ledger.pending == 0, "everything in the ledger")

    assert await stripped(rig) == before
    rows = read_rows(rig.folder / "gateway.db")
    assert sum(row.status == 499 for row in rows) > CROWD / 2
    assert {tuple(row.outcomes) for row in rows} <= {("ok",), ("client_gone_early",), ()}
    assert sum(row.charged for row in rows) == sum(row.upstream_cost for row in rows) == rig.sandbox.billed
    assert (await rig.figures()).nano("gateway_cost_usd_total") == rig.sandbox.billed
