from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.stores.postgres.migrating import migrate
from gateway.stores.postgres.pool import PostgresPool


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[PostgresPool]:
    """Connections to a new store that no gateway serves from."""
    opened = await PostgresPool.open(postgres_url, "test")
    async with opened.connection() as connection:
        await migrate(connection, 1, opened.name)
    yield opened
    await opened.close()
