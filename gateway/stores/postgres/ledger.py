"""The ledger in a PostgreSQL database that several gateways share.

Intents are committed by ``intents.py``, settlements by ``settlements.py``, each on a connection of its own; the rest
takes one of the pool's. What the server cannot take of settlements lies in a spill file of this gateway's
(``spills.py``), which it books itself when the server is back, or else any gateway that sees the file.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gateway.core import errors
from gateway.core.errors import OperatorError, StoreError
from gateway.runtime.ports import Clock
from gateway.runtime.tasks import TrackedTasks
from gateway.stores.postgres import corrections, inserts, open_exchanges, pruning
from gateway.stores.postgres.admitting import admit
from gateway.stores.postgres.audit import append
from gateway.stores.postgres.booked_prices import BookedPrices
from gateway.stores.postgres.budgets import PostgresBudgets
from gateway.stores.postgres.intents import IntentWriter
from gateway.stores.postgres.left import Left
from gateway.stores.postgres.link import INTENTS, RETRY_SECONDS, SETTLEMENTS, Health, Link
from gateway.stores.postgres.months import Months
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.postgres.rollup import snapshot
from gateway.stores.postgres.settlements import SettlementWriter
from gateway.stores.postgres.settling import settle_claims
from gateway.stores.postgres.spills import open_spill, remove_spill
from gateway.stores.postgres.writing import storable
from gateway.stores.records import (
    AuditEntry,
    Correction,
    ExchangeRecord,
    Held,
    Pruned,
    TaskRecord,
    UnknownExchange,
)

if TYPE_CHECKING:
    from gateway.stores.postgres.pool import Connection

T = TypeVar("T")

MAX_WAITING = 1_000
"""Intents that may wait for their commit; one more is refused."""

SWEEP_AFTER = 10.0
"""Seconds after the server is back, and of a row that is swept: longer than a statement may take on the server."""

_OWN = (
    "SELECT id, at_ns FROM open_intents AS o WHERE gateway = $1 AND at_ns <= $2 "
    "AND NOT EXISTS (SELECT FROM unbookable AS u WHERE u.id = o.id)"  # these ended, and not for nothing
)

_FIND_TASK = """
SELECT task_id, upstream, credential, exchange, key, model, at_ns FROM tasks WHERE task_id = $1
ORDER BY at_ns DESC, number DESC LIMIT 1
"""

log = logging.getLogger("gateway.stores")


class PostgresLedger:
    """Append-only books of a fleet; implements ``stores.base.Ledger``. Belongs to the loop it was opened on.

    ``recovered``: intents that gateways which are gone had left open, settled as ``unknown`` when this one started.
    ``booked_late``: settlements that they had to leave in their spill files, read in by this one. ``budgets``: those of
    the whole fleet: intents are refused which they have no room for.
    """

    def __init__(self, pool: PostgresPool, clock: Clock, gateway: str, folder: Path) -> None:
        self.recovered = self.booked_late = 0
        self.budgets = PostgresBudgets(pool)
        self._pool = pool
        self._gateway = gateway
        self._clock = clock
        self._prices = BookedPrices(pool)
        self._months = Months()
        self._health = Health(pool.name, self._health_changed)
        self._left = Left(pool, folder, gateway, self._prices.numbers, settle_claims)
        self._spill = open_spill(folder, gateway)
        self._intents = IntentWriter(
            Link(pool, self._lost),
            self._health,
            self._months,
            gateway,
            partial(admit, gateway),
            self._withdraw,
            self._acknowledged,
        )
        self._settlements = SettlementWriter(
            Link(pool), self._health, self._spill, gateway, self._prices.numbers, settle_claims, self._intents.under_way
        )
        self._tasks = TrackedTasks(self._failed)
        self._writing: dict[str, asyncio.Task[None]] = {}
        self._open: set[str] = set()
        self._closed = False

    @classmethod
    async def open(cls, pool: PostgresPool, clock: Clock, gateway: str, folder: Path) -> PostgresLedger:
        """Read in what was spilled, settle what gateways left open that are no more, start writing.

        ``folder``: of spill files, made if need be. Raises StoreError.
        """
        ledger = cls(pool, clock, gateway, folder)
        try:
            async with pool.connection() as connection:
                await ledger._months.make_ahead(connection, clock.wall_ns())
            ledger.booked_late = await ledger._left.book_spilled()
            ledger.recovered = await ledger._left.settle_of_the_gone(clock.wall_ns())
        except BaseException:
            remove_spill(ledger._spill)
            raise
        ledger._begin(INTENTS)
        ledger._begin(SETTLEMENTS)
        return ledger

    @property
    def pending(self) -> int:
        """Rows handed over and not yet committed."""
        return self._intents.pending + self._settlements.pending

    def spilled(self) -> int:
        """Settlements that lie in the spill file, as the server has not taken them yet."""
        return self._settlements.spilled

    def usable(self) -> bool:
        """False from a failed commit until one works again, tried four times a second, and once closed."""
        return self._health.usable and not self._closed

    @property
    def finding(self) -> str:
        """Why it is not usable; empty if it is."""
        return self._health.finding

    async def reserve(self, intent: ExchangeRecord) -> None:
        """Return once the intent is committed; errors.ledger_unavailable() if it is not.

        Cancelled while waiting, its row may be there or not: the caller settles it as ``released``.
        """
        if self._intents.pending >= MAX_WAITING or not self.usable():
            raise errors.ledger_unavailable()
        self._open.add(intent.id)
        try:
            await self._intents.put(intent)
        except Exception:
            self._open.discard(intent.id)
            raise

    def settle(self, settlement: ExchangeRecord) -> None:
        """Take a settlement: never blocks, never raises, committed within some 25 ms and a batch's time.

        A server that fails keeps it waiting, on the disk here, not lost. Settling an id again changes nothing.
        """
        self._open.discard(settlement.id)
        self._settlements.put(settlement)

    async def record_task(self, record: TaskRecord) -> None:
        """Return once the record is on the server's disk; errors.ledger_unavailable() if it is not.

        The task was bought, so it is tried however the server has fared; only a closed ledger refuses.
        """
        if self._closed:
            raise errors.ledger_unavailable()

        async def insert(connection: Connection) -> None:
            await inserts.insert_tasks(connection, [record])

        await self._on_a_connection(insert, "a task cannot be recorded")

    async def find_task(self, task_id: str) -> TaskRecord | None:
        """The task of that id, the newest if several upstreams have one. errors.ledger_unavailable() if it cannot be
        looked up.
        """
        if not storable(task_id):
            return None

        async def find(connection: Connection) -> TaskRecord | None:
            row = await connection.fetchrow(_FIND_TASK, task_id)
            return None if row is None else TaskRecord(*row)

        return await self._on_a_connection(find, "a task cannot be looked up")

    async def unknown_exchanges(self, since_ns: int) -> list[UnknownExchange]:
        """See ``open_exchanges.unknown_exchanges``. errors.ledger_unavailable() if the books cannot be read."""
        return await self._read(lambda on: open_exchanges.unknown_exchanges(on, since_ns), "what is unknown")

    async def held(self, now_ns: int) -> list[Held]:
        """See ``open_exchanges.held``. errors.ledger_unavailable() if the books cannot be read."""
        return await self._read(lambda on: open_exchanges.held(on, now_ns), "what is held")

    async def charged_since(
        self, start_ns: int, end_ns: int | None = None
    ) -> Mapping[tuple[str, str | None, str], int]:
        """See ``open_exchanges.charged_since``; settlements still ``pending`` are not in it.

        errors.ledger_unavailable() if the books cannot be read.
        """
        return await self._read(lambda on: open_exchanges.charged_since(on, start_ns, end_ns), "what was charged")

    async def correct(self, correction: Correction, audit: AuditEntry | None = None) -> bool:
        """Return once the correction is on the server's disk, with its entry in the audit log; False if the exchange
        had one already.

        Everything settled here before the call is known by then. NotUnknown if the exchange is not of unknown outcome,
        ValueError for amounts no row holds, errors.ledger_unavailable() if it cannot be written.
        """
        if self._closed:
            raise errors.ledger_unavailable()
        try:
            await self._settlements.flush()
            [price] = await self._prices.numbers([(correction.price, correction.at_ns)])
            async with self._pool.transaction() as connection:
                if not await corrections.correct(connection, correction, price):
                    return False
                await append(connection, audit)
                await settle_claims(connection, [correction.id])
        except (StoreError, TimeoutError) as error:
            if isinstance(error.__cause__, inserts.unfit()):
                raise ValueError(
                    f"the correction of {correction.id} fits no row of the ledger: {error.__cause__}"
                ) from error
            if isinstance(error, OperatorError) and not isinstance(error, StoreError):
                raise
            log.error("a correction cannot be written: %s", error)
            raise errors.ledger_unavailable() from error
        return True

    async def prune(self, before_ns: int, now_ns: int) -> Pruned:
        """See ``pruning.prune``."""
        return await pruning.prune(self._pool, before_ns, now_ns)

    async def settle_left(self, gateways: Collection[str]) -> int:
        """Settle what these gateways, which are dead, left open: as their spill files say, where this one sees them,
        and else as ``unknown``. Returns how many are unknown. Raises StoreError if the store cannot be written; the
        same can be asked again, of any gateway.
        """
        await self._left.book_spilled(gateways)
        return await self._left.settle(gateways, self._clock.wall_ns())

    async def care(self) -> None:
        """Make partitions ahead, and book what gateways left that are gone; called now and then. Raises StoreError."""
        now_ns = self._clock.wall_ns()
        async with self._pool.connection() as connection:
            await self._months.make_ahead(connection, now_ns)
        await self._left.book_spilled()
        await self._left.settle_of_the_gone(now_ns)
        await self.sweep(SWEEP_AFTER)

    async def sweep(self, older: float) -> None:
        """Release what is open in the books of this gateway, and no request of it: the server did what had been given
        up. ``older``: seconds that such a row must be. Raises StoreError.
        """
        before_ns = self._clock.wall_ns() - int(older * 1e9)
        async with self._pool.connection() as connection:
            found = await connection.fetch(_OWN, self._gateway, before_ns)
        for row in found:
            if row["id"] not in self._open:
                self._withdraw(ExchangeRecord(row["id"], row["at_ns"]))

    async def close(self) -> None:
        """Commit what is pending, end the writers, let go of the spill file. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._intents.end()
        self._settlements.end()
        try:
            await asyncio.gather(*map(asyncio.shield, self._writing.values()), return_exceptions=True)
        finally:
            await self._tasks.cancel_all()
            await self._settlements.finish()
            remove_spill(self._spill)

    def _begin(self, name: str) -> None:
        writer = self._intents if name == INTENTS else self._settlements
        self._writing[name] = self._tasks.spawn(writer.run(), name)

    def _failed(self, name: str, error: BaseException) -> None:
        """A mistake of ours: what was being written is tried again, or was refused."""
        log.critical("%s: ended by a mistake: %r", name, error)
        if name in self._writing:
            self._health.failed(name, error)
            if not self._closed:
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._begin_again, name)

    def _begin_again(self, name: str) -> None:
        if not self._closed:
            self._begin(name)

    def _withdraw(self, intent: ExchangeRecord) -> None:
        """It was refused, and may be in the books all the same: there it is released then."""
        self.settle(
            ExchangeRecord(
                intent.id,
                intent.at_ns,
                intent.key,
                intent.team,
                intent.route,
                intent.model,
                intent.request_id,
                state="released",
                confidence="measured",
                status=503,
                settled_ns=self._clock.wall_ns(),
            )
        )

    def _acknowledged(self) -> None:
        self._settlements.look_again()

    def _lost(self) -> None:
        if not self._closed:
            self._health.failed(INTENTS, ConnectionError("the server has closed the connection"))

    def _health_changed(self, usable: bool) -> None:
        if not usable:
            self._intents.wake()
            return
        self._tasks.spawn(self._after_outage(), "looking after an outage")

    async def _after_outage(self) -> None:
        """The server may still have done what we gave up meanwhile."""
        await self._pool.expire()
        await asyncio.sleep(SWEEP_AFTER)
        with suppress(StoreError):
            await self.sweep(SWEEP_AFTER)

    async def _read(self, query: Callable[[Connection], Awaitable[T]], what: str) -> T:
        try:
            async with snapshot(self._pool) as connection:
                return await query(connection)
        except StoreError as error:
            log.error("%s cannot be looked up: %s", what, error)
            raise errors.ledger_unavailable() from error

    async def _on_a_connection(self, work: Callable[[Connection], Awaitable[T]], failure: str) -> T:
        try:
            async with self._pool.connection() as connection:
                return await work(connection)
        except StoreError as error:
            log.error("%s: %s", failure, error)
            raise errors.ledger_unavailable() from error
