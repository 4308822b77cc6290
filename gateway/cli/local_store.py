"""The books of a store that no gateway is running on, opened for a command as a gateway would open them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.billing.ledger import LedgerService
from gateway.config import Config
from gateway.runtime.ports import SystemClock
from gateway.stores.base import Store
from gateway.stores.engines import open_store, require_store
from gateway.upstream.dialer import SystemDialer
from gateway.upstream.pool import ConnectionPool


@asynccontextmanager
async def local_ledger_service(config: Config) -> AsyncIterator[tuple[LedgerService, list[str]]]:
    """The ledger's service, while this process has the store's lock; and sentences on what opening brought to light.

    A store that is not there is not made. Raises StoreInUse if another process has it, StoreError.
    """
    require_store(config.store)
    clock, pool = SystemClock(), ConnectionPool(SystemDialer())
    store = await open_store(config.store, clock)
    try:
        service = LedgerService(
            store,
            pool,
            upstreams=lambda: config.upstreams.values(),
            points_per_usd=lambda: config.points_per_usd,
            zone=lambda: config.time_zone,
            wall_ns=clock.wall_ns,
        )
        yield service, list(_found(store))
    finally:
        await pool.close()
        await store.close()


def _found(store: Store) -> list[str]:
    """What an earlier process had left; a gateway's log says the same when it starts."""
    found = []
    if store.booked_late:
        found.append(f"settlements of an earlier process, written into the ledger now: {store.booked_late}")
    if store.recovered:
        found.append(f"requests that the end of an earlier process cut short, their outcome unknown: {store.recovered}")
    return found
