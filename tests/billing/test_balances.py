"""The rows of a reconciliation: one for each account and period, with words where figures would mislead."""

from __future__ import annotations

import csv
from typing import Any

from gateway.billing.balances import COLUMNS, FIRST, PRUNED, TOPPED_UP, balance_rows
from gateway.cli.tables import reconciliation_csv
from gateway.cli.tables import reconciliation_table as table
from gateway.stores.records import Balance, BalancePeriod

HOUR = 3600 * 10**9
START = 1_700_000_000_000_000_000 // HOUR * HOUR
CENT = 10_000_000


def balance(hour: int, nano: int, key: str = "first", upstream: str = "piapi") -> Balance:
    return Balance(upstream, key, START + hour * HOUR, nano)


def period(hour: int, then: int, now: int, owed: int | None, key: str = "first") -> BalancePeriod:
    return BalancePeriod(balance(hour, then, key), balance(hour + 1, now, key), owed)


def figures(row: dict[str, Any]) -> list[Any]:
    return [row[name] for name in ("balance_then_usd", "balance_now_usd", "drawn_usd", "owed_usd", "difference_usd")]


def test_what_was_drawn_is_held_against_what_is_owed() -> None:
    [row] = balance_rows([period(0, 100 * CENT, 90 * CENT, 9 * CENT)], {})
    assert tuple(row) == COLUMNS
    assert (row["upstream"], row["upstream_keys"], row["note"]) == ("piapi", ["first"], None)
    assert (row["since"], row["until"]) == ("2023-11-14T22:00:00Z", "2023-11-14T23:00:00Z")
    assert figures(row) == [1.0, 0.9, 0.1, 0.09, 0.01]


def test_the_first_snapshot_has_nothing_to_be_compared_with() -> None:
    [row] = balance_rows([], {balance(0, 5 * CENT): None})
    assert tuple(row) == COLUMNS
    assert (row["since"], row["until"], row["note"]) == (None, "2023-11-14T22:00:00Z", FIRST)
    assert figures(row) == [None, 0.05, None, None, None]


def test_a_top_up_and_a_pruned_time_are_named() -> None:
    topped, pruned = balance_rows([period(0, CENT, 11 * CENT, CENT), period(1, 11 * CENT, 12 * CENT, None)], {})
    assert (topped["note"], figures(topped)[2:]) == (TOPPED_UP, [-0.1, 0.01, -0.11])
    assert (pruned["note"], figures(pruned)[2:]) == (f"{PRUNED}; {TOPPED_UP}", [-0.01, None, None])


def test_keys_of_one_account_share_a_row_and_what_is_owed() -> None:
    periods = [period(0, 100 * CENT, 90 * CENT, owed, key) for key, owed in (("first", CENT), ("third", 9 * CENT))]
    periods += [period(0, 70 * CENT, 70 * CENT, 0, "second")]
    taken = {
        balance(1, 90 * CENT, "first"): "account-a",
        balance(1, 70 * CENT, "second"): "account-b",
        balance(1, 90 * CENT, "third"): "account-a",
        balance(1, 90 * CENT, "fourth"): "account-a",
        balance(1, 90 * CENT, "elsewhere", "other"): "account-a",
    }
    rows = balance_rows(periods, taken)
    assert [(row["upstream"], row["upstream_keys"], row["owed_usd"], row["note"]) for row in rows] == [
        ("other", ["elsewhere"], None, FIRST),
        ("piapi", ["first", "third"], 0.1, None),
        ("piapi", ["fourth"], None, FIRST),
        ("piapi", ["second"], 0.0, None),
    ]


def test_keys_whose_account_is_not_known_stand_alone() -> None:
    rows = balance_rows([], {balance(0, CENT, "first"): None, balance(0, CENT, "second"): None})
    assert [row["upstream_keys"] for row in rows] == [["first"], ["second"]]


def test_if_the_rows_of_one_of_them_were_pruned_nothing_is_claimed() -> None:
    periods = [period(0, CENT, 0, owed, key) for key, owed in (("first", None), ("second", 5))]
    taken = {balance(1, 0, "first"): "a", balance(1, 0, "second"): "a"}
    [row] = balance_rows(periods, taken)
    assert (row["owed_usd"], row["difference_usd"], row["note"]) == (None, None, PRUNED)


def test_periods_follow_one_another() -> None:
    periods = [period(hour, 10 - hour, 9 - hour, 1) for hour in range(3)]
    assert [row["since"][11:13] for row in balance_rows(periods, {balance(3, 7): "a"})] == ["22", "23", "00"]


def test_the_table_and_the_csv_say_the_same() -> None:
    rows = balance_rows(
        [period(0, 100 * CENT, 90 * CENT, 9 * CENT, key) for key in ("first", "second")],
        {balance(1, 90 * CENT, "first"): "a", balance(1, 90 * CENT, "second"): "a", balance(1, 5, "new"): None},
    )
    head, shared, first = table(rows).split("\n")
    assert head.split() == " ".join(COLUMNS).replace("_", " ").split()
    assert shared.split() == [
        "piapi", "first,", "second", "2023-11-14T22:00:00Z", "2023-11-14T23:00:00Z",
        "1.00", "0.90", "0.10", "0.18", "-0.08", "-",
    ]  # fmt: skip
    assert first.endswith(FIRST)
    read, unread = csv.DictReader(reconciliation_csv(rows).splitlines())
    assert (read["upstream_keys"], read["difference_usd"], read["note"]) == ("first, second", "-0.08", "")
    assert (unread["balance_now_usd"], unread["since"], unread["note"]) == ("0.000000005", "", FIRST)
