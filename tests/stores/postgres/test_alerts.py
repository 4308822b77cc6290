"""Alerts of budgets in PostgreSQL: several gateways reach the same budget's end, and it is told once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.core.types import Budget
from gateway.stores.engines import open_store
from gateway.stores.postgres.store import PostgresStore
from gateway.stores.records import StoredAlert
from tests.stores.makers import StoppedClock

ALERT = StoredAlert("msg_a", 5, ("key", "alice"), "80", Budget(50, "month"), 1, b"{}")


@pytest.fixture
async def fleet(postgres_url: str) -> AsyncIterator[list[PostgresStore]]:
    """Three gateways' stores on one database."""
    opened = [await open_store(postgres_url, StoppedClock(), f"gw_{number}") for number in range(3)]
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
