"""Letting old rows go: what is over leaves the tables, what it adds up to stays in the roll-up.

A month that is wholly old leaves as a table: what of it is not over yet, little, is laid into a new one. Of the month
that the moment lies in, rows leave hour by hour. Requests are served in between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gateway.core import errors
from gateway.core.errors import StoreError
from gateway.stores.postgres.rollup import LONG
from gateway.stores.records import HOUR_NS, Pruned, prunable_before
from gateway.stores.spans import HOUR, floor_ns

if TYPE_CHECKING:
    import asyncpg

    from gateway.stores.postgres.pool import PostgresPool

LOCK = 0x7072756E
"""The advisory lock of the one that prunes."""

TRIES = 10
"""How often a month's tables are asked for, each time for a moment, before its rows leave hour by hour after all."""

log = logging.getLogger("gateway.stores")

_ENDED = (
    "count(*) FILTER (WHERE coalesce(c.state, s.state) = 'settled'), "
    "count(*) FILTER (WHERE coalesce(c.state, s.state) = 'released')"
)

_HOUR = """
WITH over AS (
    SELECT i.id, i.at_ns, coalesce(c.state, s.state) AS state
    FROM intents AS i
    JOIN settlements AS s ON s.id = i.id AND s.intent_ns = i.at_ns
    LEFT JOIN corrections AS c ON c.id = i.id
    WHERE i.at_ns >= $1 AND i.at_ns < $2 AND s.intent_ns >= $1 AND s.intent_ns < $2
    AND coalesce(c.state, s.state) <> 'unknown'
), gone_tasks AS (
    DELETE FROM tasks WHERE exchange IN (SELECT id FROM over)
), gone_corrections AS (
    DELETE FROM corrections WHERE id IN (SELECT id FROM over)
), gone_settlements AS (
    DELETE FROM settlements AS s USING over AS o
    WHERE s.id = o.id AND s.intent_ns = o.at_ns AND s.intent_ns >= $1 AND s.intent_ns < $2
), gone_intents AS (
    DELETE FROM intents AS i USING over AS o
    WHERE i.id = o.id AND i.at_ns = o.at_ns AND i.at_ns >= $1 AND i.at_ns < $2
)
SELECT count(*) FILTER (WHERE state = 'settled'), count(*) FILTER (WHERE state = 'released') FROM over
"""


async def prunable(connection: asyncpg.Connection[Any], before_ns: int) -> Pruned:
    """What pruning before ``before_ns``, a full hour, would remove now."""
    settled, released = await connection.fetchrow(
        f"SELECT {_ENDED} FROM settlements AS s LEFT JOIN corrections AS c ON c.id = s.id "  # noqa: S608
        "WHERE s.intent_ns < $1",
        before_ns,
        timeout=LONG,
    )
    return Pruned(before_ns, settled, released)


async def prune(pool: PostgresPool, before_ns: int, now_ns: int) -> Pruned:
    """Remove what came in before ``before_ns``, rounded down to an hour of UTC, and is settled or released.

    Their tasks and corrections go with them. Raises errors.ledger_unavailable() if the store cannot be written; a part
    may be done by then, and the same can be asked again.
    """
    before_ns = prunable_before(before_ns, now_ns)
    try:
        settled, released = await _prune(pool, before_ns, now_ns)
    except StoreError as error:
        log.error("the ledger cannot be pruned: %s", error)
        raise errors.ledger_unavailable() from error
    return Pruned(before_ns, settled, released)


async def _prune(pool: PostgresPool, before_ns: int, now_ns: int) -> tuple[int, int]:
    left = _Counts()
    async with pool.connection() as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK, timeout=LONG)
        try:
            await _count_months(connection, before_ns, now_ns, left)  # what an earlier pruning left
            for month, first_ns, end_ns in await _months(connection, before_ns):
                whole = end_ns <= before_ns and await _let_month_go(connection, month, before_ns, now_ns, left)
                if not whole:
                    await _let_hours_go(connection, first_ns, min(end_ns, before_ns), before_ns, now_ns, left)
            await _count_months(connection, before_ns, now_ns, left)
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", LOCK)
    return left.settled, left.released


class _Counts:
    """How many exchanges left so far."""

    def __init__(self) -> None:
        self.settled = self.released = 0

    def add(self, counts: Sequence[int]) -> None:
        self.settled += counts[0]
        self.released += counts[1]


async def _months(connection: asyncpg.Connection[Any], before_ns: int) -> list[tuple[str, int, int]]:
    """The months that began before: ``2026_11``, its first nanosecond, the first one after; oldest first."""
    rows = await connection.fetch("SELECT * FROM ledger_months() WHERE first_ns < $1 ORDER BY first_ns", before_ns)
    return [(month, first_ns, end_ns) for month, first_ns, end_ns in rows]


async def _let_month_go(
    connection: asyncpg.Connection[Any], month: str, before_ns: int, now_ns: int, left: _Counts
) -> bool:
    """Take a month's tables out of the books; False if they could not be had for a moment.

    All that is written has to wait while they are asked for, hence never for long.
    """
    import asyncpg

    for _ in range(TRIES):
        try:
            async with connection.transaction():
                await connection.execute("SET LOCAL lock_timeout = '200ms'")
                counts = await connection.fetchrow(
                    "SELECT * FROM let_month_go($1, $2, $3)", month, before_ns, now_ns, timeout=LONG
                )
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            await asyncio.sleep(0.2)
        else:
            left.add(counts)
            return True
    return False


async def _count_months(connection: asyncpg.Connection[Any], before_ns: int, now_ns: int, left: _Counts) -> None:
    """Count what the months that left had, and drop them."""
    for (month,) in await connection.fetch("SELECT * FROM months_gone()"):
        async with connection.transaction():
            left.add(
                await connection.fetchrow(
                    "SELECT * FROM drop_month($1, $2, $3)", month, before_ns, now_ns, timeout=LONG
                )
            )


async def _let_hours_go(
    connection: asyncpg.Connection[Any], first_ns: int, end_ns: int, before_ns: int, now_ns: int, left: _Counts
) -> None:
    oldest = await connection.fetchval(
        "SELECT min(at_ns) FROM intents WHERE at_ns >= $1 AND at_ns < $2", first_ns, end_ns, timeout=LONG
    )
    if oldest is None:
        return
    for hour in range(floor_ns(oldest, HOUR), end_ns, HOUR_NS):
        async with connection.transaction():
            await connection.execute(
                "SET LOCAL gateway.pruning = 'on'; SET LOCAL jit = off; SET LOCAL enable_seqscan = off; "
                "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
            )
            counts = await connection.fetchrow(_HOUR, hour, min(hour + HOUR_NS, end_ns), timeout=LONG)
            if counts[0] or counts[1]:
                await connection.execute("INSERT INTO prunes VALUES ($1, $2, $3, $4)", now_ns, before_ns, *counts)
        left.add(counts)
