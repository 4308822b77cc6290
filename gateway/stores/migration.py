"""A SQLite store carried over to a PostgreSQL, row by row: nothing is changed here, and nothing is lost by a kill.

Rows go in batches, each in one transaction with the note of how far its table is: a second run goes on there.
The source is read in one read-only transaction, under its lock, so that no gateway writes to it meanwhile; from the
target none serves before the end, when both have been compared.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.core.errors import StoreError
from gateway.stores import migration_check as check
from gateway.stores.files import beside
from gateway.stores.migrated_tables import CARRIED, TABLES, Table, batches, count
from gateway.stores.postgres import migrated_books
from gateway.stores.postgres.booked_prices import BookedPrices
from gateway.stores.postgres.booking import book
from gateway.stores.postgres.keys import PostgresKeyReader
from gateway.stores.postgres.migrated_books import MigrationState, Source
from gateway.stores.postgres.migrating import migrate
from gateway.stores.postgres.months import Months
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.records import ExchangeRecord, StoreInUse
from gateway.stores.spill import Spill
from gateway.stores.sqlite.lock import StoreLock
from gateway.stores.sqlite.schema import reading
from gateway.stores.sqlite.store import SQLiteKeyReader, SQLiteReader, pepper_file

if TYPE_CHECKING:
    import asyncpg

APPLICATION = "piapi-gateway migrate"

LOCK_WITHIN = 5.0
"""Seconds in which a server gives up the lock of a process that was killed."""

Told = Callable[[str, int, int], None]
"""Is called with what is under way, how many rows are there, and how many there are to be."""

_MONTHLY = {"intents": 1, "settlements": 1}
"""Tables that are parted by month, and the column of theirs that says which."""

_UNCOUNTED = {"settlements": "settlements_count", "corrections": "corrections_count"}
"""Triggers that would add to the roll-up what comes with it."""


@dataclass(frozen=True, slots=True)
class Migrated:
    """What came of it. ``rows``: by table. ``open``: requests that the end of a process had cut short, which the first
    gateway settles. ``pepper_file``: where a pepper lies beside the source; None if none does. ``compared``: what both
    hold; None if it had ended before. ``problems``: what is not as it was; then no gateway serves from the target.
    """

    source: str
    target: str
    rows: dict[str, int]
    open: int
    pepper_file: Path | None
    compared: check.Compared | None
    problems: Sequence[str]

    @property
    def has_keys(self) -> bool:
        """Whether there are keys, which open nothing without their pepper."""
        return self.rows.get("keys", 0) > 0


async def migrate_store(path: Path, url: str, now_ns: int, told: Told) -> Migrated:
    """Carry the store at ``path`` (absolute) over to the PostgreSQL at ``url``, or go on with that, and compare both.

    Raises StoreError, with words on what to do: a gateway serves from one of them, the target holds other books.
    """
    with _alone(path), reading(path) as books:
        async with _target(url) as (pool, connection):
            await migrate(connection, now_ns, pool.name)
            source = Source(_identity(books) or str(path), str(path), _position(path))
            async with connection.transaction():
                state = await migrated_books.begin(connection, source, pool.name, now_ns)
            compared: check.Compared | None = None
            problems: list[str] = []
            if state.ended_ns is None:
                await _Migration(books, connection, state, told).run()
                compared, problems = await _compare(path, books, pool, connection, told)
                if not problems:
                    await _end(path, pool, connection, now_ns)
            return Migrated(
                source.name,
                pool.name,
                {name: progress.rows for name, progress in state.tables.items()},
                state.of("open_intents").rows,
                pepper_file(path) if pepper_file(path).exists() else None,
                compared,
                problems,
            )


class _Migration:
    """One run: what is not there yet is carried over."""

    def __init__(
        self, books: sqlite3.Connection, connection: asyncpg.Connection[Any], state: MigrationState, told: Told
    ) -> None:
        self._books = books
        self._connection = connection
        self._state = state
        self._told = told
        self._months = Months()
        self._total = sum(count(books, table) for table in TABLES)

    async def run(self) -> None:
        """Return when all is there."""
        for table in TABLES:
            if not self._state.of(table.name).whole:
                await self._carry(table)

    async def _carry(self, table: Table) -> None:
        progress = self._state.of(table.name)
        self._tell(table.name)
        for batch in batches(self._books, table, progress.last):
            async with self._connection.transaction():
                await self._write(table, batch.rows)
                progress.rows, progress.last = progress.rows + len(batch.rows), batch.last
                await migrated_books.note(self._connection, self._state)
            self._tell(table.name)
        progress.whole = True
        async with self._connection.transaction():
            if table.name == "booked_prices":
                await self._connection.execute(_NUMBER_ON)
            await migrated_books.note(self._connection, self._state)

    async def _write(self, table: Table, rows: list[tuple[Any, ...]]) -> None:
        if (column := _MONTHLY.get(table.name)) is not None:
            await self._months.make(self._connection, self._months.missing(row[column] for row in rows))
        trigger = _UNCOUNTED.get(table.name)
        if trigger is not None:
            await self._connection.execute(f"ALTER TABLE ONLY {table.name} DISABLE TRIGGER {trigger}")
        await self._connection.copy_records_to_table(
            table.name, records=rows, columns=table.columns_there, timeout=check.LONG
        )
        if trigger is not None:
            await self._connection.execute(f"ALTER TABLE ONLY {table.name} ENABLE TRIGGER {trigger}")

    def _tell(self, what: str) -> None:
        self._told(what, sum(progress.rows for progress in self._state.tables.values()), self._total)


_NUMBER_ON = (
    "SELECT setval(pg_get_serial_sequence('booked_prices', 'id'), (SELECT max(id) FROM booked_prices)) "
    "FROM booked_prices LIMIT 1"
)
"""A new price gets a number of its own."""


async def _compare(
    path: Path, books: sqlite3.Connection, pool: PostgresPool, connection: asyncpg.Connection[Any], told: Told
) -> tuple[check.Compared, list[str]]:
    """What both hold, and one sentence for each difference."""
    told("comparing", 1, 1)
    await connection.execute("ANALYZE intents, settlements, corrections, spent", timeout=check.LONG)
    here, there = check.sums_here(books), await check.sums_there(connection)
    problems = list(check.differences(here, there))
    for table in TABLES:
        found = count(books, table)
        copied = await connection.fetchval(f"SELECT count(*) FROM {table.name}", timeout=check.LONG)  # noqa: S608
        if found != copied:
            problems.append(f"{table.name}: {found} rows here and {copied} there")
    keys, different = await check.different_keys(SQLiteKeyReader(path), PostgresKeyReader(pool))
    return check.compared(here, keys), problems + different


async def _end(path: Path, pool: PostgresPool, connection: asyncpg.Connection[Any], now_ns: int) -> None:
    """Settle what the last process could not write into its store any more, and let gateways serve."""
    once = list({one.id: one for one in reversed(_spilled(path))}.values())
    prices = await BookedPrices(pool).numbers([(one.booked, one.settled_ns) for one in once])
    async with connection.transaction():
        if once:
            await book(connection, once, prices, CARRIED, check.LONG)
        await migrated_books.end(connection, now_ns)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While no gateway writes to the source, which is there and of this version."""
    SQLiteReader(path).check()
    try:
        lock = StoreLock.take(path)
    except StoreInUse as busy:
        raise StoreError(
            f"{path} is in use by process {busy.holder}: what it writes meanwhile would be missing. Stop that gateway, "
            "and run this again."
        ) from None
    try:
        yield
    finally:
        lock.release()


