"""The one thread that writes the books, from the first batch to the last.

It takes everything that waits, commits the intents together, tells the loop with one wake-up, does the same for the
tasks, then commits the settlements and, last, carries out jobs. An intent that is alone may be committed by its own
caller instead (``commit_now``): the connection is used by turns.

A store that fails costs intents their request (nothing was bought yet) and is told to the caller that records a task,
but it never costs a settlement: those are put into the spill file, kept and tried again, and their success, or a
probe's, is how the writer learns that the store works again.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from asyncio import Future
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from gateway.stores.records import ExchangeRecord, TaskRecord
from gateway.stores.spill import Spill
from gateway.stores.sqlite import inserts, schema
from gateway.stores.sqlite.writer_jobs import WriterJob
from gateway.stores.sqlite.written_log import WrittenLog

RETRY_SECONDS = 0.25
"""Between two tries of a store that failed."""

NOTE_SECONDS = 0.1
"""How long at least between two notes of how far the books have come. Each takes the thread as long as a commit: every
20 ms, they were a twentieth of the CPU of 150 paced streams."""

QUICK_SECONDS = 0.005
QUICK_COMMITS = 20
"""A caller commits by itself only after so many commits in a row that each took less than so long: a disk that stalls
shall stall the writer's thread."""

CLOSING_TRIES = 20
"""How often closing tries again to write settlements to a store that fails."""

Waiter = Future[None]
Entry = TypeVar("Entry", ExchangeRecord, TaskRecord)
Insert = Callable[[sqlite3.Connection, Sequence[Entry]], object]

_NAMES = {ExchangeRecord: "an intent", TaskRecord: "a task"}

log = logging.getLogger("gateway.stores")


@dataclass(slots=True)
class Batch:
    """What is handed over at once; ``waiters[i]`` waits for ``intents[i]``, ``recorders[i]`` for ``tasks[i]``."""

    intents: list[ExchangeRecord] = field(default_factory=list)
    waiters: list[Waiter] = field(default_factory=list)
    tasks: list[TaskRecord] = field(default_factory=list)
    recorders: list[Waiter] = field(default_factory=list)
    settlements: list[ExchangeRecord] = field(default_factory=list)
    jobs: list[WriterJob] = field(default_factory=list)


