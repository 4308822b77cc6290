"""The ledger held against the upstream's bill: what an account went down by, and what the books say it owes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.errors import GatewayFault
from gateway.stores.records import AttemptRecord, Balance, BalancePeriod, Correction
from gateway.stores.sqlite.balances import balance_periods
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.store import SQLiteBalances

from .books import StoppedClock, intent, nothing_pending, rows, settlement

HOUR_NS = 3_600 * 10**9
START = StoppedClock().wall_ns() // HOUR_NS * HOUR_NS
EVER = 2**63 - 1


def balance(hour: int, nano: int, credential: str = "first", upstream: str = "piapi") -> Balance:
    return Balance(upstream, credential, START + hour * HOUR_NS, nano)


def attempt(cost: int, credential: str = "first", upstream: str = "piapi") -> AttemptRecord:
    return AttemptRecord(upstream, "https://a", credential, "ok", 4, cost)


async def bought(ledger: SQLiteLedger, identity: str, at_ns: int, *attempts: AttemptRecord, state="settled") -> None:
    await ledger.reserve(intent(identity, at_ns=at_ns))
    cost = sum(each.cost for each in attempts)
    ledger.settle(settlement(identity, attempts=attempts, upstream_cost=cost, state=state))
    await nothing_pending(ledger)


def owed(path: Path) -> list[tuple[str, str, int, int | None, int | None]]:
    return [
        (period.first.upstream, period.first.credential, period.drawn, period.owed, period.difference)
        for period in balance_periods(path, 0, EVER)
    ]


async def test_each_period_holds_what_came_in_between_its_snapshots(ledger: SQLiteLedger, path: Path):
    await SQLiteBalances(ledger).record([balance(0, 1_000), balance(1, 900), balance(2, 955)])
    await bought(ledger, "before", START - 1, attempt(1))
    await bought(ledger, "first", START, attempt(30))
    await bought(ledger, "last", START + HOUR_NS - 1, attempt(60))
    await bought(ledger, "next", START + HOUR_NS, attempt(45))
    await bought(ledger, "after", START + 2 * HOUR_NS, attempt(7))
    assert balance_periods(path, 0, EVER) == [
        BalancePeriod(balance(0, 1_000), balance(1, 900), 90),
        BalancePeriod(balance(1, 900), balance(2, 955), 45),
    ]
    assert owed(path) == [("piapi", "first", 100, 90, 10), ("piapi", "first", -55, 45, -100)], "topped up by 100"


async def test_every_attempt_counts_for_the_key_it_was_made_with(ledger: SQLiteLedger, path: Path):
    await SQLiteBalances(ledger).record(
        [balance(hour, 0, *whose) for hour in (0, 1) for whose in (("first",), ("second",), ("first", "backup"))]
    )
    await bought(
        ledger, "a", START, attempt(1), attempt(2, "second"), attempt(4, "first", "backup"), attempt(8, "second")
    )
    assert [(upstream, credential, cost) for upstream, credential, _, cost, _ in owed(path)] == [
        ("backup", "first", 4),
        ("piapi", "first", 1),
        ("piapi", "second", 10),
    ]


async def test_a_correction_counts_instead_of_the_attempts_it_corrects(ledger: SQLiteLedger, path: Path):
    both = [balance(0, 100), balance(1, 50), balance(0, 9, "second"), balance(1, 9, "second")]
    await SQLiteBalances(ledger).record(both)
    for identity in ("where it was", "elsewhere"):
        await bought(ledger, identity, START, attempt(20), state="unknown")
    assert [cost for *_, cost, _ in owed(path)] == [40, 0]
    await ledger.correct(Correction("where it was", START, "settled", 5, 5, 1, "task completed"))
    await ledger.correct(
        Correction("elsewhere", START, "settled", 7, 7, 1, "found there", upstream="piapi", credential="second")
    )
    assert [cost for *_, cost, _ in owed(path)] == [5, 7]


async def test_where_rows_were_pruned_nothing_is_claimed(ledger: SQLiteLedger, path: Path):
    await SQLiteBalances(ledger).record([balance(hour, 100 - hour) for hour in range(4)])
    await bought(ledger, "a", START, attempt(20))
    await ledger.prune(START + 2 * HOUR_NS, START + 3 * HOUR_NS)
    assert [(cost, difference) for *_, cost, difference in owed(path)] == [(None, None), (None, None), (0, 1)]


async def test_only_snapshots_of_the_window_and_at_least_two(ledger: SQLiteLedger, path: Path):
    await SQLiteBalances(ledger).record([balance(hour, 0) for hour in range(3)])
    assert len(balance_periods(path, START, START + 2 * HOUR_NS)) == 1
    assert len(balance_periods(path, START, START + 2 * HOUR_NS + 1)) == 2
    assert balance_periods(path, START + 1, START + 2 * HOUR_NS) == []


async def test_snapshots_are_kept_as_they_were_taken(ledger: SQLiteLedger, path: Path):
    await SQLiteBalances(ledger).record([balance(0, -5)])
    await SQLiteBalances(ledger).record([balance(0, 7)])
    await ledger.close()
    assert rows(path, "SELECT balance_nano FROM balances") == [-5]
    for statement in ("UPDATE balances SET balance_nano = 0", "DELETE FROM balances"):
        with closing(sqlite3.connect(path)) as owner, pytest.raises(sqlite3.IntegrityError, match="append-only"):
            owner.execute(statement)
    with pytest.raises(GatewayFault):
        await SQLiteBalances(ledger).record([balance(1, 0)])
