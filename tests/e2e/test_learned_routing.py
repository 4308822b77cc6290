"""Orders whose like take longer than a host waits: where they begin, what is told of it, and what it never does."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gateway.cli.status import status_text
from gateway.sandbox import Sandbox

from .conftest import StartGateway
from .harness import ALICE, Answer, Rig, eventually, get

ENOUGH = 12
SLOW = "slow;delay=150"
"""A picture that is told of every 150 ms, and takes more than two seconds in all: no silence is as long as a wall, not
even on a machine that stands still for a second.
"""

WALL = "1500ms"


def walls(sandbox: Sandbox, *, proxy: str = "", more: str = "") -> str:
    """PiAPI's first host gives up after ``WALL``; ``proxy``: its second one, too."""
    second = f"{{url: '{sandbox.urls['proxy']}'{f', wall: {proxy}' if proxy else ''}}}"
    endpoints = f"[{{url: '{sandbox.urls['api']}', wall: {WALL}}}, {second}]"
    return f"upstreams: {{piapi: {{endpoints: {endpoints}}}}}\n{more}"


async def order(rig: Rig, **fields: Any) -> Answer:
    body = {"model": "gpt-4o-image", "prompt": "a lighthouse", **fields}
    answer = await rig.post(json.dumps(body).encode(), target="/v1/images/generations")
    assert answer.status == 200, answer.body
    return answer


async def orders(rig: Rig, count: int = ENOUGH, **fields: Any) -> list[Answer]:
    """Several at once."""
    return await asyncio.gather(*(order(rig, **fields) for _ in range(count)))


async def status(rig: Rig) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(await get(f"{rig.gateway.admin_url}/admin/v1/upstreams"))
    return told


def asked(sandbox: Sandbox) -> list[str]:
    """The hosts that pictures were ordered at."""
    return [request.role for request in sandbox.requests if request.method == "POST"]


async def test_after_twelve_orders_the_next_begins_where_it_is_waited_for(
    gateway: StartGateway, sandbox: Sandbox
) -> None:
    rig = await gateway(walls(sandbox))
    rig.for_all_roles(SLOW)
    assert {one.header("x-gateway-expected-seconds") for one in await orders(rig)} == {None}
    before = asked(sandbox)
    assert before[:ENOUGH] == ["api"] * ENOUGH  # on a busy machine one may meet the wall, and goes on elsewhere
    answer = await order(rig)
    assert asked(sandbox)[len(before) :] == ["proxy"]
    assert answer.header("x-gateway-attempts") == "1"
    assert 1.5 < float(answer.header("x-gateway-expected-seconds") or 0) < 60

    lines = await rig.log_lines("request", ENOUGH + 1)
    assert ["learned" in line for line in lines] == [False] * ENOUGH + [True]
    assert sandbox.urls["api"] in lines[-1]["learned"]
    assert "gives up after 1.5 s" in lines[-1]["learned"]

    figures = await rig.figures()
    assert figures.total("gateway_learned_starts_total") == 1
    assert figures.total("gateway_learned_duration_seconds") > 0

    told = await status(rig)
    [row] = told["learned"]
    assert (row["upstream"], row["operation"], row["model"]) == ("piapi", "chat", "gpt-4o-image")
    assert (row["size"], row["quality"], row["pieces"]) == ("auto", "auto", 1)
    assert row["orders"] == pytest.approx(13, abs=0.1)
    assert row["p10_seconds"] <= row["p50_seconds"] <= row["p90_seconds"]
    assert row["avoids"] == [sandbox.urls["api"]]
    assert sandbox.urls["api"] in status_text(told).split("avoids")[1]


async def test_orders_of_another_size_are_learned_by_themselves(gateway: StartGateway, sandbox: Sandbox) -> None:
    rig = await gateway(walls(sandbox))
    rig.for_all_roles(SLOW)
    await orders(rig, size="1536x1024")
    before = len(asked(sandbox))
    await order(rig, size="1024x1024")
    await order(rig, size="1536x1024")
    assert [*dict.fromkeys(asked(sandbox)[before:])] == ["api", "proxy"]
    assert asked(sandbox)[-1] == "proxy"


