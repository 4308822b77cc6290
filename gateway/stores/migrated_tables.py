"""The tables that are carried over from a SQLite store, and how their rows are read and what becomes of them.

The order is that of what one row asks of another: a correction needs its settlement, that the month of its intent.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

CARRIED = "migrated"
"""The gateway whose rows these are: one that is gone, so that the first of the fleet settles what was left open."""

MOST_ROWS, MOST_BYTES = 10_000, 8 << 20
"""Rows, and bytes of their texts, that are carried over at once."""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """``columns``: those of the table there, in the order of ``source``, which has what is read here.

    ``tables``: what ``source`` is read from. ``key``: what rows are told apart and ordered by here. ``booleans``,
    ``documents``: columns that are flags there, and JSON that PostgreSQL looks into. ``constants``: columns, and what
    all rows have in them.
    """

    name: str
    columns: str
    source: str = ""
    tables: str = ""
    key: str = "rowid"
    booleans: frozenset[str] = frozenset()
    documents: frozenset[str] = frozenset()
    constants: tuple[tuple[str, Any], ...] = ()

    @property
    def columns_there(self) -> list[str]:
        """All columns that are written."""
        return [*_split(self.columns), *(name for name, _ in self.constants)]

    @property
    def read_from(self) -> str:
        return self.tables or self.name


_SETTLED = (
    "at_ns, state, upstream, endpoint, credential, attempts, input_tokens, cached_input_tokens, output_tokens, "
    "images, charged, upstream_cost, confidence, status, task_id, price, answered_model, cache_write_tokens, "
    "reasoning_tokens"
)
_CORRECTED = "at_ns, state, charged, upstream_cost, images, upstream, credential, reason, price"
_CONFIDENCE = (  # what earlier versions wrote had a word about it among the reasons
    "CASE WHEN c.confidence IS NOT NULL THEN c.confidence WHEN c.reason LIKE '%price unknown' THEN 'unknown' "
    "ELSE 'measured' END"
)


def _of(alias: str, columns: str) -> str:
    return ", ".join(f"{alias}.{column}" for column in _split(columns))


def _split(columns: str) -> list[str]:
    return columns.split(", ")


_SPENT_BY = "span, start, key, team, model, upstream, price, certainty"

TABLES = (
    Table("booked_prices", "id, at_ns, upstream, model, tier, price"),
    Table(
        "intents",
        "id, at_ns, key, team, route, model, request_id, reserved, paid, pieces, paid_by",
        booleans=frozenset({"paid"}),
        constants=(("gateway", CARRIED),),
    ),
    Table(
        "settlements",
        f"id, intent_ns, {_SETTLED}",
        f"s.id, coalesce(i.at_ns, s.at_ns), {_of('s', _SETTLED)}",
        "settlements AS s LEFT JOIN intents AS i ON i.id = s.id",
        "s.rowid",
        documents=frozenset({"attempts"}),
    ),
    Table(
        "open_intents",
        "id, at_ns",
        "i.id, i.at_ns",
        "intents AS i LEFT JOIN settlements AS s ON s.id = i.id WHERE s.id IS NULL",
        "i.rowid",
        constants=(("gateway", CARRIED),),
    ),
    Table("tasks", "task_id, upstream, credential, exchange, key, model, at_ns"),
    Table(
        "corrections",
        f"id, intent_ns, {_CORRECTED}, confidence",
        f"c.id, coalesce(i.at_ns, s.at_ns), {_of('c', _CORRECTED)}, {_CONFIDENCE}",
        "corrections AS c JOIN settlements AS s ON s.id = c.id LEFT JOIN intents AS i ON i.id = c.id",
        "c.rowid",
    ),
    Table("unbookable", "id, settlement, problem"),
    Table(
        "spent",
        f"{_SPENT_BY}, requests, input_tokens, cached_input_tokens, output_tokens, images, charged, upstream_cost",
        key=_SPENT_BY,
    ),
    Table("prunes", "at_ns, before_ns, settled, released"),
    Table("balances", "upstream, credential, at_ns, balance_nano", key="upstream, credential, at_ns"),
    Table("audit", "at_ns, who, act, subject, reason, details"),
    Table(
        "keys",
        "name, digest, team, models, rpm, tpm, parallel, budget_nano, budget_period, expires_at_ns, note, "
        "model_budgets, alert, created_at_ns, revoked_at_ns, old_digest, old_until_ns",
    ),
    Table("older_keys", "digest, name, until_ns"),
    Table("pepper", "mark"),
    Table("teams", "name, budget_nano, budget_period, since_ns", key="name"),
    Table(
        "alerts",
        "id, at_ns, holder, cause, budget_nano, period, period_start_ns, body, state",
        constants=(("gateway", CARRIED),),
    ),
    Table("responses", "id, key, at_ns, used_ns, previous, answer, input, events, size"),
    Table("response_items", "key, id, response", key="key, id"),
    Table("response_places", "key, id, upstream, credential, at_ns", key="key, id"),
    Table(
        "jobs",
        "id, key, team, route, model, fingerprint, idempotency, exchange, request_id, stream, created_ns, state, "
        "ended_ns, left, told, purchased, cost, client_order, error, status, headers, body, place, size",
        "id, key, team, route, model, fingerprint, idempotency, exchange, request_id, stream, created_ns, state, "
        'ended_ns, "left", told, purchased, cost, client_order, error, status, headers, body, place, size',
        booleans=frozenset({"stream", "left", "told", "purchased"}),
    ),
    Table(
        "deliveries",
        "id, webhook, job, key, at_ns, state, type, body, tries, next_ns, status, reason, changed_ns",
    ),
    Table(
        "learned_durations",
        "upstream, operation, model, size, quality, pieces, at, seen, ended, censored",
        key="upstream, operation, model, size, quality, pieces",
        constants=(("version", 0),),
    ),
)
"""Everything that a store holds, but its counts of itself and what it keeps of its own place."""


def count(books: sqlite3.Connection, table: Table) -> int:
    """How many rows are to be carried over. Raises sqlite3.Error."""
    number: int = books.execute(f"SELECT count(*) FROM {table.read_from}").fetchone()[0]  # noqa: S608
    return number


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as they are written there. ``last``: the key of the last one."""

    rows: list[Row]
    last: list[Any]


