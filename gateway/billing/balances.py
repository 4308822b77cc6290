"""The ledger held against PiAPI's own bill, for people and scripts: one row for each account and period between two
snapshots of its balance.

- ``drawn_usd``: what the account went down by; below 0 if it was topped up.
- ``owed_usd``: what the ledger says we owe for what came in between: billed, suspected duplicates and unknown.
- ``difference_usd``: drawn less owed. Above 0 PiAPI took more than we know of: tasks made elsewhere with the same
  account, or a mistake. Below 0: something in doubt was not bought after all, or is still under way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any

from gateway.core.pricing.calendar import iso_time
from gateway.core.pricing.prices import usd_number
from gateway.stores.records import Balance, BalancePeriod

MONEY = ("balance_then_usd", "balance_now_usd", "drawn_usd", "owed_usd", "difference_usd")
COLUMNS = ("upstream", "upstream_keys", "since", "until", *MONEY, "note")

FIRST = "the first snapshot: nothing to compare yet"
PRUNED = "rows of this time were pruned"
TOPPED_UP = "topped up in between"

Row = dict[str, Any]
_Key = tuple[str, str]


def balance_rows(periods: Iterable[BalancePeriod], taken: Mapping[Balance, str | None]) -> list[Row]:
    """The rows, by upstream, key and time. ``taken``: the snapshots just taken, each with its account's id if known.

    Keys of one account show the same balance, so they share a row, which has what is owed by all of them. A key that
    has no two snapshots yet has a row that says so.
    """
    shared = _shared(taken)
    rows = [_row(together) for together in _by_account(periods, shared)]
    seen = {(row["upstream"], key) for row in rows for key in row["upstream_keys"]}
    firsts: dict[_Key, tuple[Balance, list[str]]] = {}
    for balance in taken:
        key = (balance.upstream, balance.credential)
        if key not in seen:
            firsts.setdefault(shared[key], (balance, []))[1].append(balance.credential)
    rows += [_first_row(balance, keys) for balance, keys in firsts.values()]
    return sorted(rows, key=lambda row: (row["upstream"], row["upstream_keys"][0], row["since"] or ""))


def _shared(taken: Mapping[Balance, str | None]) -> dict[_Key, _Key]:
    """For each key the first one of the same account: itself, as far as is known."""
    leaders: dict[tuple[str, str], _Key] = {}
    shared: dict[_Key, _Key] = {}
    for balance, account in taken.items():
        key = (balance.upstream, balance.credential)
        shared[key] = key if account is None else leaders.setdefault((balance.upstream, account), key)
    return shared


def _by_account(periods: Iterable[BalancePeriod], shared: Mapping[_Key, _Key]) -> Iterator[list[BalancePeriod]]:
    """Periods between the same moments, of keys of the same account, together."""
    together: dict[tuple[_Key, int, int], list[BalancePeriod]] = {}
    for period in periods:
        key = (period.first.upstream, period.first.credential)
        place = (shared.get(key, key), period.first.at_ns, period.last.at_ns)
        together.setdefault(place, []).append(period)
    yield from together.values()


def _row(together: Sequence[BalancePeriod]) -> Row:
    period = together[0]
    owed = [each.owed for each in together if each.owed is not None]
    known = len(owed) == len(together)
    notes = [] if known else [PRUNED]
    if period.drawn < 0:
        notes.append(TOPPED_UP)
    return {
        "upstream": period.first.upstream,
        "upstream_keys": [each.first.credential for each in together],
        "since": iso_time(period.first.at_ns, UTC),
        "until": iso_time(period.last.at_ns, UTC),
        "balance_then_usd": usd_number(period.first.nano),
        "balance_now_usd": usd_number(period.last.nano),
        "drawn_usd": usd_number(period.drawn),
        "owed_usd": usd_number(sum(owed)) if known else None,
        "difference_usd": usd_number(period.drawn - sum(owed)) if known else None,
        "note": "; ".join(notes) or None,
    }


def _first_row(balance: Balance, keys: list[str]) -> Row:
    nothing = dict.fromkeys(COLUMNS)
    return {
        **nothing,
        "upstream": balance.upstream,
        "upstream_keys": keys,
        "until": iso_time(balance.at_ns, UTC),
        "balance_now_usd": usd_number(balance.nano),
        "note": FIRST,
    }
