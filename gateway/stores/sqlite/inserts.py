"""The statements that write the books: many rows in one statement, so that a batch costs one step of SQLite.

Each step lets go of the interpreter lock once; a step a row would make the writer and the event loop wait for each
other at every row. The rows are padded to the next power of two by repeating the last one, which the conflict clause
ignores: eleven prepared statements a table serve every size of batch.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Any

import orjson

from gateway.stores.records import ExchangeRecord, TaskRecord
from gateway.stores.settled_fields import attempt_fields
from gateway.stores.sqlite.booked_prices import price_ids
from gateway.stores.sqlite.mark import FEW

MAX_ROWS = 1024
"""Rows a statement; 20 columns of it stay below SQLite's default of 32,766 parameters."""

Row = tuple[Any, ...]

log = logging.getLogger("gateway.stores")

UNFIT = (
    sqlite3.IntegrityError,  # a CHECK, a NOT NULL, or a value of another type than the column's
    sqlite3.ProgrammingError,  # a type SQLite has no column for
    sqlite3.InterfaceError,  # the same, as older versions of Python say it
    sqlite3.DataError,  # a text longer than SQLite takes
    OverflowError,  # an integer above 64 bits
    UnicodeEncodeError,  # a lone surrogate
    TypeError,  # what orjson cannot write
)
"""Raised for a row that no store would take; any other sqlite3.Error is about the store."""


def insert_intents(connection: sqlite3.Connection, intents: Sequence[ExchangeRecord]) -> None:
    """Commit at most MAX_ROWS intents in one transaction; an id already there changes nothing."""
    _insert(connection, "intents", [_intent_row(intent) for intent in intents])


def insert_settlements(connection: sqlite3.Connection, settlements: Sequence[ExchangeRecord]) -> int:
    """Commit at most MAX_ROWS settlements in one transaction; an id already settled changes nothing.

    Returns how many were new.
    """
    prices = price_ids(connection, [(one.booked, one.settled_ns) for one in settlements])
    rows = [_settlement_row(one, price) for one, price in zip(settlements, prices, strict=True)]
    return _insert(connection, "settlements", rows)


def insert_tasks(connection: sqlite3.Connection, records: Sequence[TaskRecord]) -> None:
    """Commit at most MAX_ROWS tasks in one transaction; one its upstream is known for already changes nothing."""
    _insert(connection, "tasks", [_task_row(record) for record in records])


def book(connection: sqlite3.Connection, settlements: Sequence[ExchangeRecord]) -> int:
    """Commit at most MAX_ROWS settlements; those that fit no row are set aside, the others are booked all the same.

    Returns how many were new.
    """
    try:
        return insert_settlements(connection, settlements)
    except UNFIT as problem:
        if len(settlements) > 1:
            return sum(book(connection, [settlement]) for settlement in settlements)
        log.error("a settlement fits no row of the ledger and is kept in 'unbookable': %s", problem)
        set_aside(connection, settlements[0], problem)
        return 0


def book_late(connection: sqlite3.Connection, settlements: Sequence[ExchangeRecord]) -> int:
    """Commit settlements that an earlier process could not, on the disk when this returns; how many were new."""
    connection.execute("PRAGMA synchronous = FULL")
    chunks = (settlements[start : start + MAX_ROWS] for start in range(0, len(settlements), MAX_ROWS))
    new = sum(book(connection, chunk) for chunk in chunks)
    connection.execute("PRAGMA synchronous = NORMAL")
    return new


def set_aside(connection: sqlite3.Connection, settlement: ExchangeRecord, problem: BaseException) -> None:
    """Keep a settlement that ``settlements`` refuses, as text, with the reason."""
    text = repr(settlement).encode("utf-8", "backslashreplace").decode()
    identity = settlement.id.encode("utf-8", "backslashreplace").decode()
    connection.execute(
        "INSERT INTO unbookable VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING", (identity, text, str(problem))
    )


