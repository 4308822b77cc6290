"""Where a database stands that a SQLite store is carried over to: begun, how far, or ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from gateway.core.errors import StoreError

if TYPE_CHECKING:
    import asyncpg

LOCK = 0x6D696772
"""The advisory lock of the one that carries over."""

ALIVE = 15
"""Seconds since a gateway was last seen within which it may be serving."""

_HOLDING = (
    *("intents", "settlements", "tasks", "corrections", "unbookable", "booked_prices", "spent", "spent_changes"),
    *("prunes", "balances", "audit", "keys", "older_keys", "alerts", "responses", "response_items"),
    *("response_places", "jobs", "deliveries"),
)
"""Tables that books are made of: those of a database that a gateway has only looked at are empty."""

_OF_ANY = ("teams", "pepper", "learned_durations", "reservations", "budgets")
"""What a gateway may have left that served nothing: it is made anew."""


@dataclass(frozen=True, slots=True)
class Source:
    """The store that is carried over. ``id``: which one it is. ``name``: what messages call it. ``position``: what
    tells whether it has changed.
    """

    id: str
    name: str
    position: str


@dataclass(slots=True)
class TableProgress:
    """``rows`` that are there. ``last``: the key of the last one, None for none. ``whole``: whether these are all."""

    rows: int = 0
    last: list[Any] | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class MigrationState:
    """``tables``: by name. ``ended_ns``: when it had ended, Unix nanoseconds; None if it has not."""

    tables: dict[str, TableProgress] = field(default_factory=dict)
    ended_ns: int | None = None

    def of(self, table: str) -> TableProgress:
        return self.tables.setdefault(table, TableProgress())


async def require_whole(connection: asyncpg.Connection[Any], name: str) -> None:
    """Raise StoreError if a store was begun to be carried over to this one, and not all of it is here."""
    source = await connection.fetchval("SELECT name FROM migrated_books WHERE ended_ns IS NULL")
    if source is not None:
        raise StoreError(
            f"{name} holds a part of {source}, whose migration has not ended. Run again: "
            f"piapi-gateway migrate --from sqlite:///{source} --to {name}"
        )


async def begin(connection: asyncpg.Connection[Any], source: Source, name: str, now_ns: int) -> MigrationState:
    """How far it is; a new one is begun in a database that holds no books. ``name``: the database's.

    Raises StoreError: it holds other books, another store's, or those of this one as it was before; it is in use.
    """
    row = await connection.fetchrow("SELECT source, name, position, progress, ended_ns FROM migrated_books")
    if row is not None:
        return _known(row, source, name)
    if live := await _live(connection):
        raise StoreError(f"{name} is in use by {live} running gateway(s). Stop them, and run this again.")
    if held := [table for table in _HOLDING if await _has_rows(connection, table)]:
        raise StoreError(
            f"{name} holds other books already ({', '.join(held)}), which are not mixed with those of another store. "
            "Give --to an empty database."
        )
    for table in _OF_ANY:
        if await connection.fetchval("SELECT to_regclass($1)", table) is not None:
            await connection.execute(f"DELETE FROM {table}")  # noqa: S608
    await connection.execute(
        "INSERT INTO migrated_books (source, name, position, began_ns) VALUES ($1, $2, $3, $4)",
        *(source.id, source.name, source.position, now_ns),
    )
    return MigrationState()


async def note(connection: asyncpg.Connection[Any], state: MigrationState) -> None:
    """Inside the transaction that writes rows: how far it is."""
    told = {table: [one.rows, one.last, one.whole] for table, one in state.tables.items()}
    await connection.execute("UPDATE migrated_books SET progress = $1", orjson.dumps(told).decode())


async def end(connection: asyncpg.Connection[Any], now_ns: int) -> None:
    """All is here, and right: gateways may serve."""
    await connection.execute("UPDATE migrated_books SET ended_ns = $1", now_ns)


def _known(row: Any, source: Source, name: str) -> MigrationState:
    tables = {table: TableProgress(*progress) for table, progress in orjson.loads(row["progress"]).items()}
    state = MigrationState(tables, row["ended_ns"])
    if row["source"] != source.id:
        raise StoreError(f"{name} holds the books of another store, {row['name']}. Give --to an empty database.")
    if state.ended_ns is None and row["position"] != source.position:
        raise StoreError(
            f"{source.name} has changed since its migration to {name} began, so what is there already may no longer be "
            "right. Give --to an empty database, or empty this one, which holds nothing else."
        )
    return state


async def _live(connection: asyncpg.Connection[Any]) -> int:
    if await connection.fetchval("SELECT to_regclass('gateways')") is None:
        return 0
    found: int = await connection.fetchval(
        "SELECT count(*) FROM gateways WHERE seen_at > now() - make_interval(secs => $1)", ALIVE
    )
    return found


async def _has_rows(connection: asyncpg.Connection[Any], table: str) -> bool:
    found: bool = await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table})")  # noqa: S608
    return found
