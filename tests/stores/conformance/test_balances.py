"""``stores.base.BalanceRecords``: what accounts went down by, beside what the ledger owes for the same time."""

from __future__ import annotations

from gateway.stores.base import Store
from gateway.stores.records import AttemptRecord, Balance, Correction
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


def attempt(cost: int, credential: str = "first", upstream: str = "piapi") -> AttemptRecord:
    return AttemptRecord(upstream, "https://a", credential, "ok", 4, cost)


async def tried(store: Store, identity: str, *attempts: AttemptRecord, state: str = "settled") -> None:
    await store.ledger.reserve(intent(identity, at_ns=NOW))
    cost = sum(each.cost for each in attempts)
    store.ledger.settle(settlement(identity, attempts=attempts, upstream_cost=cost, state=state))
    await nothing_pending(store.ledger)


async def test_every_attempt_counts_for_the_account_it_was_made_with(store: Store) -> None:
    accounts = [("piapi", "first"), ("piapi", "second"), ("backup", "first")]
    await store.balances.record([Balance(*account, NOW + hour * HOUR, 0) for hour in (0, 1) for account in accounts])
    await tried(store, "a", attempt(1), attempt(2, "second"), attempt(4, "first", "backup"), attempt(8, "second"))
    periods = await store.balances.periods(0, EVER)
    assert [(one.first.upstream, one.first.credential, one.owed) for one in periods] == [
        ("backup", "first", 4),
        ("piapi", "first", 1),
        ("piapi", "second", 10),
    ]


async def test_a_correction_counts_instead_of_the_attempts_it_corrects(store: Store) -> None:
    await store.balances.record([balance(0, 50), balance(1, 40), balance(0, 9, "second"), balance(1, 9, "second")])
    for identity in ("where it was", "elsewhere"):
        await tried(store, identity, attempt(20), state="unknown")
    assert [owed for *_, owed in await told(store)] == [40, 0]
    found = Correction("elsewhere", NOW, "settled", 7, 7, 1, "found there", upstream="piapi", credential="second")
    await store.ledger.correct(Correction("where it was", NOW, "settled", 5, 5, 1, "task completed"))
    await store.ledger.correct(found)
    assert [owed for *_, owed in await told(store)] == [5, 7]


async def test_where_rows_were_pruned_nothing_is_claimed(store: Store) -> None:
    await store.balances.record([balance(hour, 100 - hour) for hour in range(5)])
    await tried(store, "a", attempt(20))
    await store.ledger.prune(NOW + 2 * HOUR, NOW + 3 * HOUR)  # back to the full hour before
    assert [owed for *_, owed in await told(store)] == [None, None, 0, 0]


async def test_only_snapshots_of_the_window_and_at_least_two(store: Store) -> None:
    await store.balances.record([balance(hour, 0) for hour in range(3)])
    assert len(await store.balances.periods(NOW, NOW + 2 * HOUR)) == 1
    assert len(await store.balances.periods(NOW, NOW + 2 * HOUR + 1)) == 2
    assert await store.balances.periods(NOW + 1, NOW + 2 * HOUR) == []
