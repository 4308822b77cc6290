"""What takes long leaves connections to what must not wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest

from gateway.stores.postgres.pool import MOST_CONNECTIONS, REPORTS_AT_ONCE
from gateway.stores.postgres.store import PostgresStore

from .ledgers import open_books
from .test_gateways import STATE


@pytest.fixture
async def store(postgres_url: str, tmp_path: Path) -> AsyncIterator[PostgresStore]:
    opened = await open_books(postgres_url, tmp_path)
    yield opened
    await opened.close()


async def test_a_gateway_says_that_it_lives_whatever_the_others_are_taken_for(store: PostgresStore) -> None:
    async with AsyncExitStack() as taken:
        for _ in range(MOST_CONNECTIONS):
            await taken.enter_async_context(store._pool.connection())
        await store.gateways.beat(replace(STATE, id="gw_a"))
        assert [one.live for one in await store.gateways.all()] == [True]


async def test_reports_that_take_long_keep_no_change_of_a_key_from_being_seen(store: PostgresStore) -> None:
    loop = asyncio.get_running_loop()
    async with store._pool.transaction() as locking:
        await locking.execute("LOCK TABLE spent IN ACCESS EXCLUSIVE MODE")
        reports = [
            loop.create_task(store.usage.usage(since_ns=0, until_ns=1, by=["day"], time_zone=UTC))
            for _ in range(2 * MOST_CONNECTIONS)
        ]
        async with asyncio.timeout(20):
            while await locking.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < REPORTS_AT_ONCE:
                await asyncio.sleep(0.01)
        assert await store.keys.version() >= 0
    assert await asyncio.gather(*reports) == [[]] * len(reports)
