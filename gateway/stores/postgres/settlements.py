"""Settlements: gathered for a moment, committed together, and never lost.

What the store does not take at once is put on the disk, outside of it, kept and tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from gateway.core.errors import StoreError
from gateway.runtime.tasks import TrackedTasks
from gateway.stores.postgres import inserts, link
from gateway.stores.postgres.booking import book
from gateway.stores.postgres.link import RETRY_SECONDS, Health, Link, engine_errors, passing_errors, whole
from gateway.stores.records import BookedPrice, ExchangeRecord
from gateway.stores.spill import Spill

if TYPE_CHECKING:
    from gateway.stores.postgres.pool import Connection

GATHER_SECONDS = 0.025
"""How long settlements gather. A killed process leaves at most these, and those on their way, as unknown."""

SPILL_SECONDS = 0.25
"""How long a commit may take before what it writes is put on the disk here as well."""

CLOSING_SECONDS = 5.0
"""How long closing tries to write settlements to a store that fails."""

Prices = Callable[[Sequence[tuple[BookedPrice | None, int]]], Awaitable[list[int | None]]]
"""The numbers of prices, None for None; see ``BookedPrices``."""

Claims = Callable[["Connection", Sequence[str], Mapping[str, int]], Awaitable[None]]
"""Settles in the budgets what is settled in the books, in the same transaction, by its ids; and by id the nano-dollars
that stay in doubt.
"""

log = logging.getLogger("gateway.stores")


class SettlementWriter:
    """Commits settlements on a connection of its own. Belongs to one loop. ``pending``: those not committed yet.

    ``not_yet``: ids of intents that are on their way: what settles these waits for them.
    """

    def __init__(
        self,
        own: Link,
        health: Health,
        spill: Spill,
        gateway: str,
        prices: Prices,
        claims: Claims,
        not_yet: Collection[str],
    ) -> None:
        self._link = own
        self._health = health
        self._spill = spill
        self._gateway = gateway
        self._prices = prices
        self._claims = claims
        self._not_yet = not_yet
        self._owed: dict[str, ExchangeRecord] = {}
        self._kept: set[str] = set()  # of these, the ids that are in the spill file
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._booked = asyncio.Event()
        self._tasks = TrackedTasks(lambda name, error: log.error("%s: %r", name, error))
        self._until: float | None = None  # when to give up: it is closing
        self._ended = False

    @property
    def pending(self) -> int:
        return len(self._owed)

    @property
    def spilled(self) -> int:
        """Settlements that the store does not have, and the spill file has."""
        return len(self._kept)

    def put(self, settlement: ExchangeRecord) -> None:
        """Hand over a settlement; never blocks, never raises. Of two with one id the first counts."""
        if self._ended:
            _log_unbooked([settlement])
            return
        self._owed.setdefault(settlement.id, settlement)
        self._wake.set()

    def look_again(self) -> None:
        """Intents are no longer on their way."""
        if self._owed:
            self._wake.set()

    async def flush(self) -> None:
        """Return when all that was handed over is committed. Raises TimeoutError if that takes ANSWER_SECONDS."""
        due = set(self._owed)
        async with asyncio.timeout(link.ANSWER_SECONDS):
            while not due.isdisjoint(self._owed):
                self._hurry.set()
                self._wake.set()
                self._booked.clear()
                await self._booked.wait()

    def end(self) -> None:
        """Let ``run`` return when all is written, or the store has not taken it for CLOSING_SECONDS."""
        self._until = asyncio.get_running_loop().time() + CLOSING_SECONDS
        self._hurry.set()
        self._wake.set()

    async def run(self) -> None:
        """Write until the end."""
        self.look_again()
        ending = False
        while not ending:
            await self._wake.wait()
            await self._gather()
            self._wake.clear()
            ending = self._until is not None  # what is handed over after that wakes it again, and so does ``end``
            while (ready := self._take()) and not self._gives_up():
                if not await self._write_watched(ready):
                    await asyncio.sleep(RETRY_SECONDS)
            self._tidy()

    async def finish(self) -> None:
        """After ``run``: leave to the spill file what is not written."""
        self._ended = True
        await self._spill_owed()
        _log_spilled([self._owed.pop(id) for id in self._kept], self._spill)
        _log_unbooked(list(self._owed.values()))
        await self._link.close()

    async def _gather(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER_SECONDS):
                await self._hurry.wait()
        if self._until is None:
            self._hurry.clear()

    def _gives_up(self) -> bool:
        return self._until is not None and asyncio.get_running_loop().time() >= self._until

    def _take(self) -> list[ExchangeRecord]:
        """The oldest of those that may be written."""
        ready = (one for one in self._owed.values() if one.id not in self._not_yet)
        return list(islice(ready, inserts.MAX_ROWS))

    async def _write_watched(self, settlements: list[ExchangeRecord]) -> bool:
        """Write them; if that takes long, put them on the disk meanwhile. False if they are still owed."""
        writing = self._tasks.spawn(self._write(settlements), "settlements")
        done, _ = await asyncio.wait({writing}, timeout=SPILL_SECONDS)
        if not done:
            await self._spill_owed()
        written: bool = await writing
        if not written:
            await self._spill_owed()
        return written

    async def _write(self, settlements: list[ExchangeRecord]) -> bool:
        try:
            await self._book(settlements)
        except passing_errors():
            return False
        except inserts.unfit() as problem:
            if len(settlements) == 1:
                return await self._set_aside(settlements[0], problem)
            for settlement in settlements:
                if not await self._write([settlement]):
                    return False
        except engine_errors() as error:
            self._fail(error)
            return False
        else:
            self._forget(settlements)
        return True

    async def _book(self, settlements: list[ExchangeRecord]) -> None:
        prices = await numbers_of(self._prices, settlements)
        connection = await self._link.synced(True)
        async with whole(connection):
            await book_with_claims(connection, settlements, prices, self._gateway, self._claims)

    async def _set_aside(self, settlement: ExchangeRecord, problem: Exception) -> bool:
        log.error("a settlement fits no row of the ledger and is kept in 'unbookable': %s", problem)
        try:
            await inserts.set_aside(await self._link.synced(True), settlement, problem)
        except engine_errors() as error:
            self._fail(error)
            return False
        self._forget([settlement])
        return True

    def _fail(self, error: Exception) -> None:
        self._health.failed(link.SETTLEMENTS, error)
        self._link.drop()

    def _forget(self, settlements: list[ExchangeRecord]) -> None:
        """They are in the books."""
        self._health.worked(link.SETTLEMENTS)
        for one in settlements:
            self._owed.pop(one.id, None)
            self._kept.discard(one.id)
        self._booked.set()

    async def _spill_owed(self) -> None:
        """Put on the disk, outside of the store, what is owed and not there yet."""
        unsafe = [one for id, one in self._owed.items() if id not in self._kept]
        if not unsafe:
            return
        written: bool = await asyncio.to_thread(self._spill.append, unsafe)
        if written:
            self._kept.update(one.id for one in unsafe if one.id in self._owed)

    def _tidy(self) -> None:
        """What was spilled is in the store, on its disk: the spill file is emptied."""
        if self._spill.filled and not self._kept:
            self._spill.empty()


async def numbers_of(prices: Prices, settlements: Sequence[ExchangeRecord]) -> list[int | None]:
    """The numbers of their prices. Raises ``inserts.unfit`` for one that no row holds, StoreError."""
    try:
        return await prices([(one.booked, one.settled_ns) for one in settlements])
    except StoreError as error:
        if isinstance(error.__cause__, inserts.unfit()):
            raise error.__cause__ from None
        raise


async def book_with_claims(
    connection: Connection,
    settlements: Sequence[ExchangeRecord],
    prices: Sequence[int | None],
    gateway: str,
    claims: Claims,
) -> list[str]:
    """Settle in the books and in the budgets, in a transaction of the caller's; the ids that this settled."""
    settled = await book(connection, settlements, prices, gateway, link.ANSWER_SECONDS)
    if settled:
        doubtful = {one.id: one.doubtful for one in settlements if one.state == "unknown" or one.in_doubt}
        await claims(connection, settled, doubtful)
    return settled


def _log_spilled(settlements: list[ExchangeRecord], spill: Spill) -> None:
    for settlement in settlements:
        log.error("not booked yet, the next start will, from %s: %r", spill.path, settlement)


def _log_unbooked(settlements: list[ExchangeRecord]) -> None:
    """The last resort: a settlement no store took is at least written to the operator's log. It holds no secrets."""
    for settlement in settlements:
        log.critical("not booked, and unknown from the next start on: %r", settlement)
