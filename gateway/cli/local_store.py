"""A store that no gateway is running on, opened by a command: read as it is, written under the store's lock."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import tzinfo
from functools import partial
from pathlib import Path
from typing import TypeVar

from gateway.billing.ledger import LedgerService
from gateway.config import Config
from gateway.core.errors import StoreError
from gateway.core.pricing.budget_errors import Holder
from gateway.core.pricing.budgets import UNKNOWN_HELD_NS, Budgets
from gateway.core.pricing.calendar import PeriodKind
from gateway.core.types import Budget
from gateway.keys.fields import KeyRules
from gateway.keys.hashing import open_pepper
from gateway.keys.key_book import KeyBook
from gateway.keys.service import KeyService
from gateway.runtime.ports import SystemClock
from gateway.stores.sqlite.keys import KeyStore, list_keys, pepper_mark
from gateway.stores.sqlite.ledger import SQLiteLedger, store_path
from gateway.stores.sqlite.lock import StoreLock
from gateway.stores.sqlite.open_exchanges import charged_since, held
from gateway.stores.sqlite.schema import open_for_writing, reading
from gateway.stores.sqlite.writer_jobs import Job
from gateway.upstream.dialer import SystemDialer
from gateway.upstream.pool import ConnectionPool

T = TypeVar("T")


@asynccontextmanager
async def open_ledger_service(config: Config, notes: list[str]) -> AsyncIterator[LedgerService]:
    """What changes the ledger, while this process has the store's lock. ``notes``: gets what opening brought to light.

    A store that is not there is not made. Raises StoreInUse if another process has it, StoreError.
    """
    path = store_path(config.store)
    with reading(path):
        pass
    clock, pool = SystemClock(), ConnectionPool(SystemDialer())
    ledger = await SQLiteLedger.open(path, clock=clock)
    try:
        notes.extend(_left_behind(ledger))
        yield LedgerService(
            ledger,
            pool,
            upstreams=lambda: config.upstreams.values(),
            points_per_usd=lambda: config.points_per_usd,
            zone=lambda: config.time_zone,
            wall_ns=clock.wall_ns,
        )
    finally:
        await pool.close()
        await ledger.close()


def _left_behind(ledger: SQLiteLedger) -> Iterator[str]:
    """What an earlier process had left; a gateway's log says the same when it starts."""
    if ledger.booked_late:
        yield f"settlements of an earlier process, written into the ledger now: {ledger.booked_late}"
    if ledger.recovered:
        yield f"requests that the end of an earlier process cut short, their outcome unknown: {ledger.recovered}"


def reading_keys(config: Config) -> KeyBook:
    """The keys, to be looked at; what is used of their budgets comes from the ledger. Raises StoreError."""
    store, rules, now_ns = store_path(config.store).resolve(), _key_rules(config), time.time_ns()
    book = partial(KeyBook, store, rules=lambda: rules, wall_ns=time.time_ns)
    if not store.exists():
        return book()
    limits: dict[Holder, Budget] = {
        ("team", team.name): team.budget for team in config.teams.values() if team.budget is not None
    }
    in_force: dict[str, Budget | None] = {**_stored_budgets(store), **{key.name: key.budget for key in rules.file_keys}}
    limits |= {("key", name): budget for name, budget in in_force.items() if budget is not None}
    budgets = _read_budgets(store, limits, rules.zone, now_ns)
    return book(budget=lambda holder: budgets.state(holder, now_ns))


@contextmanager
def writing_keys(config: Config) -> Iterator[KeyService]:
    """What changes the keys, while this process has the store's lock; a store that is not there is made.

    Raises StoreInUse if another process has the lock, StoreError.
    """
    store, rules = store_path(config.store).resolve(), _key_rules(config)
    lock = StoreLock.take(store)
    try:
        with closing(open_for_writing(store, time.time_ns())) as connection:
            connection.execute("PRAGMA synchronous = FULL")  # what is told as done is on the disk
            yield KeyService(
                KeyBook(store, rules=lambda: rules, wall_ns=time.time_ns),
                KeyStore(DirectWriter(connection, store)),
                rules=lambda: rules,
                pepper=lambda: open_pepper(store, config.key_pepper, pepper_mark(store)),
                wall_ns=time.time_ns,
            )
    finally:
        lock.release()


class DirectWriter:
    """The one writer of a store that no gateway has open: runs jobs at once, in the caller's thread."""

    def __init__(self, connection: sqlite3.Connection, store: Path) -> None:
        self._connection = connection
        self._store = store

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in a transaction; raise what it raises, StoreError if the store cannot be written."""
        job = Job(work)
        try:
            job.run(self._connection)
        except sqlite3.Error as error:
            raise StoreError(
                f"{self._store} cannot be written: {error}. Check its disk and who else has it open."
            ) from error
        result: T = job.done.result()
        return result


def _read_budgets(store: Path, limits: Mapping[Holder, Budget], zone: tzinfo, now_ns: int) -> Budgets:
    """The budgets, with what the ledger says of them at this moment. Raises StoreError."""
    budgets = Budgets(zone, now_ns)
    budgets.configure(limits, now_ns)
    charged: dict[Holder, dict[PeriodKind, int]] = {holder: {} for holder in limits}
    for kind, period in budgets.periods(now_ns).items():
        if not any(limit.period == kind for limit in limits.values()):
            continue
        for (key, team), amount in charged_since(store, period.start_ns).items():
            for holder in _holders(key, team):
                if holder in limits:
                    charged[holder][kind] = charged[holder].get(kind, 0) + amount
    for holder, amounts in charged.items():
        budgets.load(holder, amounts)
    for row in held(store, now_ns):
        budgets.restore(row.id, _holders(row.key, row.team), row.reserved, row.at_ns, row.at_ns + UNKNOWN_HELD_NS)
    return budgets


def _key_rules(config: Config) -> KeyRules:
    from gateway.app.assembly import (
        key_rules,
    )  # it brings most of a gateway along, which the ledger's commands do without

    return key_rules(config)


def _holders(key: str, team: str | None) -> list[Holder]:
    return [("key", key)] if team is None else [("key", key), ("team", team)]


def _stored_budgets(store: Path) -> dict[str, Budget]:
    """The budgets of all keys of the store that were not revoked."""
    found: dict[str, Budget] = {}
    page = list_keys(store)
    while page:
        found |= {key.name: key.settings.budget for key in page if key.settings.budget is not None}
        page = list_keys(store, after=page[-1].name)
    return found
