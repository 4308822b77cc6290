"""Budgets that three gateways share by one PostgreSQL: what one spends, none of the others can."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gateway.app.assembly import build_ledger_service
from gateway.runtime.ports import SystemClock
from gateway.sandbox import Sandbox

from .harness import ALICE, eventually
from .shared_store import Fleet, fleet_of

DEV = 15_000_000
"""flux-dev: a cent and a half."""

BOB = "gw-bob-0123456789abcdef0123"
KEY, TEAM = '["key","alice"]', '["team","growth"]'


def budget(amount: str = "", *, team: str = "", extra: str = "") -> str:
    """Alice's budget, and that of her team, in which Bob is as well."""
    own = f', budget: "{amount}"' if amount else ""
    return f"""
keys:
  - {{name: alice, team: growth, key: {ALICE}{own}{extra}}}
  - {{name: bob, team: growth, key: {BOB}}}
teams: {{growth: {f'{{budget: "{team}"}}' if team else "{}"}}}
"""


@pytest.fixture
def made(sandbox: Sandbox, tmp_path: Path, postgres_url: str) -> Any:
    """Makes fleets: ``async with made(3, "…") as fleet``."""

    def make(number: int, overrides: str = "", clock: Any = None) -> Any:
        return fleet_of(number, sandbox, tmp_path, postgres_url, overrides, clock)

    return make


async def reserved(fleet: Fleet) -> bool:
    """Whether one picture is reserved on Alice's budget of the day."""
    return (await fleet.used(KEY))[1] == DEV


async def test_two_thousand_at_once_on_a_budget_for_ten_let_ten_through(made: Any) -> None:
    async with made(3, budget("0.15/day") + "limits: {in_flight: 2000}\n") as fleet:
        at_once = asyncio.Semaphore(100)

        async def order(number: int) -> int:
            async with at_once:
                return (await fleet.members[number % 3].order()).status

        statuses = Counter(await asyncio.gather(*(order(number) for number in range(2_000))))
        await fleet.settled()
        charged, held, _ = await fleet.used(KEY)
        assert charged == statuses[200] * DEV
        # a machine too busy for its own database may refuse some otherwise, never let in an eleventh
        while statuses[200] < 10 and held == 0:
            statuses[(await fleet.members[0].order()).status] += 1
        assert charged + held <= 10 * DEV
        assert statuses[200] + held // DEV == 10
        assert sum(request.path == "/api/v1/task" for request in fleet.sandbox.requests) <= 10
        await fleet.settled()
        refused = await fleet.members[1].order()
        assert (refused.status, refused.error()["code"]) == (429, "insufficient_quota")


async def test_one_after_the_other_every_cent_can_be_spent_at_any_gateway(made: Any) -> None:
    async with made(3, budget("1/day", team="0.09/week")) as fleet:
        for number in range(6):
            assert (await fleet.members[number % 3].order()).status == 200
        for member in fleet.members:
            refused = await member.order()
            assert refused.status == 429
            assert refused.error()["code"] == "insufficient_quota"
            assert "team 'growth'" in refused.error()["message"]
            assert "$0.09 are spent" in refused.error()["message"]


async def test_what_an_answered_request_had_reserved_is_free_for_the_next_one_at_once(made: Any) -> None:
    """A chat reserves what it could cost at most; what it did cost is much less."""
    async with made(3, budget("0.02/day")) as fleet:
        for number in range(24):
            answer = await fleet.members[number % 3].chat(model="gpt-4o-mini", max_tokens=10_000)
            assert answer.status == 200, (number, answer.body)


async def test_what_runs_elsewhere_may_let_a_request_in_later(made: Any) -> None:
    async with made(2, budget("0.02/day")) as fleet:
        fleet.sandbox.script("ok;task=failed;method=POST;path=/api/v1/task;ready=1.5", times=1)
        one, other = fleet.members
        running = asyncio.gather(one.order())
        await eventually(lambda: reserved(fleet), "a reservation")
        refused = await other.order()
        assert (refused.status, refused.error()["code"]) == (429, "rate_limit_exceeded")
        assert refused.header("x-should-retry") == "true"
        assert (await running)[0].status == 502
        await fleet.settled()
        assert (await other.order()).status == 200


@pytest.mark.parametrize("period", ["day", "week", "month", "total"])
async def test_any_period_is_counted_for_all(made: Any, period: str) -> None:
    async with made(2, budget(f"0.03/{period}")) as fleet:
        for member in fleet.members:
            assert (await member.order()).status == 200
        await fleet.settled()
        assert [(await member.order()).status for member in fleet.members] == [429, 429]
        assert await fleet.used(KEY, period) == (2 * DEV, 0, 0)