def batches(books: sqlite3.Connection, table: Table, after: Sequence[Any] | None) -> Iterator[Batch]:
    """The rows behind the one whose key is ``after``; None for all. Raises sqlite3.Error."""
    convert = _Conversion(table)
    width = len(_split(table.key))
    rows: list[Row] = []
    size = 0
    last: Sequence[Any] = ()
    for found in books.execute(_select(table, after is not None), after or ()):
        last, row = found[:width], found[width:]
        rows.append(convert(row))
        size += sum(len(value) for value in row if isinstance(value, str | bytes))
        if len(rows) >= MOST_ROWS or size >= MOST_BYTES:
            yield Batch(rows, list(last))
            rows, size = [], 0
    if rows:
        yield Batch(rows, list(last))


def _select(table: Table, behind: bool) -> str:
    where = ""
    if behind:
        marks = ", ".join("?" * len(_split(table.key)))
        where = f"{'AND' if 'WHERE' in table.tables else 'WHERE'} ({table.key}) > ({marks})"
    return (
        f"SELECT {table.key}, {table.source or table.columns} FROM {table.read_from} {where} "  # noqa: S608
        f"ORDER BY {table.key}"
    )


class _Conversion:
    """Turns a row here into a row there."""

    def __init__(self, table: Table) -> None:
        names = _split(table.columns)
        self._booleans = [number for number, name in enumerate(names) if name in table.booleans]
        self._documents = [number for number, name in enumerate(names) if name in table.documents]
        self._constants = [value for _, value in table.constants]

    def __call__(self, row: Row) -> Row:
        values = [value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value for value in row]
        for number in self._booleans:
            values[number] = bool(values[number])
        for number in self._documents:
            values[number] = _document(values[number])
        return (*values, *self._constants)


def _document(text: str) -> str:
    """JSON without NUL, which no text there can hold."""
    if "\\u0000" not in text:
        return text
    return orjson.dumps(_without_nul(orjson.loads(text))).decode()


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(one) for one in value]
    if isinstance(value, dict):
        return {_without_nul(name): _without_nul(one) for name, one in value.items()}
    return value
