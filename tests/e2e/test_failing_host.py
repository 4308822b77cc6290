"""A host that answers every request properly with a failure: it is left alone, and takes no traffic down with it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from .conftest import StartGateway
from .harness import Answer, Rig

HOST_GAUGE = "gateway_endpoint_available"
TWO_KEYS = """
upstreams:
  piapi:
    keys: [{name: first, value: sk-piapi-aaabbbcccdddeeefff}, {name: second, value: sk-piapi-second-hhhiiijjjkkk}]
"""


async def load(rig: Rig, count: int, *, parallel: int, **fields: Any) -> list[Answer]:
    """So many requests, never more than ``parallel`` of them at once."""
    places = asyncio.Semaphore(parallel)

    async def one() -> Answer:
        async with places:
            return await rig.chat(**fields)

    return await asyncio.gather(*(one() for _ in range(count)))


def served_by(answers: list[Answer]) -> Counter[str | None]:
    return Counter(answer.header("x-gateway-upstream") for answer in answers if answer.status == 200)


@pytest.mark.parametrize(
    "scenario",
    [
        "server_error",
        "sse_error_string",
        "sse_empty",
        "empty_body",
        "soft_error;shape=string;message=nobody knows this",
    ],
)
async def test_after_five_failures_requests_go_straight_to_the_other_host(scenario: str, gateway: StartGateway) -> None:
    rig = await gateway(TWO_KEYS)
    failing = rig.sandbox.script(scenario, role="api", times=None)

    answers = await load(rig, 60, parallel=1)

    assert served_by(answers) == {"piapi": 60}
    assert [answer.header("x-gateway-attempts") for answer in answers] == ["2"] * 5 + ["1"] * 55
    assert failing.used == 5
    figures = await rig.figures()
    assert figures.total(HOST_GAUGE, endpoint=rig.sandbox.urls["api"]) == 0
    assert figures.total(HOST_GAUGE, endpoint=rig.sandbox.urls["proxy"]) == 1


async def test_forty_at_once_are_served_by_the_other_host_and_not_by_the_dearer_backup(gateway: StartGateway) -> None:
    rig = await gateway(TWO_KEYS)
    rig.sandbox.script("server_error", role="api", times=None)

    answers = await load(rig, 60, parallel=40)

    assert {answer.status for answer in answers} == {200}
    assert served_by(answers)["piapi"] >= 57
    assert (await rig.figures()).total(HOST_GAUGE, endpoint=rig.sandbox.urls["api"]) == 0


async def test_forty_images_at_twenty_at_once_are_all_served(gateway: StartGateway) -> None:
    """They have no other upstream, and a failure that PiAPI itself reports costs nothing."""
    rig = await gateway(TWO_KEYS)
    rig.sandbox.script("server_error", role="api", times=None)

    answers = await load(rig, 40, parallel=20, model="gpt-4o-image")

    assert served_by(answers) == {"piapi": 40}
    rows = await rig.rows(40)
    assert sum(row.upstream_cost for row in rows) == rig.sandbox.billed == 40 * 20_000_000


async def test_a_stray_failure_of_the_other_host_changes_nothing(gateway: StartGateway) -> None:
    """It comes when the failing host is out already: as the fifth in a row it would be held against the model."""
    rig = await gateway(TWO_KEYS)
    rig.sandbox.script("server_error", role="api", times=None)
    await load(rig, 5, parallel=1)
    stray = rig.sandbox.script("server_error", role="proxy", times=1)

    answers = await load(rig, 60, parallel=40)

    assert stray.used == 1
    assert {answer.status for answer in answers} == {200}
    assert served_by(answers)["piapi"] >= 57


async def test_a_model_that_fails_at_both_hosts_moves_to_the_backup_and_other_models_stay(
    gateway: StartGateway,
) -> None:
    rig = await gateway(TWO_KEYS)
    for role in ("api", "proxy"):
        rig.sandbox.script("server_error", role=role, model="gpt-4o", times=None)

    answers = await load(rig, 20, parallel=1)

    assert served_by(answers) == {"backup": 20}
    assert [answer.header("x-gateway-attempts") for answer in answers[3:]] == ["1"] * 17
    assert (await rig.figures()).total(HOST_GAUGE) == len(rig.sandbox.urls)
    assert (await rig.chat(model="gpt-4o-mini")).header("x-gateway-upstream") == "piapi"
    assert rig.sandbox.requests[-1].role == "api"