async def test_a_keys_budget_by_model_is_counted_under_any_name(made: Any) -> None:
    extra = ', models: {"gpt-4o-mini": 0.01/day}'
    async with made(2, budget("1/day", extra=extra)) as fleet:
        one, other = fleet.members
        assert (await one.chat(model="gpt-4o-mini", max_tokens=100)).status == 200
        await fleet.settled()
        charged = (await fleet.used('["key","alice","gpt-4o-mini"]'))[0]
        assert charged > 0
        assert (await other.chat(model="openai/gpt-4o-mini", max_tokens=100)).status == 200
        await fleet.settled()
        assert (await fleet.used('["key","alice","gpt-4o-mini"]'))[0] == 2 * charged
        assert (await other.chat(model="gpt-4o-mini", max_tokens=16_000, n=2)).status == 429
        assert (await other.chat(model="gpt-4o", max_tokens=16_000)).status == 200


class Moved(SystemClock):
    """The system's time, and so much more."""

    ahead_ns = 0

    def wall_ns(self) -> int:
        return super().wall_ns() + self.ahead_ns


async def test_a_day_of_the_configured_time_zone_begins_anew_for_all(made: Any) -> None:
    clock = Moved()
    # so that it is a minute and a half before midnight in New York
    from datetime import datetime, timedelta
    from zoneinfo import ZoneInfo

    now = datetime.fromtimestamp(clock.wall_ns() / 1e9, ZoneInfo("America/New_York"))
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    clock.ahead_ns = int((midnight - now).total_seconds() - 90) * 10**9
    async with made(2, budget("0.015/day") + "time_zone: America/New_York\n", clock) as fleet:
        one, other = fleet.members
        assert (await one.order()).status == 200
        assert (await other.order()).status == 429
        clock.ahead_ns += 91 * 10**9
        assert (await other.order()).status == 200
        assert (await one.order()).status == 429
        await fleet.settled()
        rows = await fleet.rows("SELECT charged FROM budgets WHERE holder = $1 ORDER BY start_ns", KEY)
        assert rows == [(DEV,), (DEV,)]


async def test_a_request_belongs_to_the_day_it_came_in(made: Any) -> None:
    clock = Moved()
    async with made(2, budget("0.015/day"), clock) as fleet:
        fleet.sandbox.script("ok;method=POST;path=/api/v1/task;ready=1.5", times=1)
        running = asyncio.gather(fleet.members[0].order())
        await eventually(lambda: reserved(fleet), "a reservation")
        clock.ahead_ns += 24 * 3600 * 10**9
        assert (await fleet.members[1].order()).status == 200
        assert (await running)[0].status == 200
        await fleet.settled()
        assert await fleet.rows("SELECT charged FROM budgets WHERE charged > 0") == [(DEV,), (DEV,)]


async def test_a_budget_that_is_set_first_counts_what_was_used_and_what_runs(made: Any) -> None:
    async with made(3, budget()) as fleet:
        assert (await fleet.members[0].order()).status == 200
        fleet.sandbox.script("ok;method=POST;path=/api/v1/task;ready=1.5", times=1)
        running = asyncio.gather(fleet.members[1].order())

        async def open_() -> bool:
            return len(await fleet.rows("SELECT FROM open_intents")) == 1

        await eventually(open_, "a request that runs")
        for member in fleet.members:
            fleet.write(member.config_file, budget("0.045/day"))
            assert await member.gateway.reload() == []
        assert (await fleet.members[2].order()).status == 200
        assert (await fleet.members[2].order()).status == 429
        assert (await running)[0].status == 200
        await fleet.settled()
        assert await fleet.used(KEY) == (3 * DEV, 0, 0)


async def test_a_budget_that_is_changed_is_obeyed_at_once(made: Any) -> None:
    async with made(2, budget("0.015/day")) as fleet:
        one, other = fleet.members
        assert (await one.order()).status == 200
        for amount, status in (("0.03/day", 200), ("0.03/month", 429), ("0.045/month", 200), ("0.02/day", 429)):
            fleet.write(other.config_file, budget(amount))
            assert await other.gateway.reload() == []
            assert (await other.order()).status == status, amount
        await fleet.settled()
        assert await fleet.used(KEY) == await fleet.used(KEY, "month") == (3 * DEV, 0, 0)


async def test_what_is_unknown_is_held_for_all_until_another_gateway_knows(made: Any) -> None:
    async with made(2, budget("0.015/day") + "failover: {unknown_outcome_up_to: 0}\n") as fleet:
        one, other = fleet.members
        for role in ("api", "proxy", "backup"):
            fleet.sandbox.script("reset_before_head;method=POST;path=/api/v1/task", role=role, times=1)
        assert (await one.order()).status == 504
        await fleet.settled()
        assert await fleet.used(KEY) == (0, DEV, DEV)
        assert (await other.order()).status == 429
        assert (await one.order()).status == 429
        ledger = build_ledger_service(other.gateway._store, other.gateway.services)
        [row] = (await ledger.held())["data"]
        assert row["held_usd"] == 0.015
        await ledger.release([row["id"]], "it was never bought", "test")
        assert (await ledger.held())["data"] == []
        assert await fleet.used(KEY) == (0, 0, 0)
        assert (await one.order()).status == 200


