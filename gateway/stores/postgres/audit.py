"""The audit log in PostgreSQL: what admins did to keys and to the books, one row each, never changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from gateway.stores.records import AuditEntry

if TYPE_CHECKING:
    import asyncpg


async def append(connection: asyncpg.Connection[Any], entry: AuditEntry | None) -> None:
    """Inside the transaction of the act itself: write an entry down, if there is one."""
    if entry is not None:
        details = orjson.dumps(dict(entry.details)).decode()
        await connection.execute(
            "INSERT INTO audit (at_ns, who, act, subject, reason, details) VALUES ($1, $2, $3, $4, $5, $6)",
            *(entry.at_ns, entry.who, entry.act, entry.subject, entry.reason, details),
        )
