"""``stores.base.BalanceRecords``: what accounts went down by, beside what the ledger owes for the same time."""

from __future__ import annotations

from gateway.stores.base import Store
from gateway.stores.records import AttemptRecord, Balance
from tests.stores.makers import StoppedClock, intent, nothing_pending, settlement

from .conftest import Reopen

NOW = StoppedClock().wall_ns()
HOUR = 3600 * 1_000_000_000
EVER = 2**62


def balance(hour: int, nano: int, credential: str = "first") -> Balance:
    return Balance("piapi", credential, NOW + hour * HOUR, nano)


async def buy(store: Store, identity: str, at_ns: int, cost: int, credential: str = "first") -> None:
    attempt = AttemptRecord("piapi", "https://api.piapi.ai", credential, "ok", 4, cost=cost)
    await store.ledger.reserve(intent(identity, at_ns=at_ns))
    store.ledger.settle(settlement(identity, attempts=(attempt,), upstream_cost=cost, credential=credential))
    await nothing_pending(store.ledger)


async def told(store: Store) -> list[tuple[str, int, int | None]]:
    periods = await store.balances.periods(0, EVER)
    return [(period.first.credential, period.drawn, period.owed) for period in periods]


async def test_one_snapshot_makes_no_period(store: Store) -> None:
    await store.balances.record([balance(0, 1_000)])
    assert await told(store) == []


async def test_each_period_holds_what_came_in_between_its_snapshots(store: Store, reopen: Reopen) -> None:
    await store.balances.record([balance(0, 1_000), balance(1, 900), balance(2, 955)])
    await buy(store, "before", NOW - 1, 1)
    await buy(store, "first", NOW, 30)
    await buy(store, "last", NOW + HOUR - 1, 60)
    await buy(store, "next", NOW + HOUR, 45)
    expected = [("first", 100, 90), ("first", -55, 45)]
    assert await told(store) == expected
    assert await told(await reopen()) == expected


async def test_every_key_has_its_own_share_of_what_is_owed(store: Store) -> None:
    await store.balances.record([balance(0, 50), balance(1, 40), balance(0, 50, "second"), balance(1, 40, "second")])
    await buy(store, "a", NOW, 3)
    await buy(store, "b", NOW, 7, "second")
    assert await told(store) == [("first", 10, 3), ("second", 10, 7)]


async def test_the_first_snapshot_of_a_moment_counts(store: Store) -> None:
    await store.balances.record([balance(0, 10), balance(1, 4)])
    await store.balances.record([balance(1, 9)])
    assert await told(store) == [("first", 6, 0)]
