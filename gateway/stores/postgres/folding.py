"""Folding what settlements and corrections have left beside the roll-up into it, by one gateway at a time."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from gateway.core.errors import StoreError
from gateway.runtime.tasks import TrackedTasks
from gateway.stores.postgres.rollup import FIGURES, LONG

if TYPE_CHECKING:
    from gateway.stores.postgres.pool import PostgresPool

FOLD_EVERY = 10.0
"""Seconds: so long changes gather, some thousands of small rows under load, which every report adds up."""

LOCK = 0x666F6C64
"""The advisory lock of the one that folds."""

log = logging.getLogger("gateway.stores")

_OF = ("key", "team", "model", "upstream", "price", "certainty")

_ADDED = ", ".join(f"{figure} = spent.{figure} + excluded.{figure}" for figure in FIGURES)

_FOLD = (
    "WITH gone AS (DELETE FROM spent_changes RETURNING *), "  # noqa: S608
    "folded AS (INSERT INTO spent "
    f"SELECT seconds, start / seconds * seconds, {', '.join(_OF)}, {', '.join(f'sum({one})' for one in FIGURES)} "
    "FROM gone CROSS JOIN (VALUES (3600), (86400)) AS spans (seconds) "
    f"GROUP BY seconds, start / seconds * seconds, {', '.join(_OF)} "
    f"ON CONFLICT (span, start, {', '.join(_OF)}) DO UPDATE SET {_ADDED}) "
    "SELECT count(*) FROM gone"
)


class Folding:
    """Folds now and then, beside the work, for as long as a gateway serves."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool
        self._due = 0.0
        self._tasks = TrackedTasks(_tell)

    def begin_if_due(self) -> None:
        """Fold in the background if FOLD_EVERY is over since the last time, and that has ended; called often."""
        now = asyncio.get_running_loop().time()
        if now >= self._due and not len(self._tasks):
            self._due = now + FOLD_EVERY
            self._tasks.spawn(fold(self._pool), "folding sums of usage")

    async def close(self) -> None:
        await self._tasks.cancel_all()


async def fold(pool: PostgresPool) -> int:
    """Add the changes to the roll-up, and remove them, in one transaction; returns how many there were.

    0 where another gateway is folding at the moment. Raises StoreError.
    """
    async with pool.transaction() as connection:
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", LOCK):
            return 0
        return await fold_within(connection)


async def fold_within(connection: Any) -> int:
    """``fold`` in a transaction of the caller's, who has the lock."""
    # What is lost by a server's end is then still among the changes: nothing of it need be on the disk at once.
    await connection.execute("SET LOCAL synchronous_commit = off")
    folded: int = await connection.fetchval(_FOLD, timeout=LONG)
    return folded


def _tell(_: str, error: BaseException) -> None:
    if not isinstance(
        error, StoreError
    ):  # a server that is gone is told of elsewhere, and what is left is folded later
        log.error("sums of usage were not folded: %r", error)
