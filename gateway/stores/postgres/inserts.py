"""The statements that write the books: a batch of rows in one statement, a column of them in each parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson

from gateway.stores.postgres.writing import as_storable
from gateway.stores.records import ExchangeRecord, TaskRecord
from gateway.stores.settled_fields import attempt_fields

if TYPE_CHECKING:
    from gateway.stores.postgres.pool import Connection

MAX_ROWS = 1024
"""Rows a statement: some 300 KB."""

_INTENTS = """
WITH fresh AS (
    INSERT INTO intents (id, at_ns, key, team, route, model, request_id, reserved, paid, pieces, paid_by, gateway)
    SELECT *, $12::text FROM unnest(
        $1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
        $9::boolean[], $10::integer[], $11::text[]
    )
    ON CONFLICT DO NOTHING
    RETURNING id, at_ns, gateway
)
INSERT INTO open_intents (id, at_ns, gateway) SELECT id, at_ns, gateway FROM fresh ON CONFLICT DO NOTHING
"""

_SETTLEMENTS = """
WITH given AS (
    SELECT * FROM unnest(
        $1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
        $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::text[], $15::integer[],
        $16::text[], $17::bigint[], $18::text[], $19::bigint[], $20::bigint[]
    ) AS row (
        id, at_ns, state, upstream, endpoint, credential, attempts, input_tokens, cached_input_tokens, output_tokens,
        images, charged, upstream_cost, confidence, status, task_id, price, answered_model, cache_write_tokens,
        reasoning_tokens
    )
), taken AS (
    DELETE FROM open_intents AS o USING given AS g WHERE o.id = g.id RETURNING o.id, o.at_ns
), written AS (
    INSERT INTO settlements (
        id, intent_ns, at_ns, state, upstream, endpoint, credential, attempts, input_tokens, cached_input_tokens,
        output_tokens, images, charged, upstream_cost, confidence, status, task_id, price, answered_model,
        cache_write_tokens, reasoning_tokens
    )
    SELECT
        g.id, t.at_ns, g.at_ns, g.state, g.upstream, g.endpoint, g.credential, g.attempts::jsonb, g.input_tokens,
        g.cached_input_tokens, g.output_tokens, g.images, g.charged, g.upstream_cost, g.confidence, g.status,
        g.task_id, g.price, g.answered_model, g.cache_write_tokens, g.reasoning_tokens
    FROM given AS g JOIN taken AS t ON t.id = g.id
    ON CONFLICT DO NOTHING
)
SELECT id FROM taken
"""

_SETTLEMENT = """
INSERT INTO settlements (
    id, intent_ns, at_ns, state, upstream, endpoint, credential, attempts, input_tokens, cached_input_tokens,
    output_tokens, images, charged, upstream_cost, confidence, status, task_id, price, answered_model,
    cache_write_tokens, reasoning_tokens
)
VALUES (
    $1, $21, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20
)
ON CONFLICT DO NOTHING
"""

_LOST_INTENT = """
INSERT INTO intents (id, at_ns, key, team, route, model, request_id, reserved, paid, pieces, paid_by, gateway)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING
"""

_TASKS = """
INSERT INTO tasks (task_id, upstream, credential, exchange, key, model, at_ns)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])
ON CONFLICT DO NOTHING
"""

_UNBOOKABLE = "INSERT INTO unbookable (id, settlement, problem) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING"


@cache
def unfit() -> tuple[type[Exception], ...]:
    """Raised for a row that no store would take; any other error of asyncpg is about the store."""
    import asyncpg

    return (
        asyncpg.DataError,  # a number or a text that the column cannot hold, on our side or the server's
        asyncpg.IntegrityConstraintViolationError,  # a CHECK, a NOT NULL
        OverflowError,
        UnicodeEncodeError,
        TypeError,  # what orjson cannot write
    )


async def insert_intents(
    connection: Connection, intents: Sequence[ExchangeRecord], gateway: str, within: float
) -> None:
    """Commit intents in one statement; an id already there changes nothing. ``within``: seconds until TimeoutError."""
    columns = list(zip(*map(intent_row, intents), strict=True))
    await connection.execute(_INTENTS, *columns, gateway, timeout=within)


async def insert_settlements(
    connection: Connection, settlements: Sequence[ExchangeRecord], prices: Sequence[int | None], within: float
) -> set[str]:
    """Settle what is open, in one statement. Returns the ids that were: the others are for ``insert_settlement``.

    No id may be given twice.
    """
    rows = (_settlement_row(one, price) for one, price in zip(settlements, prices, strict=True))
    columns = list(zip(*rows, strict=True))
    taken = await connection.fetch(_SETTLEMENTS, *columns, timeout=within)
    return {row["id"] for row in taken}


async def insert_settlement(
    connection: Connection, settlement: ExchangeRecord, price: int | None, intent_ns: int
) -> bool:
    """Write one whose intent is not open; False if it was settled before. ``intent_ns``: when it came in."""
    status: str = await connection.execute(_SETTLEMENT, *_settlement_row(settlement, price), intent_ns)
    return status.endswith(" 1")


async def insert_lost_intent(connection: Connection, intent: ExchangeRecord, gateway: str) -> None:
    """Write the intent of what is settled in the same transaction, and not open."""
    await connection.execute(_LOST_INTENT, *intent_row(intent), gateway)


async def insert_tasks(connection: Connection, records: Sequence[TaskRecord]) -> None:
    """Write tasks; one its upstream is known for already changes nothing."""
    await connection.execute(_TASKS, *zip(*map(_task_row, records), strict=True))


async def set_aside(connection: Connection, settlement: ExchangeRecord, problem: BaseException) -> None:
    """Keep a settlement that ``settlements`` refuses, as text, with the reason."""
    await connection.execute(
        _UNBOOKABLE, _storable(settlement.id), _storable(repr(settlement)), _storable(str(problem))
    )


def _storable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def intent_row(intent: ExchangeRecord) -> tuple[Any, ...]:
    """What is written of an intent: the columns of ``insert_intents``, without the gateway."""
    return (
        intent.id,
        intent.at_ns,
        intent.key,
        intent.team,
        intent.route,
        as_storable(intent.model),  # a client's word
        as_storable(intent.request_id),
        intent.reserved,
        intent.paid,
        intent.pieces,
        intent.paid_by,
    )


def _settlement_row(settlement: ExchangeRecord, price: int | None) -> tuple[Any, ...]:
    usage = settlement.usage
    return (
        settlement.id,
        settlement.settled_ns,
        settlement.state,
        settlement.upstream,
        settlement.endpoint,
        settlement.credential,
        orjson.dumps([_attempt(fields) for fields in attempt_fields(settlement)]).decode(),
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.output_tokens,
        usage.images,
        settlement.charged,
        settlement.upstream_cost,
        settlement.confidence,
        settlement.status,
        _told(settlement.task_id),
        price,
        _told(settlement.answered_model),
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )


def _task_row(record: TaskRecord) -> tuple[Any, ...]:
    return (
        as_storable(record.task_id),
        record.upstream,
        record.credential,
        record.exchange,
        record.key,
        as_storable(record.model),
        record.at_ns,
    )


def _told(text: str | None) -> str | None:
    """What an upstream said, which may be any text: its money is booked under any name."""
    return None if text is None else as_storable(text)


def _attempt(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: as_storable(value) if isinstance(value, str) else value for name, value in fields.items()}
