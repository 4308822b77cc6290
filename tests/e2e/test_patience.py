"""A client that says how long it waits is told in time that its paid work goes on, and gets it when it comes again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from .conftest import StartGateway
from .harness import ALICE, Answer, Rig
from .moments import start

GENERATIONS = "/v1/images/generations"
PYTHON, NODE, OWN = "x-stainless-read-timeout", "x-stainless-timeout", "x-gateway-patience"
AGAIN = {"x-stainless-retry-count": "1"}


def order(scenario: str, **fields: Any) -> bytes:
    prompt = f"a lighthouse [[sandbox: {scenario}]]"
    return json.dumps({"model": "gpt-image-1", "quality": "low", "prompt": prompt, **fields}).encode()


async def ask(rig: Rig, body: bytes, headers: Mapping[str, str]) -> Answer:
    async with rig.client() as client:
        await client.ask(body, ALICE, headers, target=GENERATIONS)
        return await client.answer()


@pytest.mark.parametrize(("header", "value"), [(PYTHON, "0.5"), (NODE, "1"), (OWN, "400ms")])
async def test_it_is_told_in_time_and_its_re_send_gets_what_was_bought_once(
    gateway: StartGateway, header: str, value: str
) -> None:
    rig = await gateway()
    body = order("stall_head;seconds=1.5")
    told = await ask(rig, body, {header: value})
    assert told.status == 504
    error = told.error()
    assert (error["code"], error["type"]) == ("still_running", "timeout_error")
    assert (told.header("x-should-retry"), told.header("retry-after")) == ("true", "0")
    id = told.header("x-gateway-job") or ""
    assert id.startswith("job_")
    assert id in error["message"]
    served = await ask(rig, body, AGAIN)
    assert (served.status, served.header("x-gateway-job"), served.header("x-gateway-note")) == (200, id, "joined")
    assert len(rig.sandbox.bill) == 1
    paying, joined = sorted(await rig.rows(2), key=lambda row: -row.charged)
    assert (paying.charged > 0, joined.charged) == (True, 0)


async def test_a_re_send_that_comes_too_early_again_is_told_so_again(gateway: StartGateway) -> None:
    rig = await gateway()
    body = order("stall_head;seconds=1.5")
    for number in range(3):
        told = await ask(rig, body, {OWN: "300ms", "x-stainless-retry-count": str(number)})
        assert told.error()["code"] == "still_running"
    assert (await ask(rig, body, AGAIN)).status == 200
    assert len(rig.sandbox.bill) == 1


async def test_it_is_no_error_of_anything(gateway: StartGateway) -> None:
    """No count, no rule and no alert takes it for one; its own count has it."""
    rig = await gateway()
    body = order("stall_head;seconds=1")
    for number in range(2):
        told = await ask(rig, body, {OWN: "300ms", "x-stainless-retry-count": str(number)})
        assert told.status == 504
    assert (await ask(rig, body, AGAIN)).status == 200
    await rig.rows(3)
    figures = await rig.figures()
    assert figures.total("gateway_still_running_total", key="alice", model="gpt-image-1") == 2
    statuses = {
        labels["status"] for name, labels, value in figures.samples if name == "gateway_requests_total" and value
    }
    assert statuses == {"200"}
    assert figures.total("gateway_upstream_attempts_total") == figures.total(
        "gateway_upstream_attempts_total", outcome="ok"
    )
    assert not [line for line in rig._read_log() if line["event"] == "refused"]


async def test_who_says_nothing_waits_as_long_as_it_takes(gateway: StartGateway) -> None:
    rig = await gateway()
    assert (await ask(rig, order("stall_head;seconds=0.5"), {})).status == 200


async def test_what_is_done_in_time_is_answered(gateway: StartGateway) -> None:
    rig = await gateway()
    answer = await ask(rig, order("stall_head;seconds=0.1"), {PYTHON: "20", NODE: "20"})
    assert answer.status == 200
    assert len(rig.sandbox.bill) == 1


@pytest.mark.parametrize("value", ["soon", "-1s", "0"])
async def test_a_patience_that_is_none_is_refused_before_anything_is_bought(gateway: StartGateway, value: str) -> None:
    rig = await gateway()
    told = await ask(rig, order("ok"), {OWN: value})
    assert (told.status, told.error()["param"]) == (400, "x-gateway-patience")
    assert rig.sandbox.requests == []


async def test_a_stream_is_sent_comments_instead(gateway: StartGateway) -> None:
    rig = await gateway()
    answer = await ask(rig, order("stall_head;seconds=1.2", stream=True), {PYTHON: "0.5"})
    assert answer.status == 200
    assert answer.events.count(b": ping\n\n") >= 2
    assert json.loads(answer.payloads[-1])["type"] == "image_generation.completed"
    assert len(rig.sandbox.bill) == 1


async def test_with_a_heartbeat_the_answer_comes_behind_blanks(gateway: StartGateway) -> None:
    rig = await gateway("nonstream_heartbeat: 100ms")
    answer = await ask(rig, order("stall_head;seconds=0.8"), {PYTHON: "0.4"})
    assert answer.status == 200
    assert answer.body.startswith(b" ")
    assert answer.json()["data"]
    assert len(rig.sandbox.bill) == 1


async def test_two_wait_and_one_is_impatient(gateway: StartGateway) -> None:
    rig = await gateway()
    body = order("stall_head;seconds=1")
    patient = start(ask(rig, body, {}))
    await rig.sandbox.until(lambda: bool(rig.sandbox.requests))
    told = await ask(rig, body, {**AGAIN, OWN: "300ms"})
    assert told.error()["code"] == "still_running"
    served = await patient
    assert (served.status, served.header("x-gateway-job")) == (200, told.header("x-gateway-job"))
    assert len(rig.sandbox.bill) == 1
    assert sorted(row.status for row in await rig.rows(2)) == [200, 504]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/chat/completions", {"model": "gpt-4o-image"}),
        ("/v1/responses", {"model": "gpt-4o", "tools": [{"type": "image_generation", "model": "gpt-image-1"}]}),
    ],
    ids=["a chat", "a response"],
)
async def test_other_ways_to_order_pictures_are_patient_as_well(
    gateway: StartGateway, path: str, fields: dict[str, Any]
) -> None:
    rig = await gateway()
    words = "[[sandbox: stall_head;seconds=1.2]] draw a lighthouse"
    asked = {"input": words} if path == "/v1/responses" else {"messages": [{"role": "user", "content": words}]}
    body = json.dumps({**fields, **asked}).encode()
    async with rig.client() as client:
        await client.ask(body, ALICE, {OWN: "400ms"}, target=path)
        told = await client.answer()
        assert (told.status, told.json()["error"]["code"]) == (504, "still_running")
        await client.ask(body, ALICE, AGAIN, target=path)
        served = await client.answer()
    assert (served.status, served.header("x-gateway-job")) == (200, told.header("x-gateway-job"))
    assert served.header("x-gateway-note") is not None
    assert "joined" in (served.header("x-gateway-note") or "")
