"""The prices that rows were booked at: each is written once, and rows name it by its number."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gateway.stores.records import BookedPrice

if TYPE_CHECKING:
    import asyncpg

    from gateway.stores.postgres.rollup import Connections

MOST_KNOWN = 4_096
"""Numbers that a gateway keeps in mind; beyond, it forgets all of them and looks them up again."""


class BookedPrices:
    """The numbers of prices, those that were asked for kept in mind: a price keeps its number for good."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._known: dict[BookedPrice, int] = {}

    async def numbers(self, booked: Sequence[tuple[BookedPrice | None, int]]) -> list[int | None]:
        """The number of each price, None for None; those that are new are written down, and committed, first.

        ``booked``: prices, and when (Unix nanoseconds) each was booked. Raises StoreError, also for a price that no
        row holds.
        """
        unknown = {price: at_ns for price, at_ns in reversed(booked) if price is not None and price not in self._known}
        if unknown:
            if len(self._known) > MOST_KNOWN:
                self._known.clear()
                unknown = {price: at_ns for price, at_ns in reversed(booked) if price is not None}
            async with self._connections.connection() as connection:
                self._known.update(await _write(connection, unknown))
        return [None if price is None else self._known[price] for price, _ in booked]


async def booked_prices(
    connection: asyncpg.Connection[Any], numbers: Collection[int]
) -> Mapping[int, tuple[BookedPrice, int]]:
    """Number → the price, and when it was first booked (Unix nanoseconds)."""
    rows = await connection.fetch(
        "SELECT id, upstream, model, price, tier, at_ns FROM booked_prices WHERE id = ANY ($1::bigint[])",
        list(numbers),
    )
    return {number: (BookedPrice(*price), at_ns) for number, *price, at_ns in rows}


async def _write(connection: asyncpg.Connection[Any], prices: Mapping[BookedPrice, int]) -> dict[BookedPrice, int]:
    """Each price is a statement of its own: there are few, and none waits for another gateway's while it holds one."""
    numbers: dict[BookedPrice, int] = {}
    for price, at_ns in prices.items():
        names = (price.upstream, price.model, price.tier, price.price)
        await connection.execute(
            "INSERT INTO booked_prices (at_ns, upstream, model, tier, price) VALUES ($1, $2, $3, $4, $5) "
            "ON CONFLICT DO NOTHING",
            at_ns,
            *names,
        )
        numbers[price] = await connection.fetchval(
            "SELECT id FROM booked_prices WHERE (upstream, model, tier) = ($1, $2, $3) AND md5(price) = md5($4) "
            "AND price = $4",
            *names,
        )
    return numbers
