"""Folding beside the work: a store that is served from folds by itself, now and then, and a server that is gone is no
error of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from gateway.stores.engines import open_store
from gateway.stores.postgres import folding
from gateway.stores.postgres.folding import LOCK, Folding, fold
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.postgres.store import PostgresStore
from tests.stores.makers import StoppedClock, intent, nothing_pending, settlement

from .books import reserve, settle


@pytest.fixture
async def store(postgres_url: str, tmp_path: Path) -> AsyncIterator[PostgresStore]:
    opened = await open_store(postgres_url, StoppedClock(), "gw_0123456789abcdef", tmp_path / "spill")
    assert isinstance(opened, PostgresStore)
    yield opened
    await opened.close()


async def counted(url: str, table: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        found: int = await connection.fetchval(f"SELECT count(*) FROM {table}")
        return found
    finally:
        await connection.close()


async def until_counted(url: str, table: str, count: int) -> None:
    async with asyncio.timeout(20):
        while await counted(url, table) != count:
            await asyncio.sleep(0.01)


async def test_a_store_that_is_watched_folds_but_not_at_every_look(store: PostgresStore, postgres_url: str) -> None:
    for identity in ("a", "b"):
        await store.ledger.reserve(intent(identity))
        store.ledger.settle(settlement(identity))
        await nothing_pending(store.ledger)
        assert await counted(postgres_url, "spent_changes") == 1
        assert await store.watch() == ""
        if identity == "a":
            await until_counted(postgres_url, "spent_changes", 0)
            assert await counted(postgres_url, "spent") == 2
    await asyncio.sleep(0.1)
    assert await counted(postgres_url, "spent_changes") == 1, "it waits for FOLD_EVERY"


async def test_where_another_gateway_folds_nothing_is_done(pool: PostgresPool, postgres_url: str) -> None:
    await reserve(pool, [intent("a")])
    await settle(pool, [settlement("a")])
    other = await asyncpg.connect(postgres_url)
    try:
        await other.execute("SELECT pg_advisory_lock($1)", LOCK)
        assert await fold(pool) == 0
        await other.execute("SELECT pg_advisory_unlock($1)", LOCK)
        assert await fold(pool) == 1
    finally:
        await other.close()


async def test_a_server_that_is_gone_is_told_of_elsewhere(
    pool: PostgresPool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "FOLD_EVERY", 0.0)
    await pool.close()
    folder = Folding(pool)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            folder.begin_if_due()
            await asyncio.sleep(0.01)
    await folder.close()
    assert caplog.records == []