async def test_a_model_without_a_price_is_refused_on_a_budget_of_any_gateway(made: Any) -> None:
    async with made(2, budget("1/day")) as fleet:
        for member in fleet.members:
            answer = await member.chat(model="gpt-3.5-turbo")
            assert (answer.status, answer.error()["code"]) == (403, "model_not_allowed")
            assert (await member.chat(model="gpt-3.5-turbo", key=BOB)).status == 200


async def test_a_model_without_a_price_passes_where_allowed_while_anything_is_left(made: Any) -> None:
    async with made(2, budget("0.015/day") + "allow_unpriced: true\n") as fleet:
        one, other = fleet.members
        assert (await one.chat(model="gpt-3.5-turbo")).status == 200
        assert (await one.order()).status == 200
        assert (await other.chat(model="gpt-3.5-turbo")).status == 429


async def test_an_order_for_several_pictures_reserves_all_of_them(made: Any) -> None:
    async with made(2, budget("0.06/day")) as fleet:
        one, other = fleet.members
        assert (await one.order(n=3)).status == 200
        assert (await other.order(n=2)).status == 429
        await fleet.settled()
        assert await fleet.used(KEY) == (3 * DEV, 0, 0)
        assert (await other.order()).status == 200


IMAGE = 20_000_000
"""gpt-4o-image at PiAPI; its backup may take twelve times as much."""


async def test_a_dearer_way_is_reserved_for_only_when_it_is_taken(made: Any) -> None:
    async with made(2, budget("0.4/day")) as fleet:
        answers = await asyncio.gather(*(fleet.members[at % 2].order(model="gpt-4o-image") for at in range(20)))
        assert [answer.status for answer in answers] == [200] * 20
        await fleet.settled()
        assert await fleet.used(KEY) == (20 * IMAGE, 0, 0)


@pytest.mark.parametrize(("amount", "status"), [("0.1/day", 429), ("1/day", 200)])
async def test_a_dearer_way_is_taken_if_the_budget_of_all_can_pay_it(made: Any, amount: str, status: int) -> None:
    async with made(2, budget(amount)) as fleet:
        for role in ("api", "proxy"):
            fleet.sandbox.script("server_error", role=role, times=None)
        answer = await fleet.members[0].order(model="gpt-4o-image")
        assert answer.status == status
        assert ("backup" in {request.role for request in fleet.sandbox.requests}) == (status == 200)
        if status == 429:
            assert (answer.error()["code"], answer.header("x-should-retry")) == ("insufficient_quota", "false")
        await fleet.settled()
        charged, reserved, _ = await fleet.used(KEY)
        assert (charged > 0, reserved) == (status == 200, 0)


async def test_what_all_used_is_shown_by_each_and_told_once_it_is_crossed(made: Any) -> None:
    async with made(2, budget("0.03/day")) as fleet:
        one, other = fleet.members
        await one.order()
        await other.order()
        await fleet.settled()
        for member in fleet.members:
            budgets, clock = member.gateway.services.budgets.budgets, member.gateway.services.clock
            await eventually(
                lambda budgets=budgets, clock=clock: (
                    budgets.state(("key", "alice"), clock.wall_ns()).charged == 2 * DEV
                ),
                "a look at what all used",
            )
            await eventually(lambda member=member: len(member.lines("budget_crossed")) == 2, "crossings")


async def test_a_gateway_that_starts_counts_what_others_spent_and_hold(made: Any) -> None:
    async with made(1, budget("0.03/day")) as fleet:
        assert (await fleet.members[0].order()).status == 200
        await fleet.settled()
        fleet.sandbox.script("ok;method=POST;path=/api/v1/task;ready=4", times=1)
        running = asyncio.gather(fleet.members[0].order())
        await eventually(lambda: reserved(fleet), "a reservation")
        second = await fleet.add(budget("0.03/day"))
        refused = await second.order()
        assert (refused.status, refused.error()["code"]) == (429, "rate_limit_exceeded")
        assert (await running)[0].status == 200
        await fleet.settled()
        assert (await second.order()).status == 429
        assert fleet.members[0].gateway.services.budgets.budgets.amount_held("x") is None


async def test_what_a_gateway_had_open_that_is_taken_for_dead_is_held_and_settled_when_it_comes_back(made: Any) -> None:
    async with made(2, budget("0.03/day")) as fleet:
        one, other = fleet.members
        fleet.sandbox.script("ok;method=POST;path=/api/v1/task;ready=3", times=1)
        running = asyncio.gather(one.order())
        await eventually(lambda: reserved(fleet), "a reservation")
        assert await other.gateway.services.ledger.settle_left([one.gateway.services.gateway_id]) == 1
        assert await fleet.used(KEY) == (0, DEV, DEV)
        assert (await other.order()).status == 200
        assert (await other.order()).status == 429
        assert (await running)[0].status == 200
        await fleet.settled()
        assert await fleet.used(KEY) == (2 * DEV, 0, 0)
