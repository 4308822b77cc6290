"""Targets in the order of their cost or their speed: as configured for all models, for one, or asked by one request."""

from __future__ import annotations

import json

import pytest

from gateway.sandbox import Sandbox

from .conftest import StartGateway
from .harness import Answer, Rig

DEAR_FIRST = """
models:
  gpt-4o:
    targets:
    - {upstream: piapi, price: {input: 5, output: 20}}
    - {upstream: backup, price: {input: 1, output: 4}}
"""
PICTURES = """
models:
  painter:
    targets:
    - {upstream: piapi, model: gpt-4o-image, price: {image: 0.02}}
    - {upstream: backup, model: gpt-4o-image, price: {image: 0.03}}
    %s
"""


def served_by(answer: Answer) -> str | None:
    assert answer.status == 200, answer.body
    return answer.header("x-gateway-upstream")


async def picture(rig: Rig, prefer: str = "") -> Answer:
    headers = {"x-gateway-prefer": prefer} if prefer else {}
    body = json.dumps({"model": "painter", "prompt": "a lighthouse"}).encode()
    return await rig.post(body, target="/v1/images/generations", headers=headers)


async def test_targets_are_tried_as_they_are_listed(gateway: StartGateway) -> None:
    rig = await gateway(DEAR_FIRST)
    assert served_by(await rig.chat()) == "piapi"


@pytest.mark.parametrize("where", ["routing: {prefer: cost}", "for the model"])
async def test_the_cheapest_comes_first(gateway: StartGateway, where: str) -> None:
    if where == "for the model":
        rig = await gateway(DEAR_FIRST + "    routing: {prefer: cost}")
    else:
        rig = await gateway(DEAR_FIRST + where)
    assert served_by(await rig.chat()) == "backup"
    [line] = await rig.log_lines("request")
    assert line["preferred"] == "cost"


async def test_a_model_s_own_preference_is_above_the_common_one(gateway: StartGateway) -> None:
    rig = await gateway(DEAR_FIRST + "    routing: {prefer: order}\nrouting: {prefer: cost}")
    assert served_by(await rig.chat()) == "piapi"


async def test_a_request_s_preference_is_above_both(gateway: StartGateway) -> None:
    rig = await gateway(DEAR_FIRST)
    assert served_by(await rig.chat(headers={"x-gateway-prefer": "cost"})) == "backup"
    assert served_by(await rig.chat(headers={"x-gateway-prefer": " Order "})) == "piapi"
    assert served_by(await rig.chat()) == "piapi"


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("/v1/messages", {"max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/responses", {"input": "hi", "store": False}),
    ],
)
async def test_other_routes_obey_it_too(gateway: StartGateway, target: str, fields: dict[str, object]) -> None:
    rig = await gateway(DEAR_FIRST)
    body = json.dumps({"model": "gpt-4o", **fields}).encode()
    assert served_by(await rig.post(body, target=target, headers={"x-gateway-prefer": "cost"})) == "backup"


@pytest.mark.parametrize("said", ["cheap", "https://elsewhere.example", "backup", ""])
async def test_what_is_no_preference_is_refused_before_anything_is_sent(
    gateway: StartGateway, sandbox: Sandbox, said: str
) -> None:
    rig = await gateway(DEAR_FIRST)
    answer = await rig.chat(headers={"x-gateway-prefer": said})
    assert answer.status == 400
    assert answer.error()["code"] == "invalid_value"
    assert "order, cost, speed" in answer.error()["message"]
    assert sandbox.requests == []


async def test_what_is_not_healthy_is_passed_over_however_cheap(gateway: StartGateway, sandbox: Sandbox) -> None:
    rig = await gateway(DEAR_FIRST + "routing: {prefer: cost}")
    sandbox.script("server_error", role="backup", times=None)
    answer = await rig.chat()
    assert served_by(answer) == "piapi"
    assert answer.header("x-gateway-attempts") == "2"


async def test_a_target_of_no_known_price_comes_last(gateway: StartGateway) -> None:
    unknown = DEAR_FIRST.replace(
        "{upstream: piapi, price: {input: 5, output: 20}}", "{upstream: piapi, model: nameless-1}"
    )
    rig = await gateway(unknown + "routing: {prefer: cost}")
    assert served_by(await rig.chat()) == "backup"


async def test_a_budget_holds_for_the_target_that_is_really_first(gateway: StartGateway) -> None:
    """It has room for the cheap target's bound and not for the dear one's, which is listed first."""
    budget = "keys: [{name: alice, key: gw-alice-000111222333444555, budget: 0.0008/day}]\n"
    rig = await gateway(DEAR_FIRST + budget)
    refused = await rig.chat(max_tokens=100)
    assert refused.status == 429
    answer = await rig.chat(max_tokens=100, headers={"x-gateway-prefer": "cost"})
    assert served_by(answer) == "backup"
    dear = await rig.chat(max_tokens=100, headers={"x-gateway-prefer": "order"})
    assert dear.status == 429
    [row] = await rig.rows(1)
    assert 0 < row.charged < 800_000


async def test_a_faster_target_that_the_budget_has_no_room_for_is_not_waited_for(gateway: StartGateway) -> None:
    """The usual way is open: an order that it has room for is not refused for the sake of speed."""
    dear = (PICTURES % "routing: {prefer: speed}" + "\n").replace("{image: 0.03}", "{image: 5}")
    rig = await gateway(dear + "keys: [{name: alice, key: gw-alice-000111222333444555, budget: 4/day}]")
    assert [served_by(await picture(rig)) for _ in range(14)] == ["piapi"] * 14


async def test_the_fastest_comes_first_once_both_are_known(gateway: StartGateway, sandbox: Sandbox) -> None:
    rig = await gateway(PICTURES % "" + "    routing: {prefer: speed}")
    sandbox.script("slow;delay=10", role="api", times=None)
    served = [served_by(await picture(rig)) for _ in range(27)]
    assert served == ["piapi"] * 12 + ["backup"] * 15
    assert served_by(await picture(rig, "order")) == "piapi"
    lines = await rig.log_lines("request", 28)
    assert lines[26]["preferred"] == "speed"
    assert "preferred" not in lines[27]


async def test_for_chats_of_tokens_speed_is_learned_only_where_it_is_asked_for(
    gateway: StartGateway, sandbox: Sandbox
) -> None:
    rig = await gateway(DEAR_FIRST + "    routing: {prefer: speed}")
    sandbox.script("slow;delay=10", role="api", times=None)
    served = [served_by(await rig.chat()) for _ in range(26)]
    assert served == ["piapi"] * 12 + ["backup"] * 14
