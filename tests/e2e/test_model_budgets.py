"""Budgets of a key by model, and what a client is told that is refused: to come back, or that the money is gone."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest

from .conftest import StartGateway
from .harness import ALICE, Answer, get
from .test_budgets import BOB, DEV, budget, order

STORY = f"""
keys:
  - name: alice
    team: growth
    key: {ALICE}
    budget: 10/month
    models: {{"flux-*": 0.15/week, "gpt-4o*": 0.02/day}}
  - {{name: bob, team: growth, key: {BOB}, models: ["flux-schnell", {{"flux-dev": 0.03/day}}]}}
"""


async def test_two_hundred_at_once_on_a_models_budget_for_ten_let_ten_through(gateway: StartGateway) -> None:
    rig = await gateway(STORY)

    answers = await asyncio.gather(*(order(rig) for _ in range(200)))

    assert sorted(answer.status for answer in answers) == [200] * 10 + [429] * 190
    assert sum(row.charged for row in await rig.rows(10)) == 10 * DEV
    refused = await order(rig)
    assert (refused.status, refused.error()["code"]) == (429, "insufficient_quota")
    assert "The budget of the key 'alice' for 'flux-*' is $0.15 a week" in refused.error()["message"]
    figures = await rig.figures()
    assert figures.total("gateway_budget_refused_total", key="alice", team="growth") == 191
    assert figures.total("gateway_key_model_budget_usd", key="alice", model="flux-*") == 0.15
    assert figures.total("gateway_key_model_budget_used_usd", key="alice", model="flux-*") == 0.15


async def test_it_restricts_only_what_it_is_for(gateway: StartGateway) -> None:
    rig = await gateway(STORY)

    assert (await rig.chat(model="gpt-4o", max_tokens=1_000_000)).status == 429
    assert (await rig.chat(model="gpt-4.1", max_tokens=10_000)).status == 200
    assert (await order(rig, key=BOB)).status == 200
    assert (await order(rig, key=BOB)).status == 200
    assert (await order(rig, key=BOB)).status == 429
    assert (await order(rig, key=BOB, model="flux-schnell")).status == 200
    assert (await rig.chat(model="gpt-4o", key=BOB)).status == 403  # a list is still all that Bob may use


async def test_another_spelling_does_not_get_around_it(gateway: StartGateway) -> None:
    rig = await gateway(
        budget("10/month").replace('budget: "10/month"', 'models: {"house": 0.001/day, "mini*": 0.001/day}')
        + "models: {gpt-4o: {aliases: [house], targets: [{upstream: piapi, price: {input: 1, output: 100}}]},"
        " gpt-4o-mini: {aliases: [mini-me], targets: [{upstream: piapi, price: {input: 1, output: 100}}]}}\n"
    )

    for model in ("house", "gpt-4o", "mini-me", "gpt-4o-mini"):
        answer = await rig.chat(model=model, max_tokens=1000)
        assert answer.status == 429, model
        assert "for 'house'" in answer.error()["message"] or "for 'mini*'" in answer.error()["message"]
    assert (await rig.chat(model="gpt-4.1", max_tokens=1000)).status == 200


async def test_a_restart_and_a_budget_set_later_know_what_was_spent(gateway: StartGateway) -> None:
    rig = await gateway(STORY)
    rig.sandbox.script("ok;method=POST;path=/api/v1/task", times=None)
    for _ in range(9):
        assert (await order(rig)).status == 200
    await rig.rows(9)
    await rig.restart()

    shown = json.loads(await get(f"{rig.gateway.admin_url}/admin/v1/keys/alice"))["model_budgets"]["flux-*"]
    assert (shown["used_usd"], shown["left_usd"]) == (0.135, 0.015)
    assert (await order(rig)).status == 200
    assert (await order(rig)).status == 429


async def test_a_model_of_a_wildcard_route_is_booked_by_its_own_name(gateway: StartGateway) -> None:
    rig = await gateway(
        budget("10/month").replace('budget: "10/month"', 'models: {"house/a": 0.001/day, "house/b": 0.001/day}')
        + 'models: {"house/*": {targets: [{upstream: piapi, model: "gpt-*", price: {input: 1, output: 100}}]}}\n'
    )
    assert (await rig.chat(model="house/a", max_tokens=5)).status == 200
    spent = (await rig.row()).charged
    assert (await rig.row()).model == "house/a"

    await rig.restart()

    figures = await rig.figures()
    assert figures.nano("gateway_key_model_budget_used_usd", key="alice", model="house/a") == spent > 0
    assert figures.nano("gateway_key_model_budget_used_usd", key="alice", model="house/b") == 0
    assert [row["model"] for row in await rig.usage("model")] == ["house/a"]
    assert (await rig.chat(model="house/b", max_tokens=5)).status == 200
    assert (await rig.figures()).total("gateway_requests_total", model="house/*") == 1  # configured names only


async def test_what_is_in_doubt_is_in_doubt_for_its_model_also_after_a_restart(gateway: StartGateway) -> None:
    rig = await gateway(STORY.replace("0.15/week", "0.015/week") + "failover: {unknown_outcome_up_to: 0}\n")
    rig.for_all_roles("reset_before_head;method=POST;path=/api/v1/task")
    assert (await order(rig)).status == 504
    await rig.row()

    for _ in range(2):
        refused = await order(rig)
        assert (refused.status, refused.error()["code"]) == (429, "insufficient_quota")
        assert "$0.015 held for requests of unknown outcome" in refused.error()["message"]
        await rig.restart()
    shown = json.loads(await get(f"{rig.gateway.admin_url}/admin/v1/keys/alice"))["model_budgets"]["flux-*"]
    assert (shown["reserved_usd"], shown["left_usd"]) == (0.015, 0)


class TestWhetherToComeBack:
    async def test_while_only_running_requests_are_in_the_way(self, gateway: StartGateway) -> None:
        rig = await gateway(budget("0.015/day"))
        rig.sandbox.script("ok;polls=30;method=POST;path=/api/v1/task", times=None)
        async with asyncio.TaskGroup() as both:
            running = both.create_task(order(rig))
            await rig.sandbox.until(lambda: any(request.method == "POST" for request in rig.sandbox.requests))
            refused = await order(rig)
            assert (refused.status, refused.header("x-should-retry")) == (429, "true")
            assert float(refused.header("retry-after") or 0) > 0
            assert (refused.error()["type"], refused.error()["code"]) == ("rate_limit_error", "rate_limit_exceeded")
            assert "Try again when they have ended" in refused.error()["message"]
        assert running.result().status == 200

        spent = await order(rig)
        assert (spent.error()["code"], spent.header("x-should-retry")) == ("insufficient_quota", "false")
        assert spent.header("retry-after") is None

    async def test_not_for_what_is_above_the_whole_budget_whatever_runs(self, gateway: StartGateway) -> None:
        rig = await gateway(budget("0.02/day"))
        rig.sandbox.script("ok;polls=30;method=POST;path=/api/v1/task", times=None)
        async with asyncio.TaskGroup() as both:
            both.create_task(order(rig))
            await rig.sandbox.until(lambda: any(request.method == "POST" for request in rig.sandbox.requests))
            refused = await order(rig, n=4)
            assert (refused.error()["code"], refused.header("x-should-retry")) == ("insufficient_quota", "false")
            assert "more than the whole budget" in refused.error()["message"]

    async def test_not_if_another_budget_is_used_up(self, gateway: StartGateway) -> None:
        rig = await gateway(budget("0.015/day", team="0.03/day"))
        rig.sandbox.script("ok;method=POST;path=/api/v1/task")
        rig.sandbox.script("ok;polls=30;method=POST;path=/api/v1/task")
        assert (await order(rig)).status == 200
        async with asyncio.TaskGroup() as both:
            both.create_task(order(rig, key=BOB))
            posted = lambda: sum(request.method == "POST" for request in rig.sandbox.requests) == 2  # noqa: E731
            await rig.sandbox.until(posted)
            refused = await order(rig)
            assert refused.error()["code"] == "insufficient_quota"
            assert "key 'alice'" in refused.error()["message"]

    async def test_the_sdk_comes_back_by_itself_and_does_not_where_the_money_is_gone(
        self, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.core.pricing.budget_errors.RETRY_AFTER", 0.5)
        rig = await gateway(budget("0.03/day"))
        rig.sandbox.script("ok;polls=10;method=POST;path=/api/v1/task", times=None)
        sdk = rig.openai(max_retries=5)
        await asyncio.gather(*(sdk.images.generate(model="flux-dev", prompt="a cat") for _ in range(2)))

        once = rig.openai(max_retries=5)
        asked: list[Any] = []
        once._client.event_hooks["request"].append(lambda request: _note(asked, request))
        with pytest.raises(openai.RateLimitError) as refused:
            await once.images.generate(model="flux-dev", prompt="a cat")
        assert refused.value.code == "insufficient_quota"
        assert len(asked) == 1

    async def test_the_sdk_waits_for_room(self, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch) -> None:
        """A chat reserves much and costs little: the second one fits when the first has ended."""
        monkeypatch.setattr("gateway.core.pricing.budget_errors.RETRY_AFTER", 0.3)
        rig = await gateway(budget("0.07/day"))
        rig.sandbox.script("ok;delay=0.7")
        fields: Any = {"model": "gpt-4o-mini", "max_tokens": 16_384, "messages": [{"role": "user", "content": "hi"}]}
        fields["n"] = 6
        sdk = rig.openai(max_retries=6)
        answers = await asyncio.gather(*(sdk.chat.completions.create(**fields) for _ in range(2)))
        assert all(answer.choices for answer in answers)
        with pytest.raises(openai.RateLimitError) as refused:
            await sdk.chat.completions.create(**{**fields, "n": 12})
        assert refused.value.code == "insufficient_quota"


async def _note(asked: list[Any], request: Any) -> None:
    asked.append(request)


class TestADearerWay:
    async def test_that_the_budget_cannot_pay_names_the_budget(self, gateway: StartGateway) -> None:
        rig = await gateway(budget("0.1/day"))
        rig.sandbox.script("server_error", role="api", times=None)
        rig.sandbox.script("server_error", role="proxy", times=None)

        answer: Answer = await order(rig, model="gpt-4o-image")

        assert "The budget of the key 'alice' is $0.10 a day" in answer.error()["message"]
        assert (await rig.figures()).total("gateway_budget_refused_total", key="alice") == 1
