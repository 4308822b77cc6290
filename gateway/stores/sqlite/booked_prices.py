"""The prices that rows were booked at: each is written once, and rows name it by its number."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence

import orjson

from gateway.stores.records import BookedPrice

MOST_KNOWN = 4_096
"""Numbers that a connection keeps in mind; beyond, it forgets all of them and looks them up again."""


class WritingConnection(sqlite3.Connection):
    """The writer's connection. ``known_prices``: the numbers of prices that are committed."""

    known_prices: dict[BookedPrice, int]


def price_ids(connection: sqlite3.Connection, booked: Sequence[tuple[BookedPrice | None, int]]) -> list[int | None]:
    """The number of each price, None for None; those that are new are written down.

    ``booked``: prices, and when (Unix nanoseconds) each was booked. Raises sqlite3.Error, UnicodeEncodeError.

    Numbers are kept in mind, since every step of SQLite costs the writer the interpreter lock; never those that a
    transaction still under way may take back.
    """
    known = connection.known_prices if isinstance(connection, WritingConnection) else {}
    if len(known) > MOST_KNOWN:
        known.clear()
    if connection.in_transaction:
        known = dict(known)
    found: list[int | None] = []
    for price, at_ns in booked:
        number = None if price is None else known.get(price)
        if price is not None and number is None:
            number = known[price] = _number(connection, price, at_ns)
        found.append(number)
    return found


def booked_prices(store: sqlite3.Connection, numbers: Collection[int]) -> Mapping[int, tuple[BookedPrice, int]]:
    """Number → the price, and when it was first booked (Unix nanoseconds)."""
    rows = store.execute(
        "SELECT id, upstream, model, price, tier, at_ns FROM booked_prices "
        "WHERE id IN (SELECT value FROM json_each(?))",
        (orjson.dumps(list(numbers)).decode(),),
    )
    return {number: (BookedPrice(*price), at_ns) for number, *price, at_ns in rows}


def _number(connection: sqlite3.Connection, price: BookedPrice, at_ns: int) -> int:
    names = (price.upstream, price.model, price.tier, price.price)
    connection.execute(
        "INSERT INTO booked_prices (at_ns, upstream, model, tier, price) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (at_ns, *names),
    )
    (number,) = connection.execute(
        "SELECT id FROM booked_prices WHERE (upstream, model, tier, price) = (?, ?, ?, ?)", names
    ).fetchone()
    return int(number)
