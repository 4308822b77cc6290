"""The keys of a PostgreSQL store, changed by a command beside the gateways that serve from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.stores.postgres.keys import PostgresKeys
from gateway.stores.postgres.migrating import migrate
from gateway.stores.postgres.reader import PostgresVisits


@asynccontextmanager
async def keys_beside_gateways(url: str, now_ns: int, making: Callable[[str], None]) -> AsyncIterator[PostgresKeys]:
    """The keys of a database; an empty one is made a store.

    ``making``: is told of the name of the store that is made. Raises StoreError, also for a store of another version.
    """
    visits = PostgresVisits(url)
    if not await visits.exists():
        async with visits.unchecked() as connection:
            made = await migrate(connection, now_ns, visits.name)
        if made:
            making(visits.name)
    yield PostgresKeys(visits)
