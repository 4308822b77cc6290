"""A crowd, and upstreams that fail at random: nobody takes half an answer for a whole one, and the books are right."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from gateway.sandbox import Sandbox
from gateway.sandbox.wire.answers import Role

from .conftest import StartGateway
from .harness import ALICE, ROLES, Rig, error_of
from .moments import start

CROWD = 200
SEEDS = (1, 2, 3)
LIMITS = httpx2.Limits(max_connections=CROWD, max_keepalive_connections=CROWD)


@dataclass(frozen=True)
class Got:
    """What one client saw. ``error``: the OpenAI error, if that is what it was; ``text``: what it could read."""

    request_id: str
    stream: bool
    status: int
    text: str
    error: dict[str, Any] | None


async def ask(http: httpx2.AsyncClient, number: int) -> Got:
    """Ask as an SDK does, half of them for a stream, a quarter of those with usage."""
    stream = number % 2 == 0
    body: dict[str, Any] = {
        "model": "gpt-4o" if number % 5 else "gpt-4o-mini",
        "messages": [{"role": "user", "content": f"question {number}"}],
        "stream": stream,
    }
    if number % 4 == 0:
        body["stream_options"] = {"include_usage": True}
    headers = {"authorization": f"Bearer {ALICE}", "x-request-id": f"crowd-{number}"}
    response = await http.post("/chat/completions", json=body, headers=headers)
    assert response.headers["x-request-id"] == f"crowd-{number}"
    if response.status_code != 200:
        assert response.headers["content-type"] == "application/json"
        retry = response.headers["x-should-retry"]
        assert retry == "false" or "retry-after" in response.headers
        return Got(f"crowd-{number}", stream, response.status_code, "", error_of(response.json()))
    if stream:
        return read_stream(f"crowd-{number}", response.text, usage="stream_options" in body)
    document = response.json()
    [choice] = document["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["content"]
    assert document["usage"]["completion_tokens"] > 0
    return Got(f"crowd-{number}", stream, 200, choice["message"]["content"], None)


def read_stream(request_id: str, body: str, *, usage: bool) -> Got:
    """A stream is whole, with a finish reason and ``[DONE]``, or it ends in an error and has no ``[DONE]``."""
    payloads = []
    for event in body.replace("\r\n", "\n").split("\n\n"):
        data = [line.removeprefix("data:").strip() for line in event.split("\n") if line.startswith("data:")]
        payloads += ["".join(data)] if data else []
    done = payloads.count("[DONE]")
    chunks = [json.loads(payload) for payload in payloads if payload != "[DONE]"]
    errors = [chunk for chunk in chunks if "error" in chunk]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    finished = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    if errors:
        assert done == 0
        assert errors == chunks[-1:]
        return Got(request_id, True, 200, text, error_of(errors[0]))
    assert payloads[-1] == "[DONE]"
    assert done == 1
    assert finished == ["stop"]
    assert any(chunk.get("usage") for chunk in chunks) == usage
    return Got(request_id, True, 200, text, None)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_crowd_among_random_faults(seed: int, gateway: StartGateway, sandbox: Sandbox) -> None:
    rig = await gateway("failover: {breaker: {failures: 20}}")
    sandbox.set_default(f"random_faults;share=0.5;seed={seed}")
    sandbox.reseed(seed)
    async with httpx2.AsyncClient(base_url=rig.url, limits=LIMITS, timeout=60) as http:
        got = await asyncio.gather(*(ask(http, number) for number in range(CROWD)))
    await sandbox.until_idle()

    whole = [one for one in got if one.error is None]
    cut = [one for one in got if one.error is not None and one.status == 200]
    assert len(whole) > CROWD * 0.5
    assert cut  # or this seed tries too little
    assert {one.error["code"] for one in cut if one.error} == {"upstream_stream_interrupted"}
    assert all(one.stream for one in cut)

    rows = {row.request_id: row for row in await rig.rows(CROWD)}
    assert set(rows) == {one.request_id for one in got}
    for one in got:
        row = rows[one.request_id]
        assert (row.outcomes[-1] == "ok") == (one.error is None)
        assert row.status == (200 if one.error is None else 502 if one.status == 200 else one.status)
        assert (row.charged > 0) == bool(one.text)
        assert len(row.attempts) <= 4
    await check_money(rig, list(rows.values()))


async def check_money(rig: Rig, rows: list[Any]) -> None:
    """Books and figures agree to the nano-dollar, and nobody pays more than was billed for what was delivered."""
    figures = await rig.figures()
    assert figures.nano("gateway_cost_usd_total") == sum(row.charged for row in rows)
    assert figures.nano("gateway_upstream_cost_usd_total") == sum(row.upstream_cost for row in rows)
    assert figures.total("gateway_upstream_attempts_total") == sum(len(row.attempts) for row in rows)
    never_arrived = figures.total("gateway_upstream_attempts_total", outcome="reused_conn_reset")  # `silent_close`
    attempts = figures.total("gateway_upstream_attempts_total")
    assert attempts - never_arrived <= len(rig.sandbox.requests) <= attempts
    measured = [row for row in rows if row.outcomes[-1:] == ["ok"] and row.confidence == "measured"]
    assert len(measured) > CROWD * 0.5
    billed = [line.amount or 0 for line in rig.sandbox.bill if line.whole]
    assert sum(row.charged for row in measured) <= sum(billed)
    amounts = sorted(billed)
    for row in measured:  # each of them is one whole answer on the bill, and none is used twice
        amounts.remove(row.charged)


@pytest.mark.parametrize("role", ROLES)
async def test_a_host_that_goes_away_under_a_crowd_loses_no_request(role: Role, rig: Rig) -> None:
    """Its connections are reset while answers run; only streams that had begun may notice."""
    sandbox = rig.sandbox
    sandbox.script("stall_head;seconds=0.02", role=role, times=None)
    async with httpx2.AsyncClient(base_url=rig.url, limits=LIMITS, timeout=60) as http:
        asking = [start(ask(http, number)) for number in range(40)]
        await sandbox.until(lambda: len(sandbox.requests) >= 20)
        await sandbox.refuse(role)
        got = await asyncio.gather(*asking)
        got += await asyncio.gather(*(ask(http, number) for number in range(40, 80)))
    assert [one for one in got if one.status != 200] == []
    assert {one.error["code"] for one in got if one.error} <= {"upstream_stream_interrupted"}
    assert all(one.error is None for one in got[40:])
    assert (role in {request.role for request in sandbox.requests}) == (role == "api")
    rows = await rig.rows(80)
    assert (await rig.figures()).nano("gateway_cost_usd_total") == sum(row.charged for row in rows)
