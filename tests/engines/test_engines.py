"""The engines of the tests are what they say: real servers that can be stalled, stopped, killed and started again."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
import redis

from . import PostgresServer, ValkeyServer


async def test_each_database_is_new_and_empty(postgres_server: PostgresServer) -> None:
    for _ in range(2):
        connection = await asyncpg.connect(postgres_server.new_database())
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        await connection.execute("CREATE TABLE own (id integer)")
        await connection.close()


async def test_a_postgres_that_is_stopped_cuts_connections_and_comes_back_with_its_rows(
    own_postgres: PostgresServer,
) -> None:
    url = own_postgres.new_database()
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE own (id integer)")
    own_postgres.stop()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.execute("SELECT 1")
    own_postgres.start()
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT count(*) FROM own") == 0
    await connection.close()


async def test_a_postgres_that_is_paused_answers_later(own_postgres: PostgresServer) -> None:
    connection = await asyncpg.connect(own_postgres.new_database())
    own_postgres.pause()
    with pytest.raises(TimeoutError):
        await connection.execute("SELECT 1", timeout=0.2)
    own_postgres.resume()
    await connection.close(timeout=5)
    connection = await asyncpg.connect(own_postgres.new_database())
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_a_valkey_that_is_paused_answers_later_and_one_that_was_killed_is_empty(own_valkey: ValkeyServer) -> None:
    client = redis.Redis(port=own_valkey.port, socket_timeout=0.2)
    client.set("a", "b")
    own_valkey.pause()
    with pytest.raises(redis.RedisError):
        await asyncio.to_thread(client.get, "a")
    own_valkey.resume()
    assert client.get("a") == b"b"
    own_valkey.kill()
    own_valkey.start()
    assert client.get("a") is None
    client.close()
