"""The ledger of a PostgreSQL store, summed up and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from gateway.stores.postgres import audit, integrity, open_exchanges, pruning, seen_exchanges
from gateway.stores.postgres.booked_prices import booked_prices
from gateway.stores.postgres.rollup import Asked, Connections, add_up, pruned_before, rounded_end, snapshot
from gateway.stores.records import AuditEntry, Held, Pruned, UsageRow, Verification
from gateway.stores.seen_exchanges import SeenExchange
from gateway.stores.spans import DAY, NS, days, floor_ns, signed
from gateway.stores.usage_sums import FIGURES, Group, checked_fields, in_order, rows_of_usage

if TYPE_CHECKING:
    import asyncpg

_NONE_FOR_EMPTY = ("team", "upstream")
"""Fields of which the roll-up has '' where there is none."""


class PostgresUsage:
    """Reports of the books. Implements ``stores.base.UsageReports``."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def usage(self, *, since_ns: int, until_ns: int, by: Sequence[str], time_zone: tzinfo) -> list[UsageRow]:
        fields = checked_fields(by)
        columns = [field for field in fields if field != "day"]
        async with snapshot(self._connections) as connection:
            until = await rounded_end(connection, until_ns)
            pruned = await pruned_before(connection)
            if "day" in fields:
                first, last = await _bounds(connection)
                periods = list(days(max(since_ns, first), min(until, last), time_zone))
            else:
                periods = [("", since_ns, until)]
            pieces: list[Asked] = [
                (label, *signed_piece) for label, start, end in periods for signed_piece in signed(start, end, pruned)
            ]
            by_price = await add_up(connection, pieces, [*columns, "price"], FIGURES)
            prices = await booked_prices(connection, {price for *_, price in by_price})

        def group(found: Group) -> Mapping[str, str | None]:
            values = dict(zip(("day", *columns), found, strict=True))
            return {field: values[field] or None if field in _NONE_FOR_EMPTY else values[field] for field in fields}

        return in_order(rows_of_usage(by_price, group, prices))

    async def verify(self) -> Verification:
        async with snapshot(self._connections) as connection:
            return await integrity.verify(connection)

    async def prunable(self, before_ns: int) -> Pruned:
        async with snapshot(self._connections) as connection:
            return await pruning.prunable(connection, before_ns)

    async def charged_since(
        self, start_ns: int, end_ns: int | None = None
    ) -> Mapping[tuple[str, str | None, str], int]:
        async with snapshot(self._connections) as connection:
            return await open_exchanges.charged_since(connection, start_ns, end_ns)

    async def held(self, now_ns: int) -> list[Held]:
        async with snapshot(self._connections) as connection:
            return await open_exchanges.held(connection, now_ns)

    async def audit(self, since_ns: int) -> list[AuditEntry]:
        async with self._connections.connection() as connection:
            return await audit.entries(connection, since_ns)

    async def latest(
        self, limit: int, *, before: str | None = None, key: str | None = None, request_id: str | None = None
    ) -> list[SeenExchange]:
        async with snapshot(self._connections) as connection:
            return await seen_exchanges.latest(connection, limit, before, key, request_id)


async def _bounds(connection: asyncpg.Connection[Any]) -> tuple[int, int]:
    """From the first day on which anything was used until after the last one, Unix nanoseconds; (0, 0) for never."""
    first, last = await connection.fetchrow(
        "SELECT min(start), max(start) FROM ("
        "SELECT (SELECT min(start) FROM spent WHERE span = 3600) AS start "
        "UNION ALL SELECT (SELECT max(start) FROM spent WHERE span = 3600) "
        "UNION ALL SELECT min(start) FROM spent_changes UNION ALL SELECT max(start) FROM spent_changes) AS bounds"
    )
    return (0, 0) if first is None else (floor_ns(first * NS, DAY), floor_ns(last * NS, DAY) + DAY * NS)
