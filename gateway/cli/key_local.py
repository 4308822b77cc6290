"""The virtual keys of a store that no gateway is running on: read as they are, written under the store's lock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import tzinfo

from gateway.core.pricing.budget_errors import Holder
from gateway.core.pricing.budgets import UNKNOWN_HELD_NS, Budgets
from gateway.core.pricing.calendar import PeriodKind
from gateway.core.types import Budget
from gateway.keys.fields import KeyRules
from gateway.keys.hashing import open_pepper
from gateway.keys.service import KeyListing, KeyService
from gateway.stores.base import KeyReader, UsageReports
from gateway.stores.engines import change_keys, read_store


async def local_key_listing(
    store: str, rules: KeyRules, team_budgets: Mapping[str, Budget], wall_ns: Callable[[], int]
) -> KeyListing:
    """The keys of the store of this URL; what is used of their budgets comes from its ledger. Raises StoreError."""
    reader, now_ns = read_store(store), wall_ns()
    if not await reader.exists():
        return KeyListing(reader.keys, rules=lambda: rules, wall_ns=wall_ns)
    stored = await _stored_budgets(reader.keys)
    in_force: dict[str, Budget | None] = {**stored, **{key.name: key.budget for key in rules.file_keys}}
    limits: dict[Holder, Budget] = {("team", name): budget for name, budget in team_budgets.items()}
    limits |= {("key", name): budget for name, budget in in_force.items() if budget is not None}
    budgets = await read_budgets(reader.usage, limits, rules.zone, now_ns)
    return KeyListing(
        reader.keys, rules=lambda: rules, wall_ns=wall_ns, budget=lambda holder: budgets.state(holder, now_ns)
    )


@asynccontextmanager
async def local_key_service(
    store: str, rules: KeyRules, pepper: str, wall_ns: Callable[[], int]
) -> AsyncIterator[KeyService]:
    """The keys' service, while this process has the store's lock. ``pepper``: see ``open_pepper``.

    Raises StoreInUse if another process has the lock, StoreError.
    """
    with change_keys(store, wall_ns()) as (records, pepper_file):
        mark = await records.pepper_mark()
        yield KeyService(
            KeyListing(records, rules=lambda: rules, wall_ns=wall_ns),
            records,
            rules=lambda: rules,
            pepper=lambda: open_pepper(pepper_file, pepper, mark),
            wall_ns=wall_ns,
        )


async def read_budgets(reports: UsageReports, limits: Mapping[Holder, Budget], zone: tzinfo, now_ns: int) -> Budgets:
    """The budgets, with what the ledger says of them at this moment. Raises StoreError."""
    budgets = Budgets(zone, now_ns)
    budgets.configure(limits, now_ns)
    charged: dict[Holder, dict[PeriodKind, int]] = {holder: {} for holder in limits}
    for kind, period in budgets.periods(now_ns).items():
        if not any(limit.period == kind for limit in limits.values()):
            continue
        for (key, team), amount in (await reports.charged_since(period.start_ns)).items():
            for holder in _holders(key, team):
                if holder in limits:
                    charged[holder][kind] = charged[holder].get(kind, 0) + amount
    for holder, amounts in charged.items():
        budgets.load(holder, amounts)
    for row in await reports.held(now_ns):
        budgets.restore(row.id, _holders(row.key, row.team), row.reserved, row.at_ns, row.at_ns + UNKNOWN_HELD_NS)
    return budgets


def _holders(key: str, team: str | None) -> list[Holder]:
    return [("key", key)] if team is None else [("key", key), ("team", team)]


async def _stored_budgets(keys: KeyReader) -> dict[str, Budget]:
    """The budgets of all keys of the store that were not revoked."""
    found: dict[str, Budget] = {}
    page = await keys.page()
    while page:
        found |= {key.name: key.settings.budget for key in page if key.settings.budget is not None}
        page = await keys.page(after=page[-1].name)
    return found
