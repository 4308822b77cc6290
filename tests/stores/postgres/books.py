"""Books of a PostgreSQL store written by SQL, as a ledger writes them: what a reader is tested on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple
from typing import Any

import asyncpg
import orjson

from gateway.stores.postgres.booked_prices import BookedPrices
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.records import Correction, ExchangeRecord, TaskRecord
from gateway.stores.settled_fields import attempt_fields

_INTENTS = """
WITH made AS (
    INSERT INTO intents
    SELECT * FROM unnest(
        $1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
        $9::boolean[], $10::integer[], $11::text[], $12::text[]
    ) ON CONFLICT DO NOTHING RETURNING id, at_ns, gateway
)
INSERT INTO open_intents SELECT * FROM made
"""

_SETTLEMENTS = """
WITH settled AS (
    SELECT * FROM unnest(
        $1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
        $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::text[], $15::integer[],
        $16::bigint[]
    ) AS s (
        id, at_ns, state, upstream, endpoint, credential, attempts, input_tokens, cached_input_tokens, output_tokens,
        images, charged, upstream_cost, confidence, status, price
    )
), gone AS (
    DELETE FROM open_intents WHERE id IN (SELECT id FROM settled) RETURNING id, at_ns
)
INSERT INTO settlements (
    id, intent_ns, at_ns, state, upstream, endpoint, credential, attempts, input_tokens, cached_input_tokens,
    output_tokens, images, charged, upstream_cost, confidence, status, price, cache_write_tokens, reasoning_tokens
)
SELECT
    s.id, g.at_ns, s.at_ns, state, upstream, endpoint, credential, attempts::jsonb, input_tokens, cached_input_tokens,
    output_tokens, images, charged, upstream_cost, confidence, status, price, 0, 0
FROM settled AS s JOIN gone AS g ON g.id = s.id
"""


async def reserve(pool: PostgresPool, intents: Sequence[ExchangeRecord], gateway: str = "gw_test") -> None:
    """Intents, in one statement, and the months they need."""
    if not intents:
        return
    rows = [
        (one.id, one.at_ns, one.key, one.team, one.route, one.model, one.request_id, one.reserved, one.paid,
         one.pieces, one.paid_by, gateway)
        for one in intents
    ]  # fmt: skip
    async with pool.transaction() as connection:
        moments = [one.at_ns for one in intents]
        await connection.execute("SELECT make_ledger_months($1, $2)", min(moments), max(moments))
        await connection.execute(_INTENTS, *columns(rows))


async def settle(pool: PostgresPool, settlements: Sequence[ExchangeRecord]) -> None:
    """Settlements, in one statement; those that are not open are left out."""
    if not settlements:
        return
    prices = await BookedPrices(pool).numbers([(one.booked, one.settled_ns) for one in settlements])
    rows = [
        (one.id, one.settled_ns, one.state, one.upstream, one.endpoint, one.credential,
         orjson.dumps(attempt_fields(one)).decode(), one.usage.input_tokens, one.usage.cached_input_tokens,
         one.usage.output_tokens, one.usage.images, one.charged, one.upstream_cost, one.confidence, one.status, price)
        for one, price in zip(settlements, prices, strict=True)
    ]  # fmt: skip
    async with pool.transaction() as connection:
        await connection.execute(_SETTLEMENTS, *columns(rows))


async def correct(pool: PostgresPool, corrections: Iterable[Correction]) -> None:
    """Corrections, one after the other."""
    for one in corrections:
        [price] = await BookedPrices(pool).numbers([(one.price, one.at_ns)])
        async with pool.transaction() as connection:
            await connection.execute(
                "INSERT INTO corrections (id, intent_ns, at_ns, state, charged, upstream_cost, images, upstream, "
                "credential, reason, confidence, price) "
                "SELECT id, intent_ns, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM settlements WHERE id = $1",
                one.id, one.at_ns, one.state, one.charged, one.upstream_cost, one.images, one.upstream,
                one.credential, one.reason, one.confidence, price,
            )  # fmt: skip


async def record_tasks(pool: PostgresPool, tasks: Iterable[TaskRecord]) -> None:
    async with pool.connection() as connection:
        await connection.executemany(
            "INSERT INTO tasks (task_id, upstream, credential, exchange, key, model, at_ns) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7)",
            [astuple(task) for task in tasks],
        )


def columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


async def tamper(url: str, *statements: str) -> None:
    """Change a store as only its owner can: without its triggers."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET session_replication_role = replica")
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def empty(url: str) -> None:
    """Books of a store as new."""
    await tamper(
        url,
        "TRUNCATE intents, settlements, open_intents, tasks, corrections, spent, spent_changes, prunes, balances, "
        "booked_prices, audit, unbookable",
    )