async def test_a_picture_by_chat_is_an_order_like_any_other(gateway: StartGateway, sandbox: Sandbox) -> None:
    rig = await gateway(walls(sandbox))
    rig.for_all_roles(SLOW)
    chats = (rig.chat(model="gpt-4o-image", stream=bool(number % 2)) for number in range(ENOUGH))
    assert {one.status for one in await asyncio.gather(*chats)} == {200}
    before = len(asked(sandbox))
    await rig.chat(model="gpt-4o-image")
    assert asked(sandbox)[before:] == ["proxy"]


async def test_what_was_learned_outlives_a_restart(gateway: StartGateway, sandbox: Sandbox) -> None:
    rig = await gateway(walls(sandbox))
    rig.for_all_roles(SLOW)
    await orders(rig)
    before = len(asked(sandbox))
    await rig.restart()
    await order(rig)
    assert asked(sandbox)[before:] == ["proxy"]


async def test_the_wall_itself_teaches(gateway: StartGateway, sandbox: Sandbox) -> None:
    """Cloudflare's 524 at one host and the same order's answer at the other: also after a restart, when it is forgotten
    that the host was slow a moment ago.
    """
    rig = await gateway(walls(sandbox))
    sandbox.script("cf_524", role="api", times=None)
    sandbox.script(SLOW, role="proxy", times=None)
    await order(rig)
    await orders(rig, ENOUGH - 1)
    assert asked(sandbox) == ["api", *["proxy"] * ENOUGH]  # only the first met the wall
    await rig.restart()
    await order(rig)
    assert asked(sandbox)[ENOUGH + 1 :] == ["proxy"]
    assert "learned" in (await rig.log_lines("request", ENOUGH + 1))[-1]


async def test_where_every_host_gives_up_orders_go_the_usual_way(gateway: StartGateway, sandbox: Sandbox) -> None:
    rig = await gateway(walls(sandbox, proxy="700ms", more="models: {gpt-4o-image: {targets: [{upstream: piapi}]}}"))
    rig.for_all_roles(SLOW)
    await orders(rig)
    await orders(rig, 3)
    assert set(asked(sandbox)) == {"api"}
    assert all("learned" not in line for line in await rig.log_lines("request", ENOUGH + 3))


async def test_where_the_host_without_a_wall_is_down_orders_go_where_there_is_one(
    gateway: StartGateway, sandbox: Sandbox
) -> None:
    rig = await gateway(walls(sandbox))
    rig.for_all_roles(SLOW)
    await orders(rig)
    await sandbox.refuse("proxy")
    await order(rig)
    assert asked(sandbox)[ENOUGH:] == ["api"]


async def test_an_upstream_at_which_most_would_be_given_up_on_comes_after_another(
    gateway: StartGateway, sandbox: Sandbox
) -> None:
    targets = "[{upstream: piapi, price: {image: 0.02}}, {upstream: backup, price: {image: 0.04}}]"
    rig = await gateway(walls(sandbox, proxy="700ms", more=f"models: {{gpt-4o-image: {{targets: {targets}}}}}"))
    rig.for_all_roles(SLOW)
    await orders(rig)
    answer = await order(rig)
    assert asked(sandbox)[ENOUGH:] == ["backup"]
    assert answer.header("x-gateway-cost-usd") == "0.04"
    line = (await rig.log_lines("request", ENOUGH + 1))[-1]
    assert line["learned"].startswith("begun at backup, since orders like it take")
    rows = await rig.rows(ENOUGH + 1)
    assert [row.charged for row in rows] == [20_000_000] * ENOUGH + [40_000_000]


async def test_a_budget_without_room_for_the_dearer_upstream_has_it_for_the_usual_way(
    gateway: StartGateway, sandbox: Sandbox
) -> None:
    targets = "[{upstream: piapi, price: {image: 0.02}}, {upstream: backup, price: {image: 5}}]"
    keys = f"keys: [{{name: alice, key: {ALICE}, budget: 4/day}}]"
    rig = await gateway(walls(sandbox, proxy="700ms", more=f"models: {{gpt-4o-image: {{targets: {targets}}}}}\n{keys}"))
    rig.for_all_roles(SLOW)
    await orders(rig)
    answer = await order(rig)
    assert set(asked(sandbox)) == {"api"}
    assert answer.header("x-gateway-cost-usd") == "0.02"
    assert "learned" not in (await rig.log_lines("request", ENOUGH + 1))[-1]
    assert (await rig.figures()).total("gateway_learned_starts_total") == 0


async def test_a_job_tells_how_long_it_is_expected_to_take(gateway: StartGateway, sandbox: Sandbox) -> None:
    rig = await gateway(walls(sandbox))
    rig.for_all_roles(SLOW)
    await orders(rig)
    body = json.dumps({"model": "gpt-4o-image", "prompt": "a lighthouse"}).encode()
    answer = await rig.post(body, target="/v1/images/generations", headers={"prefer": "respond-async"})
    assert answer.status == 202
    assert 1.5 < float(answer.header("x-gateway-expected-seconds") or 0) < 60
    job = answer.json()["id"]
    async with rig.client() as client:
        told = await client.request("GET", f"/v1/jobs/{job}?wait=30", b"", f"authorization: Bearer {ALICE}")
    assert told.json()["status"] == "completed"
    assert told.json()["progress"] == 100


async def test_a_task_that_is_followed_after_a_restart_teaches_nothing_but_that_it_took_so_long(
    gateway: StartGateway, sandbox: Sandbox
) -> None:
    """What was cut off took at least so long; what was left to follow is not how long such a task takes."""
    rig = await gateway(walls(sandbox))
    sandbox.script("slow;polls=30", times=None)
    body = json.dumps({"model": "flux-schnell", "prompt": "a lighthouse"}).encode()
    asking = asyncio.get_running_loop().create_task(rig.post(body, target="/v1/images/generations"))
    await eventually(lambda: len(rig.tasks()) == 1, "a task")
    rig.gateway.cut_off()
    assert (await asking).status == 503
    await rig.restart()
    again = {"x-stainless-retry-count": "1"}
    assert (await rig.post(body, target="/v1/images/generations", headers=again)).status == 200
    [row] = (await status(rig))["learned"]
    assert row["orders"] == pytest.approx(1, abs=0.1)


async def test_nothing_is_learned_where_the_operator_does_not_want_it(gateway: StartGateway, sandbox: Sandbox) -> None:
    rig = await gateway(walls(sandbox, more="routing: {learn: false}"))
    rig.for_all_roles(SLOW)
    await orders(rig)
    answer = await order(rig)
    assert set(asked(sandbox)) == {"api"}
    assert answer.header("x-gateway-expected-seconds") is None
    assert (await status(rig))["learned"] == []


async def test_a_chat_billed_by_tokens_is_not_learned_of(gateway: StartGateway, sandbox: Sandbox) -> None:
    rig = await gateway(walls(sandbox))
    for _ in range(3):
        await rig.chat()
    assert (await status(rig))["learned"] == []


async def test_a_task_goes_the_usual_way_however_long_it_takes(gateway: StartGateway, sandbox: Sandbox) -> None:
    """It is asked after by its id: no answer is silent for so long as the task takes."""
    rig = await gateway(walls(sandbox))
    rig.for_all_roles("ok;polls=8")
    await orders(rig, model="flux-schnell")
    answer = await order(rig, model="flux-schnell")
    created = [one.role for one in sandbox.requests if one.path == "/api/v1/task" and one.method == "POST"]
    assert set(created) == {"api"}
    assert float(answer.header("x-gateway-expected-seconds") or 0) > 0.1
    [row] = (await status(rig))["learned"]
    assert row["operation"] == "task"
    assert row["p50_seconds"] > 0.1
    assert row["avoids"] == []


async def test_tasks_are_asked_after_less_often_once_it_is_known_how_long_they_take(
    gateway: StartGateway, sandbox: Sandbox
) -> None:
    rig = await gateway("upstreams: {piapi: {tasks: {poll: 10ms, poll_max: 20ms}}}")
    rig.for_all_roles("ok;ready=0.4")
    polls = []
    for _ in range(ENOUGH + 1):
        before = len(sandbox.requests)
        await order(rig, model="flux-schnell")
        polls.append(sum(1 for one in sandbox.requests[before:] if one.method == "GET"))
    assert polls[-1] < min(polls[:ENOUGH])
