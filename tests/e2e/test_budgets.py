"""Budgets of keys and teams: reserved before anything is bought, settled after, never overspent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from .conftest import StartGateway
from .harness import ALICE, Answer, Rig, eventually, get

DEV = 15_000_000
"""flux-dev: a cent and a half."""

PATH = "/v1/images/generations"
BOB = "gw-bob-0123456789abcdef0123"


def budget(amount: str, *, team: str = "", bob: str = "") -> str:
    """Alice's budget, her team's, and that of Bob who is in it as well."""
    keys = f"""
keys:
  - {{name: alice, team: growth, key: {ALICE}, budget: "{amount}"}}
  - {{name: bob, team: growth, key: {BOB}{f', budget: "{bob}"' if bob else ""}}}
"""
    return keys + (f'teams: {{growth: {{budget: "{team}"}}}}\n' if team else "")


async def order(rig: Rig, *, key: str = ALICE, model: str = "flux-dev", **fields: Any) -> Answer:
    body = json.dumps({"model": model, "prompt": "a cat", **fields}).encode()
    async with rig.client() as client:
        await client.ask(body, key, {"connection": "close"}, target=PATH)
        return await client.rest(await client.head())


async def test_two_hundred_at_once_on_a_budget_for_ten_let_ten_through(gateway: StartGateway) -> None:
    rig = await gateway(budget("0.15/day"))

    answers = await asyncio.gather(*(order(rig) for _ in range(200)))

    assert sorted(answer.status for answer in answers) == [200] * 10 + [429] * 190
    refused = await order(rig)  # now that nothing runs any more
    assert (refused.error()["type"], refused.error()["code"]) == ("insufficient_quota", "insufficient_quota")
    assert refused.header("x-should-retry") == "false"
    assert refused.header("retry-after") is None
    rows = await rig.rows(10)
    assert sum(row.charged for row in rows) == 10 * DEV
    assert sum(request.path == "/api/v1/task" for request in rig.sandbox.requests) == 10


async def test_what_a_request_does_not_cost_is_given_back(gateway: StartGateway) -> None:
    """A chat reserves what it could cost at most; what it did cost is much less."""
    rig = await gateway(budget("0.02/day"))

    for _ in range(5):
        assert (await rig.chat(model="gpt-4o-mini", max_tokens=10_000)).status == 200

    assert (await rig.chat(model="gpt-4o-mini", max_tokens=1_000_000, n=5)).status == 429


async def test_a_teams_budget_is_shared_by_its_keys(gateway: StartGateway) -> None:
    rig = await gateway(budget("1/day", team="0.03/month"))

    assert (await order(rig)).status == 200
    assert (await order(rig, key=BOB)).status == 200
    refused = await order(rig, key=BOB)

    assert refused.status == 429
    assert "team 'growth'" in refused.error()["message"]


async def test_a_failed_request_costs_no_budget(gateway: StartGateway) -> None:
    rig = await gateway(budget("0.015/day"))
    rig.sandbox.script("ok;task=failed;method=POST;path=/api/v1/task")

    assert (await order(rig)).status == 502
    assert (await order(rig)).status == 200
    assert (await order(rig)).status == 429


async def test_what_is_in_doubt_stays_reserved(gateway: StartGateway) -> None:
    rig = await gateway(budget("0.015/day") + "failover: {unknown_outcome_up_to: 0}\n")
    rig.for_all_roles("reset_before_head;method=POST;path=/api/v1/task")

    assert (await order(rig)).status == 504
    assert (await order(rig)).status == 429

    row = await rig.row()
    assert (row.state, row.charged) == ("unknown", 0)


@pytest.mark.parametrize(("allowed", "status"), [("false", 403), ("true", 200)])
async def test_a_model_without_a_price_is_for_keys_without_a_budget(
    gateway: StartGateway, allowed: str, status: int
) -> None:
    rig = await gateway(budget("1/day") + f"allow_unpriced: {allowed}\n")

    answer = await rig.chat(model="gpt-3.5-turbo")

    assert answer.status == status
    if status == 403:
        assert answer.error()["code"] == "model_not_allowed"
    assert (await rig.chat(model="gpt-3.5-turbo", key=BOB)).status == 200


async def test_crossing_is_told_in_the_log_and_the_metrics_once(gateway: StartGateway) -> None:
    rig = await gateway(budget("0.03/day", team="0.03/day"))

    await order(rig)
    await order(rig)

    lines = await rig.log_lines("budget_crossed", 4)
    told = sorted((line["holder"], line["percent"]) for line in lines)
    assert told == [("key/alice", 80), ("key/alice", 100), ("team/growth", 80), ("team/growth", 100)]
    figures = await rig.figures()
    assert figures.total("gateway_budget_crossed_total", key="alice", team="growth", percent="80") == 1
    assert figures.total("gateway_budget_crossed_total", key="", team="growth", percent="100") == 1
    assert figures.total("gateway_key_budget_usd", key="alice") == 0.03
    assert figures.total("gateway_key_budget_used_usd", key="alice") == 0.03
    assert figures.total("gateway_team_budget_used_usd", team="growth") == 0.03


async def test_the_ledgers_own_sum_stands_beside_the_counters(gateway: StartGateway) -> None:
    rig = await gateway(budget("1/day"))
    assert (await rig.figures()).total("gateway_ledger_charged_usd", key="bob") == 0
    await order(rig)
    await rig.row()

    async def shown() -> bool:
        return (await rig.figures()).total("gateway_ledger_charged_usd", key="alice") == 0.015

    await eventually(shown, "the ledger's month in the metrics", within=10)


async def test_a_restart_remembers_what_was_spent_and_what_is_held(gateway: StartGateway) -> None:
    rig = await gateway(budget("0.03/day"))
    rig.sandbox.script("ok;method=POST;path=/api/v1/task")
    assert (await order(rig)).status == 200
    await rig.row()
    await rig.restart()

    assert (await order(rig)).status == 200
    assert (await order(rig)).status == 429


async def test_keys_show_what_is_left(gateway: StartGateway) -> None:
    rig = await gateway(budget("0.03/day"))
    await order(rig)
    await rig.row()

    shown = json.loads(await get(f"{rig.gateway.admin_url}/admin/v1/keys"))["data"]

    alice = next(key for key in shown if key["name"] == "alice")
    assert alice["budget"] == "0.03/day"
    assert (alice["budget_used_usd"], alice["budget_left_usd"]) == (0.015, 0.015)


IMAGE = 20_000_000
"""gpt-4o-image at PiAPI; its backup may take twelve times as much."""


async def test_a_dearer_way_is_reserved_for_only_when_it_is_taken(gateway: StartGateway) -> None:
    rig = await gateway(budget("0.2/day"))

    answers = await asyncio.gather(*(order(rig, model="gpt-4o-image") for _ in range(20)))

    assert sorted(answer.status for answer in answers) == [200] * 10 + [429] * 10
    assert sum(row.charged for row in await rig.rows(10)) == 10 * IMAGE


async def test_a_way_that_the_budget_cannot_pay_is_not_taken(gateway: StartGateway) -> None:
    rig = await gateway(budget("0.1/day"))
    rig.sandbox.script("server_error", role="api", times=None)
    rig.sandbox.script("server_error", role="proxy", times=None)

    answer = await order(rig, model="gpt-4o-image")

    assert "backup" not in {request.role for request in rig.sandbox.requests}
    assert (answer.status, answer.header("x-should-retry")) == (429, "false")
    assert answer.error()["code"] == "insufficient_quota"
    assert (await rig.row()).charged == 0


async def test_the_lost_subrequest_of_an_order_stays_reserved(gateway: StartGateway) -> None:
    """One image came, the other may have been bought."""
    rig = await gateway(budget("0.03/day") + "failover: {unknown_outcome_up_to: 0}\n")
    rig.sandbox.script("reset_before_head;method=POST;path=/api/v1/task", times=1)

    assert (await order(rig, n=2)).status == 200

    row = await rig.row()
    assert (row.charged, row.confidence) == (DEV, "estimated")
    assert (await order(rig)).status == 429


async def test_a_budget_that_is_set_later_knows_what_runs(gateway: StartGateway) -> None:
    rig = await gateway(budget("1/day"))
    rig.sandbox.script("ok;polls=60;method=POST;path=/api/v1/task", times=None)
    running = [asyncio.ensure_future(order(rig, key=BOB)) for _ in range(3)]  # noqa: TID251
    await rig.sandbox.until(lambda: sum(request.method == "POST" for request in rig.sandbox.requests) == 3)

    holders = rig.gateway.services.budgets.budgets
    assert holders.used(("key", "bob"), "day", rig.gateway.services.clock.wall_ns()) == (0, 3 * DEV)

    assert [answer.status for answer in await asyncio.gather(*running)] == [200] * 3
