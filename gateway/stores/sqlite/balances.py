"""Holding the ledger against the upstream's own bill: snapshots of what is left on an account, and what lies between.

Reading blocks: a server calls it in a thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path

from gateway.stores.records import Balance, BalancePeriod
from gateway.stores.sqlite.rollup import pruned_before
from gateway.stores.sqlite.schema import reading


def record(connection: sqlite3.Connection, balances: Sequence[Balance]) -> None:
    """Inside a transaction of the writer's: keep snapshots. A second one of the same moment changes nothing."""
    connection.executemany(
        "INSERT INTO balances (upstream, credential, at_ns, balance_nano) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(balance.upstream, balance.credential, balance.at_ns, balance.nano) for balance in balances],
    )


def balance_periods(path: Path, since_ns: int, until_ns: int) -> list[BalancePeriod]:
    """The periods between snapshots taken at ``since_ns <= at < until_ns``, by upstream, key and time.

    What was in flight at a snapshot counts where it came in, the upstream may bill it a period later. Two keys of one
    account show the same balance, each with its own share of what is owed. Raises StoreError.
    """
    with reading(path) as store:
        snapshots = [
            Balance(*row)
            for row in store.execute(
                "SELECT upstream, credential, at_ns, balance_nano FROM balances WHERE at_ns >= ? AND at_ns < ? "
                "ORDER BY upstream, credential, at_ns",
                (since_ns, until_ns),
            )
        ]
        return list(_periods(store, snapshots))


def _periods(store: sqlite3.Connection, snapshots: Sequence[Balance]) -> Iterator[BalancePeriod]:
    pruned = pruned_before(store)
    for _, own in groupby(snapshots, key=lambda balance: (balance.upstream, balance.credential)):
        for first, last in pairwise(own):
            yield BalancePeriod(first, last, None if first.at_ns < pruned else _owed(store, first, last.at_ns))


def _owed(store: sqlite3.Connection, first: Balance, end_ns: int) -> int:
    """What all attempts with a key cost; where an exchange was corrected, what the correction says instead."""
    (owed,) = store.execute(
        "SELECT (SELECT coalesce(sum(a.value ->> '$.cost'), 0) "
        "FROM intents AS i JOIN settlements AS s ON s.id = i.id, json_each(s.attempts) AS a "
        "WHERE i.at_ns >= :first AND i.at_ns < :end "
        "AND a.value ->> '$.upstream' = :upstream AND a.value ->> '$.credential' = :credential "
        "AND NOT EXISTS (SELECT 1 FROM corrections AS c WHERE c.id = s.id)) "
        "+ (SELECT coalesce(sum(c.upstream_cost), 0) "
        "FROM corrections AS c JOIN settlements AS s ON s.id = c.id JOIN intents AS i ON i.id = c.id "
        "WHERE i.at_ns >= :first AND i.at_ns < :end "
        "AND coalesce(c.upstream, s.upstream) = :upstream AND coalesce(c.credential, s.credential) = :credential)",
        {"first": first.at_ns, "end": end_ns, "upstream": first.upstream, "credential": first.credential},
    ).fetchone()
    return int(owed)