@asynccontextmanager
async def _target(url: str) -> AsyncIterator[tuple[PostgresPool, asyncpg.Connection[Any]]]:
    """The database, and a connection to it that holds the lock of the one that carries over."""
    pool = await PostgresPool.open(url, APPLICATION, 2)
    try:
        async with pool.connection() as connection:
            await _lock(connection, pool.name)
            yield pool, connection
    except StoreError as error:
        if error.__cause__ is None:
            raise
        raise StoreError(f"{error} What is there stays: run the same command again to go on.") from error.__cause__
    finally:
        await pool.close()


async def _lock(connection: asyncpg.Connection[Any], name: str) -> None:
    patience = asyncio.get_running_loop().time() + LOCK_WITHIN
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", migrated_books.LOCK):
        if asyncio.get_running_loop().time() > patience:
            raise StoreError(f"{name}: another process is carrying a store over to it. Wait until it has ended.")
        await asyncio.sleep(0.1)


def _identity(books: sqlite3.Connection) -> str:
    """Which store it is; a copy is the same one. Empty if it has lost that."""
    row = books.execute("SELECT id FROM identity").fetchone()
    return "" if row is None else str(row[0])


def _position(path: Path) -> str:
    """What is another one once the store was written to: sizes and times of its file and its log."""
    states = []
    for file in (path, path.with_name(f"{path.name}-wal")):
        with suppress(OSError):
            state = file.stat()
            if state.st_size:
                states.append(f"{state.st_size} {state.st_mtime_ns}")
    return ", ".join(states)


def _spilled(path: Path) -> list[ExchangeRecord]:
    """The settlements that lie beside the source."""
    file = beside(path, "spill")
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return []
    spill = Spill(file, descriptor)
    try:
        return spill.read()
    finally:
        spill.close()
