"""The books of a store that no gateway is running on, opened for a command as a gateway would open them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.billing.ledger import LedgerService
from gateway.config import Config
from gateway.runtime.ports import SystemClock
from gateway.stores.sqlite.ledger import SQLiteLedger, store_path
from gateway.stores.sqlite.schema import reading
from gateway.upstream.dialer import SystemDialer
from gateway.upstream.pool import ConnectionPool


@asynccontextmanager
async def local_desk(config: Config) -> AsyncIterator[tuple[LedgerService, list[str]]]:
    """The desk, while this process has the store's lock; and sentences on what opening brought to light.

    A store that is not there is not made. Raises StoreInUse if another process has it, StoreError.
    """
    path = store_path(config.store)
    with reading(path):
        pass
    clock, pool = SystemClock(), ConnectionPool(SystemDialer())
    ledger = await SQLiteLedger.open(path, clock=clock)
    try:
        desk = LedgerService(
            ledger,
            pool,
            upstreams=lambda: config.upstreams.values(),
            points_per_usd=lambda: config.points_per_usd,
            zone=lambda: config.time_zone,
            wall_ns=clock.wall_ns,
        )
        yield desk, list(_found(ledger))
    finally:
        await pool.close()
        await ledger.close()


def _found(ledger: SQLiteLedger) -> list[str]:
    """What an earlier process had left; a gateway's log says the same when it starts."""
    found = []
    if ledger.booked_late:
        found.append(f"settlements of an earlier process, written into the ledger now: {ledger.booked_late}")
    if ledger.recovered:
        found.append(
            f"requests that the end of an earlier process cut short, their outcome unknown: {ledger.recovered}"
        )
    return found
