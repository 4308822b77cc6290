"""A database that is not fit to hold the books: it is left as it is, and the message says what to do."""

from __future__ import annotations

from contextlib import suppress

import pytest

from gateway.core.errors import StoreError
from gateway.stores.postgres.migrating import migrate
from gateway.stores.postgres.pool import PostgresPool
from tests.engines import PostgresServer


async def _refusal(url: str) -> str:
    pool = await PostgresPool.open(url, "test")
    try:
        with pytest.raises(StoreError) as refused:
            async with pool.connection() as connection:
                await migrate(connection, 1, pool.name)
        return str(refused.value)
    finally:
        await pool.close()


async def test_of_another_program(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    name = url.rpartition("/")[2]
    postgres_server.execute("CREATE TABLE keys (theirs INTEGER)", name)
    told = await _refusal(url)
    assert 'holds something else already (relation "keys" already exists)' in told
    assert told.endswith("Give the gateway a database of its own.")
    assert postgres_server.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", name) == "1"


async def test_of_another_encoding(postgres_server: PostgresServer) -> None:
    with suppress(AssertionError):  # an earlier test's
        postgres_server.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    told = await _refusal(postgres_server.url("latin"))
    assert "has the encoding LATIN1" in told
    assert "ENCODING 'UTF8'" in told


async def test_of_another_user(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    with suppress(AssertionError):
        postgres_server.execute("CREATE ROLE guest LOGIN")
    postgres_server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", url.rpartition("/")[2])
    told = await _refusal(url.replace("://gateway@", "://guest@"))
    assert "Its user must own the database: ALTER DATABASE" in told
