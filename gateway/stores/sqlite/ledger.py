"""The ledger in one SQLite file: the loop's side. ``writer.py`` is the thread's side."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from typing import TypeVar

from gateway.core import errors
from gateway.core.errors import GatewayError, StoreError
from gateway.runtime.ports import Clock
from gateway.stores.records import (
    AuditEntry,
    Correction,
    ExchangeRecord,
    Held,
    Pruned,
    TaskRecord,
    UnknownExchange,
    prunable_before,
)
from gateway.stores.sqlite import corrections, inserts, open_exchanges, pruning, queries, schema
from gateway.stores.sqlite.opening import Prepared, close_unused, prepare
from gateway.stores.sqlite.place import Place
from gateway.stores.sqlite.writer import Batch, Waiter, Writer
from gateway.stores.sqlite.writer_jobs import WriterJob

T = TypeVar("T")
A = TypeVar("A")

MAX_WAITING = 1_000
"""Rows that may wait for their commit; one more intent is refused. inserts.MAX_ROWS must not be smaller."""

SETTLE_SECONDS = 0.025
"""How long settlements gather before they are handed over. A killed process leaves at most these as unknown."""

log = logging.getLogger("gateway.stores")


class SQLiteLedger:
    """Append-only books in one file; implements ``stores.base.Ledger``.

    Every method but ``open`` belongs to the loop it was opened on. ``path``: the file, resolved. ``made``: there
    was none before, or an empty one. ``recovered``: intents an earlier process had left open, settled as ``unknown``
    when this one started. ``booked_late``: settlements that it had to leave in the spill file, read in by this one.
    ``unchecked``: the last writer did not end well, and the file is too large to be looked through before it serves;
    ``check`` does it beside the work. ``budgets``: none, as one gateway has the file to itself and counts them.
    """

    budgets = None

    def __init__(self, store: Prepared) -> None:
        self.path = store.path
        self.made = store.made
        self.recovered = store.recovered
        self.booked_late = store.booked_late
        self.unchecked = store.unchecked
        self._mark = store.mark
        self._place = Place(store.path)
        self._damage = ""
        self._loop = asyncio.get_running_loop()
        self._lock = store.lock
        self._writer = Writer(store.connection, store.spill, self._deliver_from_writer, self._mark.note)
        self._batch = Batch()
        self._hand_over_due = False
        self._settle_timer: asyncio.TimerHandle | None = None
        self._awaited = 0
        self._open = 0
        self._settling = 0
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, clock: Clock) -> SQLiteLedger:
        """Lock the store, check it, bring it up to date, read in what was spilled, settle what was left open, start the
        writer.

        StoreError, with words on how to recover: in use by another process, damaged, not a store, too new.
        """
        given_up = threading.Event()
        opening = asyncio.get_running_loop().run_in_executor(None, prepare, path, clock, given_up.is_set)
        try:
            store = await asyncio.shield(opening)
        except asyncio.CancelledError:
            given_up.set()
            opening.add_done_callback(close_unused)
            raise
        ledger = cls(store)
        ledger._writer.start()
        return ledger

    @property
    def pending(self) -> int:
        """Rows handed over and not yet committed."""
        return self._awaited + self._settling - self._writer.booked

    def spilled(self) -> int:
        """Settlements that lie in the spill file, as the disk has not taken them yet."""
        return self._writer.spilled

    async def settle_left(self, gateways: Collection[str]) -> int:
        """An earlier process's were settled when this one opened the store."""
        return 0

    def usable(self) -> bool:
        """False from a failed commit until one works again (the writer tries four times a second), once the file has
        turned out damaged, and once closed.
        """
        return self._writer.usable and not self._closed and not self._damage and not self._writer.displaced

    async def check(self, told: Callable[[str, int, int], None]) -> str:
        """Look through every page, in a thread. Returns what is wrong and what to do, empty for nothing; a file that is
        damaged takes no more intents.

        ``told``: is called, in that thread, with each table's name, its number and how many there are.
        """
        try:
            finding = await self._loop.run_in_executor(None, schema.look_through, self.path, told, lambda: self._closed)
        except StoreError as error:
            finding = str(error)
        self._damage = finding
        self.unchecked = False
        return finding

    async def mark(self) -> None:
        """Write down how far the books are settled, so that the next start need not look at older rows."""
        if not self._closed and not self._writer.displaced:
            with suppress(StoreError):
                await self._loop.run_in_executor(None, self._mark.settle)

    async def watch(self) -> str:
        """Look whether the file is still in its place, and bring what the mark says down to the disk.

        Returns what is wrong and what to do, empty for nothing. As long as something is, no intents are taken, and
        settlements go to the spill file.
        """
        if self._closed:
            return ""
        finding = await self._loop.run_in_executor(None, self._place.finding)
        if self._writer.displaced != bool(finding):
            self._writer.displaced = bool(finding)
            self._hand_over()  # to wake the writer
        if not finding and self._mark.lags:
            await self._loop.run_in_executor(None, self._mark.secure)
        return finding

    async def reserve(self, intent: ExchangeRecord) -> None:
        """Return once the intent is committed; errors.ledger_unavailable() if it is not.

        Cancelled while waiting, its row may be there or not: the caller settles it as ``released``.
        """
        if self._awaited >= MAX_WAITING or not self.usable():
            raise errors.ledger_unavailable()
        self._open += 1
        if self._open == 1 and not self._awaited and not intent.paid and self._writer.commit_now(intent):
            return
        self._batch.intents.append(intent)
        try:
            await self._commit_of(self._batch.waiters)
        except GatewayError:
            self._open -= 1
            raise

    async def record_task(self, record: TaskRecord) -> None:
        """Return once the record is on the disk; errors.ledger_unavailable() if it is not.

        The task was bought, so it is tried however much waits and however the store has fared; only a closed ledger
        refuses. Cancelled while waiting, the record is written all the same.
        """
        if self._closed:
            raise errors.ledger_unavailable()
        self._batch.tasks.append(record)
        await self._commit_of(self._batch.recorders)

    async def find_task(self, task_id: str) -> TaskRecord | None:
        """The task of that id, the newest if several upstreams have one. Read in a thread, from the file.

        errors.ledger_unavailable() if it cannot be read.
        """
        return await self._read(queries.find_task, task_id, "a task cannot be looked up")

    async def unknown_exchanges(self, since_ns: int) -> list[UnknownExchange]:
        """See ``open_exchanges.unknown_exchanges``. errors.ledger_unavailable() if the file cannot be read."""
        return await self._read(open_exchanges.unknown_exchanges, since_ns, "what is unknown cannot be looked up")

    async def held(self, now_ns: int) -> list[Held]:
        """See ``open_exchanges.held``. errors.ledger_unavailable() if the file cannot be read."""
        return await self._read(open_exchanges.held, now_ns, "what is held cannot be looked up")

    async def charged_since(
        self, start_ns: int, end_ns: int | None = None
    ) -> Mapping[tuple[str, str | None, str], int]:
        """See ``open_exchanges.charged_since``; settlements still ``pending`` are not in it.

        errors.ledger_unavailable() if the file cannot be read.
        """
        query = partial(open_exchanges.charged_since, end_ns=end_ns)
        return await self._read(query, start_ns, "what was charged cannot be looked up")

    async def correct(self, correction: Correction, audit: AuditEntry | None = None) -> bool:
        """Return once the correction is on the disk, with its entry in the audit log; False if the exchange had one
        already.

        Everything settled before the call is known by then. NotUnknown if the exchange is not of unknown outcome,
        ValueError for amounts no row holds, errors.ledger_unavailable() if it cannot be written.
        """
        try:
            return await self.write(partial(corrections.correct, correction=correction, entry=audit))
        except inserts.UNFIT as error:
            raise ValueError(f"the correction of {correction.id} fits no row of the ledger: {error}") from error

    async def prune(self, before_ns: int, now_ns: int) -> Pruned:
        """Remove what came in before ``before_ns``, rounded down to an hour of UTC, and is settled or released.

        Usage stays as it is, to the hour. Works in small steps, between which requests are served; cancelled, or
        stopped by errors.ledger_unavailable(), it has done a part, and can be asked again. The file does not shrink:
        its pages are used again.
        """
        before_ns = prunable_before(before_ns, now_ns)
        settled = released = 0
        place: pruning.Place | None = pruning.Place()
        while place is not None:
            batch, place = await self.write(
                partial(pruning.prune_batch, now_ns=now_ns, before_ns=before_ns, place=place)
            )
            settled += batch.settled
            released += batch.released
        return Pruned(before_ns, settled, released)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in the writer's thread, in a transaction that is on the disk when this returns (``WriterJob``).

        It runs after everything that was handed over before. Raises what it raises, and errors.ledger_unavailable()
        if the store cannot be written. Cancelled while waiting, it was done or not.
        """
        if self._closed:
            raise errors.ledger_unavailable()
        job = WriterJob(work)
        self._batch.jobs.append(job)
        self._hand_over_soon()
        result: T = await asyncio.wrap_future(job.done)
        return result

    def settle(self, settlement: ExchangeRecord) -> None:
        """Take a settlement: never blocks, never raises, committed within SETTLE_SECONDS and a batch's time.

        A store that fails keeps it waiting, not lost. Settling an id again changes nothing. After ``close`` it can
        only be written to the operator's log.
        """
        self._batch.settlements.append(settlement)
        self._open = max(0, self._open - 1)  # one of an earlier process's may be settled late
        self._settling += 1
        if self._closed:
            self._hand_over()
        elif self._settle_timer is None:
            self._settle_timer = self._loop.call_later(SETTLE_SECONDS, self._settle_due)

    async def close(self) -> None:
        """Commit what is pending, end the writer, let go of the store. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._hand_over()
        await self._loop.run_in_executor(None, self._end)

    def _end(self) -> None:
        """In a thread, so that a cancelled ``close`` lets go of the lock after the writer ended, never before."""
        well = self._writer.stop() and not self._damage and not self.unchecked
        if not self._place.finding(closed=True):
            self._mark.end(well)
        self._lock.release()

    def _commit_of(self, waiters: list[Waiter]) -> Waiter:
        """What to wait for after a row was put into the batch; it becomes one of the batch's ``waiters``."""
        waiter = self._loop.create_future()
        waiters.append(waiter)
        self._awaited += 1
        self._hand_over_soon()
        return waiter

    def _hand_over_soon(self) -> None:
        if not self._hand_over_due:  # one hand-over for all that this turn of the loop brings
            self._hand_over_due = True
            self._loop.call_soon(self._hand_over)

    async def _read(self, query: Callable[[Path, A], T], argument: A, failure: str) -> T:
        """Ask the file in a thread. ``failure``: what the log says, with the reason, if it cannot be read."""
        try:
            return await self._loop.run_in_executor(None, query, self.path, argument)
        except StoreError as error:
            log.error("%s: %s", failure, error)
            raise errors.ledger_unavailable() from error

    def _settle_due(self) -> None:
        self._settle_timer = None
        self._hand_over()

    def _hand_over(self) -> None:
        """Give the writer what has come. Settlements gather on until their time, for each commit costs the same; a job
        is to see them.
        """
        self._hand_over_due = False
        batch, self._batch = self._batch, Batch()
        if self._settle_timer is not None:
            if batch.jobs or self._closed:
                self._settle_timer.cancel()
                self._settle_timer = None
            else:
                self._batch.settlements, batch.settlements = batch.settlements, self._batch.settlements
        self._writer.put(batch)

    def _deliver_from_writer(self, waiters: list[Waiter], committed: bool) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver, waiters, committed)
        except RuntimeError:  # the loop is closed: no caller waits any more
            return

    def _deliver(self, waiters: list[Waiter], committed: bool) -> None:
        self._awaited -= len(waiters)
        for waiter in waiters:
            if waiter.done():  # its task was cancelled
                continue
            if committed:
                waiter.set_result(None)
            else:
                waiter.set_exception(errors.ledger_unavailable())
