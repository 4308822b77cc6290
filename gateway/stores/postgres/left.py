"""What gateways have left that are gone: their spill files are booked, and what they had open is settled as unknown."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from socket import gethostname

from gateway.core.errors import StoreError
from gateway.stores.gateway_records import LEASE
from gateway.stores.postgres import inserts
from gateway.stores.postgres.booking import settle_left
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.postgres.settlements import Claims, Prices, book_with_claims, numbers_of
from gateway.stores.postgres.spills import left_spill, spills_in
from gateway.stores.records import ExchangeRecord

MOST_AT_ONCE = 1_000
"""Open requests settled in one transaction."""

_GONE = """
SELECT DISTINCT gateway FROM open_intents AS o
WHERE gateway <> $1 AND NOT EXISTS (SELECT FROM gateways AS g WHERE g.id = o.gateway)
"""

_ELSEWHERE = "SELECT id FROM gateways WHERE hostname <> $1 AND seen_at > clock_timestamp() - make_interval(secs => $2)"

log = logging.getLogger("gateway.stores")


class Left:
    """``gateway``: this one, which is not gone. ``folder``: of the spill files."""

    def __init__(self, pool: PostgresPool, folder: Path, gateway: str, prices: Prices, claims: Claims) -> None:
        self._pool = pool
        self._folder = folder
        self._gateway = gateway
        self._prices = prices
        self._claims = claims

    async def book_spilled(self, gateways: Collection[str] | None = None) -> int:
        """Book what lies in the spill files of gateways that have ended, or of some of these; how many were new.

        Raises StoreError if they cannot be booked now: they stay where they are.
        """
        new = 0
        files = [path for path in spills_in(self._folder) if path.stem != self._gateway]
        if gateways is not None:
            files = [path for path in files if path.stem in gateways]
        elsewhere = await self._elsewhere() if files else ()
        for path in files:
            if path.stem in elsewhere:  # locks may not reach there
                continue
            with left_spill(path) as settlements:
                for start in range(0, len(settlements or ()), inserts.MAX_ROWS):
                    new += await self._book(list(settlements or ())[start : start + inserts.MAX_ROWS])
        return new

    async def settle_of_the_gone(self, now_ns: int) -> int:
        """Settle what is open of gateways that are not among the fleet's (any more); how many there were."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(_GONE, self._gateway)
        return await self.settle([row["gateway"] for row in rows], now_ns)

    async def settle(self, gateways: Collection[str], now_ns: int) -> int:
        """Settle as ``unknown`` what these gateways have open; how many there were. Raises StoreError."""
        settled, more = 0, bool(gateways)
        while more:
            async with self._pool.transaction() as connection:
                ids = await settle_left(connection, list(gateways), now_ns, MOST_AT_ONCE)
                if ids:
                    await self._claims(connection, ids, {})
            settled += len(ids)
            more = len(ids) == MOST_AT_ONCE
        return settled

    async def _elsewhere(self) -> set[str]:
        """The gateways that live on other machines."""
        async with self._pool.connection() as connection:
            return {row["id"] for row in await connection.fetch(_ELSEWHERE, gethostname(), LEASE)}

    async def _book(self, settlements: Sequence[ExchangeRecord]) -> int:
        """Book them, each id once; those that fit no row are set aside."""
        once = list({one.id: one for one in reversed(settlements)}.values())
        misfits: tuple[type[Exception], ...] = (StoreError, *inserts.unfit())
        try:
            prices = await numbers_of(self._prices, once)
            async with self._pool.transaction() as connection:
                return len(await book_with_claims(connection, once, prices, self._gateway, self._claims))
        except misfits as error:
            problem = error.__cause__ if isinstance(error, StoreError) else error
            if problem is None or not isinstance(problem, inserts.unfit()):
                raise
            if len(once) > 1:
                return sum([await self._book([settlement]) for settlement in once])
            log.error("a settlement fits no row of the ledger and is kept in 'unbookable': %s", problem)
            async with self._pool.connection() as connection:
                await inserts.set_aside(connection, once[0], problem)
            return 0
