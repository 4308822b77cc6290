"""What every engine remembers of teams: those that were in force, with the budgets they had last."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.types import Budget
from gateway.runtime.ports import SystemClock
from gateway.stores.base import Store
from gateway.stores.engines import open_store, read_store

FIFTY, FIVE = Budget(50_000_000_000, "month"), Budget(5_000_000_000, "week")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'gateway.db'}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await open_store(url, SystemClock())
    yield opened
    await opened.close()


async def test_nothing_is_known_of_a_store_that_is_new_or_not_there(store: Store, tmp_path: Path) -> None:
    assert await store.teams.seen() == {}
    assert await read_store(f"sqlite:///{tmp_path / 'other.db'}").teams.seen() == {}


async def test_what_is_no_longer_in_force_stays_as_it_was_last(store: Store, url: str) -> None:
    await store.teams.remember({"growth": FIFTY, "free": None, "ops": FIVE}, 1)
    await store.teams.remember({"growth": FIVE}, 2)
    assert await store.teams.seen() == {"growth": FIVE, "free": None, "ops": FIVE}
    assert await read_store(url).teams.seen() == await store.teams.seen(), "beside the writer as well"


async def test_a_budget_that_was_taken_away_is_forgotten(store: Store) -> None:
    await store.teams.remember({"growth": FIFTY}, 1)
    await store.teams.remember({"growth": None}, 2)
    assert await store.teams.seen() == {"growth": None}


async def test_it_outlives_the_store_that_was_closed(url: str) -> None:
    first = await open_store(url, SystemClock())
    await first.teams.remember({"growth": Budget(0, "total")}, 1)
    await first.close()
    second = await open_store(url, SystemClock())
    try:
        assert await second.teams.seen() == {"growth": Budget(0, "total")}
    finally:
        await second.close()
