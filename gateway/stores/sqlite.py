"""The ledger in one SQLite file: the loop's side. ``writer.py`` is the thread's side."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path
from sqlite3 import Connection
from typing import NamedTuple

from gateway import errors
from gateway.errors import StoreError
from gateway.ports import Clock
from gateway.stores import queries, rows, schema
from gateway.stores.base import Intent, Settlement, TaskRecord
from gateway.stores.lock import StoreLock
from gateway.stores.writer import Batch, Waiter, Writer

MAX_WAITING = 1_000
"""Rows that may wait for their commit; one more intent is refused. rows.MAX_ROWS must not be smaller."""

SETTLE_SECONDS = 0.025
"""How long settlements gather before they are handed over. A killed process leaves at most these as unknown."""

log = logging.getLogger("gateway.stores")


def store_path(url: str) -> Path:
    """The file of ``sqlite:///relative.db`` or ``sqlite:////absolute.db``. StoreError for any other form."""
    prefix = "sqlite:///"
    name = url.removeprefix(prefix)
    if not url.startswith(prefix) or name in ("", "/", ":memory:") or "?" in name or "\0" in name:
        raise StoreError(f"store {url!r} is not of the form sqlite:///file.db or sqlite:////path/to/file.db.")
    return Path(name)


class _Store(NamedTuple):
    """What ``open`` prepares in a thread."""

    path: Path
    connection: Connection
    lock: StoreLock
    recovered: int


class SQLiteLedger:
    """Append-only books in one file; implements ``stores.base.Ledger``.

    Every method but ``open`` belongs to the loop it was opened on. ``recovered``: intents an earlier process had
    left open, settled as ``unknown`` when this one started.
    """

    def __init__(self, path: Path, connection: Connection, lock: StoreLock, recovered: int) -> None:
        self.recovered = recovered
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._lock = lock
        self._writer = Writer(connection, self._deliver_from_writer)
        self._batch = Batch()
        self._hand_over_due = False
        self._settle_timer: asyncio.TimerHandle | None = None
        self._awaited = 0
        self._settling = 0
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, clock: Clock) -> SQLiteLedger:
        """Lock the store, check it, bring it up to date, settle what was left open, start the writer.

        StoreError, with words on how to recover: in use by another process, damaged, not a store, too new.
        """
        opening = asyncio.get_running_loop().run_in_executor(None, _open, path, clock)
        try:
            store = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unused)
            raise
        ledger = cls(*store)
        ledger._writer.start()
        return ledger

    @property
    def pending(self) -> int:
        """Rows handed over and not yet committed."""
        return self._awaited + self._settling - self._writer.booked

    def usable(self) -> bool:
        """False from a failed commit until one works again (the writer tries four times a second), and once closed."""
        return self._writer.usable and not self._closed

    async def reserve(self, intent: Intent) -> None:
        """Return once the intent is committed; errors.ledger_unavailable() if it is not.

        Cancelled while waiting, its row may be there or not: the caller settles it as ``released``.
        """
        if self._awaited >= MAX_WAITING or not self.usable():
            raise errors.ledger_unavailable()
        self._batch.intents.append(intent)
        await self._commit_of(self._batch.waiters)

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
        try:
            return await self._loop.run_in_executor(None, queries.find_task, self._path, task_id)
        except StoreError as error:
            log.error("a task cannot be looked up: %s", error)
            raise errors.ledger_unavailable() from error

    def settle(self, settlement: Settlement) -> None:
        """Take a settlement: never blocks, never raises, committed within SETTLE_SECONDS and a batch's time.

        A store that fails keeps it waiting, not lost. Settling an id again changes nothing. After ``close`` it can
        only be written to the operator's log.
        """
        self._batch.settlements.append(settlement)
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
        if self._settle_timer is not None:
            self._settle_timer.cancel()
        self._hand_over()
        await self._loop.run_in_executor(None, self._end)

    def _end(self) -> None:
        """In a thread, so that a cancelled ``close`` lets go of the lock after the writer ended, never before."""
        self._writer.stop()
        self._lock.release()

    def _commit_of(self, waiters: list[Waiter]) -> Waiter:
        """What to wait for after a row was put into the batch; it becomes one of the batch's ``waiters``."""
        waiter = self._loop.create_future()
        waiters.append(waiter)
        self._awaited += 1
        if not self._hand_over_due:  # one hand-over for all that this turn of the loop brings
            self._hand_over_due = True
            self._loop.call_soon(self._hand_over)
        return waiter

    def _settle_due(self) -> None:
        self._settle_timer = None
        self._hand_over()

    def _hand_over(self) -> None:
        self._hand_over_due = False
        batch, self._batch = self._batch, Batch()
        self._writer.put(batch)

    def _deliver_from_writer(self, waiters: list[Waiter], committed: bool) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver, waiters, committed)
        except RuntimeError:  # the loop is closed: nobody waits any more
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


def _open(path: Path, clock: Clock) -> _Store:
    """Lock first, so that of two gateways started at once only one checks and migrates."""
    path = path.resolve()
    lock = StoreLock.take(path)
    try:
        now_ns = clock.wall_ns()
        connection = schema.open_for_writing(path, now_ns)
        try:
            return _Store(path, connection, lock, rows.close_open_intents(connection, now_ns))
        except sqlite3.Error as error:
            connection.close()
            raise StoreError(f"{path} cannot be written: {error}. Check its disk and who else has it open.") from error
    except BaseException:
        lock.release()
        raise


def _close_unused(opening: asyncio.Future[_Store]) -> None:
    """Whoever wanted the store was cancelled while it was being opened."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().connection.close()
        opening.result().lock.release()
