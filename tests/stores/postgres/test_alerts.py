"""Alerts of budgets in PostgreSQL: several gateways reach the same budget's end, and it is told once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.types import Budget
from gateway.stores.engines import open_store
from gateway.stores.gateway_records import GatewayState
from gateway.stores.postgres.store import PostgresStore
from gateway.stores.records import StoredAlert
from tests.stores.makers import StoppedClock

ALERT = StoredAlert("msg_a", 5, ("key", "alice"), "80", Budget(50, "month"), 1, b"{}")


@pytest.fixture
async def fleet(postgres_url: str, tmp_path: Path) -> AsyncIterator[list[PostgresStore]]:
    """Three gateways' stores on one database."""
    opened = [await open_store(postgres_url, StoppedClock(), f"gw_{number}", tmp_path / "spill") for number in range(3)]
    yield opened
    for store in opened:
        await store.close()


async def test_what_all_reach_at_once_is_raised_by_one(fleet: list[PostgresStore]) -> None:
    raised = await asyncio.gather(
        *(store.alerts.record(replace(ALERT, id=f"msg_{number}")) for number, store in enumerate(fleet))
    )
    assert sorted(raised) == [False, False, True]
    assert len((await fleet[0].alerts.known()).alerts) == 1


async def test_another_percentage_budget_or_period_is_another_alert(fleet: list[PostgresStore]) -> None:
    others = [
        replace(ALERT, id="msg_b", cause="100"),
        replace(ALERT, id="msg_c", budget=Budget(51, "month")),
        replace(ALERT, id="msg_d", budget=Budget(50, "day")),
        replace(ALERT, id="msg_e", period_start_ns=2),
        replace(ALERT, id="msg_f", holder=("key", "bob")),
    ]
    assert await fleet[0].alerts.record(ALERT)
    assert [await fleet[1].alerts.record(other) for other in others] == [True] * 5


async def test_the_same_gateway_may_raise_what_it_has_raised_before(fleet: list[PostgresStore]) -> None:
    assert await fleet[0].alerts.record(ALERT)
    assert await fleet[0].alerts.record(replace(ALERT, id="msg_b"))


def state_of(gateway: str) -> GatewayState:
    return GatewayState(gateway, 1, "1.0", "host", 7, "http://127.0.0.1:1", "http://127.0.0.1:2", 0, {})


async def test_what_a_gateway_is_about_to_tell_is_told_by_no_other_that_starts(fleet: list[PostgresStore]) -> None:
    first, second, third = fleet
    await first.gateways.beat(state_of("gw_0"))
    await first.alerts.record(ALERT)
    assert [alert.state for alert in (await first.alerts.known()).alerts] == ["pending"]
    assert [alert.state for alert in (await second.alerts.known()).alerts] == ["told"]
    await first.gateways.leave("gw_0")
    both = await asyncio.gather(second.alerts.known(), third.alerts.known())
    assert sorted(alert.state for known in both for alert in known.alerts) == ["pending", "told"], "one takes it over"
    await second.alerts.end("msg_a", "told")
    assert [alert.state for alert in (await third.alerts.known()).alerts] == ["told"]
