"""A store that no gateway is running on, opened by a command: read as it is, written under the store's lock."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.billing.budgets import budgets_of_keys, load_budgets
from gateway.billing.ledger import LedgerService
from gateway.cli.admin_client import local_user
from gateway.config import Config
from gateway.core.in_force import Held
from gateway.core.pricing.budgets import Budgets
from gateway.core.routing.route_table import RouteTable
from gateway.core.types import VirtualKey
from gateway.keys.fields import KeyRules
from gateway.keys.hashing import open_pepper
from gateway.keys.service import KeyListing, KeyService
from gateway.runtime.ports import SystemClock
from gateway.stores.base import KeyReader, Store
from gateway.stores.engines import change_keys, open_store, read_store, require_store
from gateway.upstream.dialer import SystemDialer
from gateway.upstream.pool import ConnectionPool


@asynccontextmanager
async def local_ledger_service(config: Config, notes: list[str]) -> AsyncIterator[LedgerService]:
    """The ledger's service, while this process has the store's lock. ``notes``: gets what opening brought to light.

    A store that is not there is not made. Raises StoreInUse if another process has it, StoreError.
    """
    await require_store(config.store)
    clock, pool = SystemClock(), ConnectionPool(SystemDialer())
    store = await open_store(config.store, clock)
    try:
        notes.extend(_left_behind(store))
        yield LedgerService(
            store,
            pool,
            Held(config),
            wall_ns=clock.wall_ns,
        )
    finally:
        await pool.close()
        await store.close()


async def local_key_listing(config: Config) -> KeyListing:
    """The store's keys, to be looked at; what is used of their budgets comes from its ledger. Raises StoreError."""
    reader, rules, now_ns = read_store(config.store), _key_rules(config), time.time_ns()
    if not await reader.exists():
        return KeyListing(reader.keys, rules=lambda: rules, wall_ns=time.time_ns)
    in_force = {key.name: key for key in (*await _stored_keys(reader.keys), *rules.file_keys)}
    teams = {name: team.budget for name, team in config.teams.items() if team.budget is not None}
    limits = budgets_of_keys(in_force.values()) | {("team", name): budget for name, budget in teams.items()}
    budgets = Budgets(rules.zone, now_ns, RouteTable(config.declared).names_of)
    budgets.configure(limits, now_ns)
    await load_budgets(budgets, reader.usage, now_ns)
    return KeyListing(
        reader.keys, rules=lambda: rules, wall_ns=time.time_ns, budget=lambda holder: budgets.state(holder, now_ns)
    )


@asynccontextmanager
async def local_key_service(config: Config, making: Callable[[str], None]) -> AsyncIterator[KeyService]:
    """The keys' service, while this process has the store's lock, or beside the gateways of a shared store; a store
    that is not there is made.

    ``making``: is told of it then.
    Raises StoreInUse if another process has the lock, StoreError.
    """
    rules = _key_rules(config)
    async with change_keys(config.store, time.time_ns(), making) as (records, pepper_file):
        mark = await records.pepper_mark()
        yield KeyService(
            KeyListing(records, rules=lambda: rules, wall_ns=time.time_ns),
            records,
            rules=lambda: rules,
            pepper=lambda: open_pepper(config.pepper_file(pepper_file), config.key_pepper, mark),
            wall_ns=time.time_ns,
            who=f"local user {local_user()}",
        )


async def refuse_without_store(config: Config, change: Callable[[KeyService], Awaitable[Any]]) -> None:
    """Raise what ``change`` would raise of keys in a new store, so that none is made for a change that is refused."""
    with tempfile.TemporaryDirectory(prefix="piapi-gateway-") as folder:
        rehearsal = replace(config, store=f"sqlite:///{Path(folder) / 'gateway.db'}")
        async with local_key_service(rehearsal, lambda _: None) as service:
            await change(service)


def _left_behind(store: Store) -> Iterator[str]:
    """What an earlier process had left; a gateway's log says the same when it starts."""
    if store.booked_late:
        yield f"settlements of an earlier process, written into the ledger now: {store.booked_late}"
    if store.recovered:
        yield f"requests that the end of an earlier process cut short, their outcome unknown: {store.recovered}"


def _key_rules(config: Config) -> KeyRules:
    from gateway.app.assembly import key_rules  # it brings most of a gateway along, which the ledger's commands spare

    return key_rules(config)


async def _stored_keys(keys: KeyReader) -> list[VirtualKey]:
    """All keys of the store that were not revoked."""
    found: list[VirtualKey] = []
    page = await keys.page()
    while page:
        found += [key.virtual_key() for key in page]
        page = await keys.page(after=page[-1].name)
    return found
