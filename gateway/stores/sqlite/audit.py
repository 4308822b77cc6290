"""The audit log: what admins did to keys and to the books, one row each, never changed and never removed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import orjson

from gateway.stores.records import AuditEntry
from gateway.stores.sqlite.schema import reading

MOST_READ = 10_000
"""Entries that one look returns at most: the newest."""


def append(store: sqlite3.Connection, entry: AuditEntry | None) -> None:
    """Inside a transaction of the writer's, that of the act itself: write an entry down, if there is one."""
    if entry is not None:
        details = orjson.dumps(dict(entry.details)).decode()
        store.execute(
            "INSERT INTO audit (at_ns, who, act, subject, reason, details) VALUES (?, ?, ?, ?, ?, ?)",
            (entry.at_ns, entry.who, entry.act, entry.subject, entry.reason, details),
        )


def entries(path: Path, since_ns: int) -> list[AuditEntry]:
    """The entries from ``since_ns`` on, oldest first. Raises StoreError."""
    with reading(path) as store:
        rows = store.execute(
            "SELECT at_ns, who, act, subject, reason, details FROM audit WHERE at_ns >= ? "
            "ORDER BY at_ns DESC, rowid DESC LIMIT ?",
            (since_ns, MOST_READ),
        ).fetchall()
    return [
        AuditEntry(at_ns, who, act, subject, reason, orjson.loads(details))
        for at_ns, who, act, subject, reason, details in reversed(rows)
    ]