class Writer:
    """Owns the connection and the spill file, and closes them.

    ``deliver(waiters, committed)`` is called in the writer's thread, a few times a batch. It must not raise.
    ``note(connection)`` is called there after commits, seldom, and must not raise anything but sqlite3.Error.
    ``usable``: whether the last try to write worked. ``booked``: settlements that need no more care.
    ``displaced``: set from outside while the file is not in its place: then nothing is written to it, and settlements
    are spilled.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        spill: Spill,
        deliver: Callable[[list[Waiter], bool], None],
        note: Callable[[sqlite3.Connection], None] = lambda _: None,
    ) -> None:
        self.usable = True
        self.booked = 0
        self.displaced = False
        self._turn = threading.Lock()
        self._quick = 0
        self._note = note
        self._noted_at = -NOTE_SECONDS
        self._to_note = False
        self._folded = False
        self._connection = connection
        self._spill = spill
        self._deliver = deliver
        self._inbox: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._owed: list[ExchangeRecord] = []
        self._spilled = 0
        self._waiting: set[Waiter] = set()
        self._jobs: list[WriterJob] = []
        self._synced = False
        self._patient = True
        self._log = WrittenLog(connection)
        self._ended = False
        self._well = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def spilled(self) -> int:
        """Settlements that are in the spill file and not in the store."""
        return self._spilled

    def put(self, batch: Batch) -> None:
        """Hand over a batch; never blocks. Once the thread has ended its waiters are told so at once."""
        self._inbox.put(batch)
        if self._ended:
            self._refuse_rest()

    def commit_now(self, intent: ExchangeRecord) -> bool:
        """Commit an intent in the calling thread, which waits for no lock and for no disk; it survives the process, not
        a power cut. False if that is not to be had, or failed: then ``put`` it.
        """
        if self._quick < QUICK_COMMITS or not self.usable or self.displaced or not self._turn.acquire(blocking=False):
            return False
        try:
            self._set_patience(False)
            self._sync(False)
            self._timed(inserts.insert_intents, [intent])
            self._to_note = True
        except (sqlite3.Error, *inserts.UNFIT):  # the thread meets it again, and knows what to do
            return False
        finally:
            self._turn.release()
        return True

    def stop(self) -> bool:
        """Write what was handed over, close the connection, end the thread. Blocks; safe to call twice.

        Returns whether everything is in the store.
        """
        self._inbox.put(None)
        self._thread.join()
        return not self._owed and self._well

    def _run(self) -> None:
        stopping = False
        try:
            while not stopping:
                batch, stopping = self._take()
                with self._turn:
                    self._write(batch)
            with self._turn:
                self._finish()
        finally:
            self._well = self.usable
            self.usable = False
            self._ended = True
            self._deliver(list(self._waiting), False)
            _refuse(self._jobs)
            self._refuse_rest()
            with self._turn:
                self._connection.close()
            self._spill_owed()
            self._spill.close()
            _log_spilled(self._owed[: self._spilled], self._spill)
            _log_unbooked(self._owed[self._spilled :])

    def _write(self, batch: Batch) -> None:
        if self.displaced:
            self._set_aside(batch)
            return
        self._set_patience(True)
        self._commit(batch)
        self._note_in_time()
        if self.usable:
            self._log.fold_in_time()

    def _take(self) -> tuple[Batch, bool]:
        """Wait for work, or for the time to retry; all that waits becomes one batch. The flag: stop after it."""
        batch = Batch()
        stopping = False
        try:
            item = self._inbox.get(timeout=self._patience())
            while True:
                if item is None:
                    stopping = True
                else:
                    batch.intents += item.intents
                    batch.waiters += item.waiters
                    batch.tasks += item.tasks
                    batch.recorders += item.recorders
                    batch.settlements += item.settlements
                    batch.jobs += item.jobs
                item = self._inbox.get_nowait()
        except queue.Empty:
            return batch, stopping

    def _patience(self) -> float | None:
        """Seconds to wait for work, at most."""
        if not self.usable:
            return RETRY_SECONDS
        return max(0.0, self._noted_at + NOTE_SECONDS - time.monotonic()) if self._to_note else None

    def _note_in_time(self) -> None:
        now = time.monotonic()
        if self._to_note and self.usable and now >= self._noted_at + NOTE_SECONDS:
            self._to_note = False
            self._noted_at = now
            with suppress(sqlite3.Error):  # the next one will do
                self._note(self._connection)

    def _set_aside(self, batch: Batch) -> None:
        """The file is gone from its place: what is written to it now would be lost with it."""
        if not self._folded:  # its log may be what is gone: the file is still to get what was committed
            self._folded = True
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._deliver(batch.waiters + batch.recorders, False)
        _refuse(batch.jobs)
        self._owed += batch.settlements
        self._spill_owed()

    def _commit(self, batch: Batch) -> None:
        self._to_note = self._to_note or bool(batch.intents or batch.tasks or batch.settlements or batch.jobs)
        self._waiting = {*batch.waiters, *batch.recorders}
        self._jobs = batch.jobs
        self._owed += batch.settlements
        if batch.intents:
            paid = any(intent.paid for intent in batch.intents)
            self._acknowledge(inserts.insert_intents, batch.intents, batch.waiters, synced=paid)
        for start in range(0, len(batch.tasks), inserts.MAX_ROWS):
            chunk = slice(start, start + inserts.MAX_ROWS)
            self._acknowledge(inserts.insert_tasks, batch.tasks[chunk], batch.recorders[chunk], synced=True)
        if self._owed:
            self._settle()
        elif not self.usable:
            self._probe()
        for job in batch.jobs:
            self._carry_out(job)

    def _acknowledge(self, insert: Insert[Entry], entries: list[Entry], waiters: list[Waiter], *, synced: bool) -> None:
        """Commit rows that callers wait for, and tell them. ``synced``: whether they must be on the disk by then."""
        try:
            self._sync(synced)
            self._timed(insert, entries)
        except inserts.UNFIT:
            self._acknowledge_singly(insert, entries, waiters)
        except sqlite3.Error as error:
            self._failed(error)
            self._tell(waiters, False)
        else:
            self._worked()
            self._tell(waiters, True)

    def _acknowledge_singly(self, insert: Insert[Entry], entries: list[Entry], waiters: list[Waiter]) -> None:
        """One of them fits no row: only that one shall fail."""
        written: list[Waiter] = []
        refused: list[Waiter] = []
        for entry, waiter in zip(entries, waiters, strict=True):
            try:
                insert(self._connection, [entry])
            except inserts.UNFIT as error:
                log.error("%s fits no row of the ledger: %s", _NAMES[type(entry)], error)
                refused.append(waiter)
            except sqlite3.Error as error:
                self._failed(error)
                refused.append(waiter)
            else:
                written.append(waiter)
        self._tell(written, True)
        self._tell(refused, False)

    def _tell(self, waiters: list[Waiter], committed: bool) -> None:
        self._waiting.difference_update(waiters)
        if waiters:
            self._deliver(waiters, committed)

    def _settle(self) -> None:
        """Commit what is owed, oldest first, until done or the store fails.

        What was spilled is on the disk, and must be there in the store as well before the spill file is emptied.
        """
        while self._owed:
            chunk = self._owed[: inserts.MAX_ROWS]
            try:
                self._sync(self._spill.filled)
                self._timed(inserts.book, chunk)
            except sqlite3.Error as error:
                self._failed(error)
                self._spill_owed()
                return
            del self._owed[: len(chunk)]
            self._spilled = max(0, self._spilled - len(chunk))
            self.booked += len(chunk)
            self._worked()
        if self._spill.filled:
            self._spill.empty()

    def _spill_owed(self) -> None:
        """Put on the disk, outside of the store, what is owed and not there yet."""
        unsafe = self._owed[self._spilled :]
        if unsafe and self._spill.append(unsafe):
            self._spilled = len(self._owed)

    def _carry_out(self, job: WriterJob) -> None:
        """Jobs can be asked for again, so a store that is known to fail is not tried with each of them."""
        if not self.usable:
            job.refuse()
            return
        try:
            self._sync(True)
            job.run(self._connection)
            self._log.commits += 1
        except sqlite3.Error as error:
            self._failed(error)
            job.refuse()

    def _probe(self) -> None:
        try:
            inserts.beat(self._connection)
        except sqlite3.Error as error:
            self._failed(error)
        else:
            self._worked()

    def _timed(self, insert: Insert[Entry], entries: Sequence[Entry]) -> None:
        began = time.monotonic()
        insert(self._connection, entries)
        self._quick = self._quick + 1 if time.monotonic() - began < QUICK_SECONDS else 0
        self._log.commits += 1

    def _set_patience(self, patient: bool) -> None:
        """Whether a statement waits for a lock that another program has on the file."""
        if patient != self._patient:
            milliseconds = int(schema.BUSY_SECONDS * 1000) if patient else 0
            self._connection.execute(f"PRAGMA busy_timeout = {milliseconds:d}")
            self._patient = patient

    def _sync(self, full: bool) -> None:
        """FULL: the commit is on the disk before it returns. NORMAL: it survives the process, not a power cut."""
        if full != self._synced:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            self._synced = full

    def _failed(self, error: sqlite3.Error) -> None:
        if self.usable:
            log.error("the ledger cannot be written, requests are refused until it can: %s", error)
        self.usable = False

    def _worked(self) -> None:
        if not self.usable:
            log.warning("the ledger is written again")
        self.usable = True

    def _finish(self) -> None:
        """Before closing: give a store that fails some time to work again."""
        for _ in range(CLOSING_TRIES):
            if not self._owed or self.displaced:
                return
            time.sleep(RETRY_SECONDS)
            self._settle()

    def _refuse_rest(self) -> None:
        """The thread has ended: what still waits is refused."""
        try:
            while True:
                batch = self._inbox.get_nowait()
                if batch is not None:
                    self._deliver(batch.waiters + batch.recorders, False)
                    _refuse(batch.jobs)
                    _log_unbooked(batch.settlements)
        except queue.Empty:
            return


def _refuse(jobs: Sequence[WriterJob]) -> None:
    for job in jobs:
        job.refuse()


def _log_spilled(settlements: list[ExchangeRecord], spill: Spill) -> None:
    for settlement in settlements:
        log.error("not booked yet, the next start will, from %s: %r", spill.path, settlement)


def _log_unbooked(settlements: list[ExchangeRecord]) -> None:
    """The last resort: a settlement no store took is at least written to the operator's log. It holds no secrets."""
    for settlement in settlements:
        log.critical("not booked, and unknown from the next start on: %r", settlement)
