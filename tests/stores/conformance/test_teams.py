"""What every engine remembers of teams: those that were in force, with the budgets they had last."""

from __future__ import annotations

from gateway.core.types import Budget
from gateway.stores.base import Store

from .conftest import Engine, Reopen

FIFTY, FIVE = Budget(50_000_000_000, "month"), Budget(5_000_000_000, "week")


async def test_nothing_is_known_of_a_store_that_is_not_there(engine: Engine) -> None:
    assert await engine.read().teams.seen() == {}


async def test_nothing_is_known_of_a_store_that_is_new(store: Store) -> None:
    assert await store.teams.seen() == {}


async def test_what_is_no_longer_in_force_stays_as_it_was_last(store: Store, engine: Engine) -> None:
    await store.teams.remember({"growth": FIFTY, "free": None, "ops": FIVE}, 1)
    await store.teams.remember({"growth": FIVE}, 2)
    assert await store.teams.seen() == {"growth": FIVE, "free": None, "ops": FIVE}
    assert await engine.read().teams.seen() == await store.teams.seen(), "beside the writer as well"


async def test_a_budget_that_was_taken_away_is_forgotten(store: Store) -> None:
    await store.teams.remember({"growth": FIFTY}, 1)
    await store.teams.remember({"growth": None}, 2)
    assert await store.teams.seen() == {"growth": None}


async def test_it_outlives_the_store_that_was_closed(store: Store, reopen: Reopen) -> None:
    await store.teams.remember({"growth": Budget(0, "total")}, 1)
    assert await (await reopen()).teams.seen() == {"growth": Budget(0, "total")}