def close_open_intents(connection: sqlite3.Connection, now_ns: int, settled_through: int = 0) -> int:
    """Settle as ``unknown`` what an earlier process left open; how many there were.

    ``settled_through``: the row up to which nothing is open.

    Each is given the newest task that was created for it, so that what became of it can be asked. Of one that another
    row paid for it is known: it bought nothing.
    """
    cursor = connection.execute(
        "INSERT INTO settlements (id, at_ns, state, attempts, input_tokens, cached_input_tokens, output_tokens, "
        "images, charged, upstream_cost, confidence, status, task_id) "
        "SELECT id, ?, iif(i.paid_by IS NULL, 'unknown', 'settled'), '[]', 0, 0, 0, 0, 0, 0, "
        "iif(i.paid_by IS NULL, 'unknown', 'measured'), 0, "
        "(SELECT t.task_id FROM tasks AS t WHERE t.exchange = i.id ORDER BY t.at_ns DESC, t.rowid DESC LIMIT 1) "
        "FROM intents AS i WHERE i.rowid > ? AND NOT EXISTS (SELECT 1 FROM settlements AS s WHERE s.id = i.id)",
        (now_ns, settled_through),
    )
    return cursor.rowcount


def newest_intent(connection: sqlite3.Connection) -> int:
    """The row of the newest intent, 0 if there is none."""
    newest: int = connection.execute("SELECT coalesce(max(rowid), 0) FROM intents").fetchone()[0]
    return newest


def all_settled(connection: sqlite3.Connection) -> int:
    """``settled_through`` when nothing is open."""
    newest = newest_intent(connection)
    return newest if newest >= FEW else 0


def settled_through(connection: sqlite3.Connection, known: int) -> int:
    """The row up to which every intent is settled.

    ``known``: such a row of earlier; only what came after it is looked through.
    """
    newest = newest_intent(connection)
    if newest < max(known, FEW):
        return 0
    first_open = connection.execute(
        "SELECT rowid FROM intents AS i WHERE i.rowid > ? AND i.rowid <= ? "
        "AND NOT EXISTS (SELECT 1 FROM settlements AS s WHERE s.id = i.id) ORDER BY rowid LIMIT 1",
        (known, newest),
    ).fetchone()
    return newest if first_open is None else int(first_open[0]) - 1


def beat(connection: sqlite3.Connection) -> None:
    """A write that means nothing but that writing works."""
    connection.execute("UPDATE probe SET beats = beats + 1")


def _insert(connection: sqlite3.Connection, table: str, rows: list[Row]) -> int:
    size = 1 << (len(rows) - 1).bit_length()
    rows.extend([rows[-1]] * (size - len(rows)))
    values = [value for row in rows for value in row]
    return connection.execute(_statement(table, size, len(rows[0])), values).rowcount


@cache
def _statement(table: str, rows: int, columns: int) -> str:
    row = f"({','.join('?' * columns)})"
    return f"INSERT INTO {table} VALUES {','.join([row] * rows)} ON CONFLICT DO NOTHING"  # noqa: S608


def _intent_row(intent: ExchangeRecord) -> Row:
    return (
        intent.id,
        intent.at_ns,
        intent.key,
        intent.team,
        intent.route,
        intent.model,
        intent.request_id,
        intent.reserved,
        intent.paid,
        intent.pieces,
        intent.paid_by,
    )


def _task_row(record: TaskRecord) -> Row:
    return (
        record.task_id,
        record.upstream,
        record.credential,
        record.exchange,
        record.key,
        record.model,
        record.at_ns,
    )


def _settlement_row(settlement: ExchangeRecord, price: int | None) -> Row:
    usage = settlement.usage
    return (
        settlement.id,
        settlement.settled_ns,
        settlement.state,
        settlement.upstream,
        settlement.endpoint,
        settlement.credential,
        orjson.dumps(attempt_fields(settlement)).decode(),
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.output_tokens,
        usage.images,
        settlement.charged,
        settlement.upstream_cost,
        settlement.confidence,
        settlement.status,
        settlement.task_id,
        price,
        settlement.answered_model,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )
