"""Folding what settlements and corrections have left beside the roll-up into it, by one gateway at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.stores.postgres.rollup import FIGURES, LONG

if TYPE_CHECKING:
    from gateway.stores.postgres.pool import PostgresPool

LOCK = 0x666F6C64
"""The advisory lock of the one that folds."""

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
