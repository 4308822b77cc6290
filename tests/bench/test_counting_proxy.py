"""What a proxy counts, at every split, and against what the engines themselves say."""

from __future__ import annotations

import asyncpg
import pytest
import redis.asyncio

from bench.counting_proxy import Counts, PostgresMessages, RedisCommands, counting
from tests.engines import PostgresServer, ValkeyServer
from tests.engines.fixtures import own_postgres, own_valkey

__all__ = ["own_postgres", "own_valkey"]


def message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


TLS = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
START = message(b"", (3 << 16).to_bytes(4, "big") + b"user\0gateway\0\0")
PREPARED = (
    message(b"P", b"\0SELECT 1\0\0\0") + message(b"B", b"\0" * 8) + message(b"E", b"\0\0\0\0\0") + message(b"S", b"")
)
SIMPLE = message(b"Q", b"BEGIN; QES\0")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 10_000])
@pytest.mark.parametrize("opening", [START, TLS + START])
def test_statements_of_postgresql_are_counted_at_every_split(opening: bytes, size: int) -> None:
    counts = Counts()
    messages = PostgresMessages(counts)
    talk = opening + PREPARED * 3 + SIMPLE + message(b"d", b"E" * 300)
    for start in range(0, len(talk), size):
        messages.feed(talk[start : start + size])
    assert (counts.statements, counts.trips) == (4, 4)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 10_000])
def test_commands_of_redis_are_counted_at_every_split(size: int) -> None:
    counts = Counts()
    commands = RedisCommands(counts)
    talk = b"*2\r\n$3\r\nGET\r\n$5\r\n*1\r\n$\r\n" + b"*1\r\n$4\r\nPING\r\n"
    for start in range(0, len(talk), size):
        commands.feed(talk[start : start + size])
    assert counts.statements == 2


async def test_postgresql_says_the_same(own_postgres: PostgresServer) -> None:
    with counting(own_postgres.port, PostgresMessages) as (port, counts):
        connection = await asyncpg.connect(host="127.0.0.1", port=port, user="gateway", database="postgres")
        before = counts.copy()
        for number in range(20):
            assert await connection.fetchval("SELECT $1::int", number) == number
        after = counts.since(before)
        await connection.close()
    assert after.statements == 20
    assert after.sent > 20 * 20
    assert after.received > 20 * 20


async def test_valkey_says_the_same(own_valkey: ValkeyServer) -> None:
    with counting(own_valkey.port, RedisCommands) as (port, counts):
        async with redis.asyncio.Redis(port=port) as client:
            await client.ping()
            before = counts.copy(), int((await client.info("stats"))["total_commands_processed"])
            for number in range(10):
                await client.set("name", number)
            async with client.pipeline(transaction=False) as pipeline:
                for _ in range(10):
                    pipeline.get("name")
                await pipeline.execute()
            ours = counts.since(before[0]).statements
            theirs = int((await client.info("stats"))["total_commands_processed"]) - before[1]
    assert ours == 21  # the second question for its own figures among them
    assert theirs == ours
