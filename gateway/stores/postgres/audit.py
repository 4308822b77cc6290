"""The audit log: what admins did to keys and to the books, one row each, never changed and never removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from gateway.stores.postgres.writing import as_storable
from gateway.stores.records import AuditEntry

if TYPE_CHECKING:
    import asyncpg

MOST_READ = 10_000
"""Entries that one look returns at most: the newest."""


async def append(connection: asyncpg.Connection[Any], entry: AuditEntry | None) -> None:
    """Inside the transaction of the act itself: write an entry down, if there is one."""
    if entry is not None:
        await connection.execute(
            "INSERT INTO audit (at_ns, who, act, subject, reason, details) VALUES ($1, $2, $3, $4, $5, $6::json)",
            entry.at_ns,
            as_storable(entry.who),
            entry.act,
            as_storable(entry.subject),
            as_storable(entry.reason),
            orjson.dumps(dict(entry.details)).decode(),
        )


async def entries(connection: asyncpg.Connection[Any], since_ns: int) -> list[AuditEntry]:
    """The entries from ``since_ns`` on, oldest first; of very many the newest."""
    rows = await connection.fetch(
        "SELECT at_ns, who, act, subject, reason, details::text FROM audit WHERE at_ns >= $1 "
        "ORDER BY at_ns DESC, number DESC LIMIT $2",
        since_ns,
        MOST_READ,
    )
    return [
        AuditEntry(at_ns, who, act, subject, reason, orjson.loads(details))
        for at_ns, who, act, subject, reason, details in reversed(rows)
    ]
