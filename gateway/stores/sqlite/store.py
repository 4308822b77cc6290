"""The SQLite engine as the rooms above see it: ``stores.base.Store`` and ``StoreReader`` over one file.

Reading opens the file afresh, read-only, in a thread; writing goes through the ledger's one writer.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import tzinfo
from functools import partial
from pathlib import Path
from typing import TypeVar

from gateway.core.errors import StoreError
from gateway.runtime.ports import Clock
from gateway.stores.key_records import MAX_PAGE, StoredKey
from gateway.stores.records import (
    AlertState,
    AuditEntry,
    Balance,
    BalancePeriod,
    Held,
    KnownAlerts,
    Pruned,
    StoredAlert,
    UsageRow,
    Verification,
)
from gateway.stores.seen_exchanges import SeenExchange
from gateway.stores.sqlite import alerts, audit, balances, keys, open_exchanges, pruning, queries, seen_exchanges
from gateway.stores.sqlite.deliveries import SQLiteDeliveries
from gateway.stores.sqlite.durations import SQLiteDurations
from gateway.stores.sqlite.gateways import SQLiteGateways
from gateway.stores.sqlite.jobs import SQLiteJobs
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.lock import StoreLock
from gateway.stores.sqlite.mark import file_state, read_mark
from gateway.stores.sqlite.response_places import SQLiteResponsePlaces
from gateway.stores.sqlite.responses import SQLiteResponses
from gateway.stores.sqlite.schema import CHECKED_AT_ONCE, open_for_writing, reading
from gateway.stores.sqlite.teams import SQLiteTeamReader, SQLiteTeams
from gateway.stores.sqlite.watched_mark import WatchedMark
from gateway.stores.sqlite.writer_jobs import WriterJob

T = TypeVar("T")

PREFIX = "sqlite:///"


def store_path(url: str) -> Path:
    """The file of ``sqlite:///relative.db`` or ``sqlite:////absolute.db``. StoreError for any other form."""
    name = url.removeprefix(PREFIX)
    if not url.startswith(PREFIX) or name in ("", "/", ":memory:") or "?" in name or "\0" in name:
        raise StoreError(f"store {url!r} is not of the form sqlite:///file.db or sqlite:////path/to/file.db.")
    return Path(name)


def pepper_file(path: Path) -> Path:
    """Where the pepper of a store's keys lies."""
    path = path.resolve()
    return path.with_name(f"{path.name}.pepper")


class SQLiteKeyReader:
    """The keys of a file; a file that was not made yet holds none. Implements ``stores.base.KeyReader``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def page(self, after: str = "", limit: int = MAX_PAGE, *, include_revoked: bool = False) -> list[StoredKey]:
        def read() -> list[StoredKey]:
            if not self._path.exists():
                return []
            return keys.list_keys(self._path, after=after, limit=limit, include_revoked=include_revoked)

        return await asyncio.to_thread(read)

    async def find(self, name: str) -> StoredKey:
        return await asyncio.to_thread(keys.find_key, self._path, name)

    async def active(self, now_ns: int) -> list[StoredKey]:
        return await asyncio.to_thread(keys.load_active, self._path, now_ns)

    async def pepper_mark(self) -> bytes | None:
        return await asyncio.to_thread(keys.pepper_mark, self._path)

    async def version(self) -> int:
        """0: while a gateway serves from the file, no other process changes its keys."""
        return 0

    async def changed_since(self, version: int) -> tuple[int, list[StoredKey]]:
        return version, []


class SQLiteKeys(SQLiteKeyReader, keys.KeyStore):
    """The keys of a file that ``writer`` writes. Implements ``stores.base.KeyRecords``."""

    def __init__(self, path: Path, writer: keys.Writes) -> None:
        SQLiteKeyReader.__init__(self, path)
        keys.KeyStore.__init__(self, writer)


class SQLiteUsage:
    """The ledger of a file, summed up. Implements ``stores.base.UsageReports``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def usage(self, *, since_ns: int, until_ns: int, by: Sequence[str], time_zone: tzinfo) -> list[UsageRow]:
        query = partial(queries.usage, since_ns=since_ns, until_ns=until_ns, by=by, time_zone=time_zone)
        return await asyncio.to_thread(query, self._path)

    async def verify(self) -> Verification:
        return await asyncio.to_thread(queries.verify, self._path)

    async def prunable(self, before_ns: int) -> Pruned:
        return await asyncio.to_thread(pruning.prunable, self._path, before_ns)

    async def charged_since(
        self, start_ns: int, end_ns: int | None = None
    ) -> Mapping[tuple[str, str | None, str], int]:
        return await asyncio.to_thread(open_exchanges.charged_since, self._path, start_ns, end_ns)

    async def held(self, now_ns: int) -> list[Held]:
        return await asyncio.to_thread(open_exchanges.held, self._path, now_ns)

    async def audit(self, since_ns: int) -> list[AuditEntry]:
        return await asyncio.to_thread(audit.entries, self._path, since_ns)

    async def latest(
        self, limit: int, *, before: str | None = None, key: str | None = None, request_id: str | None = None
    ) -> list[SeenExchange]:
        return await asyncio.to_thread(seen_exchanges.latest, self._path, limit, before, key, request_id)


class SQLiteBalances:
    """Snapshots of accounts in a file. Implements ``stores.base.BalanceRecords``."""

    def __init__(self, ledger: SQLiteLedger) -> None:
        self._ledger = ledger

    async def record(self, snapshots: Sequence[Balance]) -> None:
        await self._ledger.write(partial(balances.record, balances=snapshots))

    async def periods(self, since_ns: int, until_ns: int) -> list[BalancePeriod]:
        return await asyncio.to_thread(balances.balance_periods, self._ledger.path, since_ns, until_ns)


class SQLiteAlerts:
    """Alerts of budgets in a file. Implements ``stores.alert_records.AlertRecords``."""

    def __init__(self, ledger: SQLiteLedger) -> None:
        self._ledger = ledger

    async def known(self) -> KnownAlerts:
        return await asyncio.to_thread(alerts.known, self._ledger.path)

    async def record(self, alert: StoredAlert) -> bool:
        await self._ledger.write(partial(alerts.record, alert=alert))
        return True  # no other gateway raises alerts in this store

    async def end(self, id: str, state: AlertState) -> None:
        await self._ledger.write(partial(alerts.end, id=id, state=state))

    async def forget_time_before(self) -> None:
        await self._ledger.write(alerts.forget_time_before)


class SQLiteStore:
    """One file, opened to serve, under its lock. Implements ``stores.base.Store``."""

    def __init__(self, ledger: SQLiteLedger) -> None:
        self.ledger = ledger
        self.name = str(ledger.path)
        self.pepper_file = pepper_file(ledger.path)
        self.made = ledger.made
        self.recovered = ledger.recovered
        self.booked_late = ledger.booked_late
        self.unchecked = ledger.unchecked
        self.keys = SQLiteKeys(ledger.path, ledger)
        self.teams = SQLiteTeams(ledger.path, ledger)
        self.usage = SQLiteUsage(ledger.path)
        self.balances = SQLiteBalances(ledger)
        self.alerts = SQLiteAlerts(ledger)
        self.responses = SQLiteResponses(ledger.path, ledger)
        self.response_places = SQLiteResponsePlaces(ledger.path, ledger)
        self.deliveries = SQLiteDeliveries(ledger.path, ledger)
        self.jobs = SQLiteJobs(ledger.path, ledger)
        self.fleet = None
        self.durations = SQLiteDurations(ledger.path, ledger)
        self.gateways = SQLiteGateways()

    @classmethod
    async def open(cls, path: Path, clock: Clock) -> SQLiteStore:
        """See ``SQLiteLedger.open``: raises StoreInUse, StoreError, with words on how to recover."""
        return cls(await SQLiteLedger.open(path, clock=clock))

    async def check(self, told: Callable[[str, int, int], None]) -> str:
        return await self.ledger.check(told)

    async def mark(self) -> None:
        await self.ledger.mark()

    async def watch(self) -> str:
        return await self.ledger.watch()

    async def close(self) -> None:
        await self.ledger.close()


class SQLiteReader:
    """One file, read beside its writer or without one. Implements ``stores.base.StoreReader``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path.resolve())
        self.pepper_file = pepper_file(path)
        self.keys = SQLiteKeyReader(path)
        self.teams = SQLiteTeamReader(path)
        self.usage = SQLiteUsage(path)

    async def exists(self) -> bool:
        return await asyncio.to_thread(os.path.exists, self.path)  # unlike Path.exists, False if looking is forbidden

    def check(self) -> None:
        """Raise StoreError, with words on what to do, if the file is not there or not a store."""
        with reading(self.path):
            pass


class DirectWriter:
    """The one writer of a file that no gateway serves from: runs jobs at once, in the caller's thread."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in a transaction; raise what it raises, StoreError if the file cannot be written."""
        job = WriterJob(work)
        try:
            job.run(self._connection)
        except sqlite3.Error as error:
            raise StoreError(
                f"{self._path} cannot be written: {error}. Check its disk and which other program has it open."
            ) from error
        result: T = job.done.result()
        return result


@contextmanager
def keys_for_writing(path: Path, now_ns: int, making: Callable[[Path], None]) -> Iterator[SQLiteKeys]:
    """The keys of a file that no gateway serves from, while this process has its lock; the file is made if need be.

    ``making``: is told of the file that is made.
    Raises StoreInUse if another process has the lock, StoreLost if the store has lost rows, StoreError.
    """
    path = path.resolve()
    lock = StoreLock.take(path)
    try:
        mark = read_mark(path)
        bytes_before = file_state(path)[1]
        check = not mark.clean and bytes_before <= CHECKED_AT_ONCE
        with closing(open_for_writing(path, now_ns, check=check, mark=mark)) as connection:
            lock.hold()
            if not bytes_before:
                making(path)
            connection.execute("PRAGMA synchronous = FULL")  # what is told as done is on the disk
            yield SQLiteKeys(path, DirectWriter(connection, path))
        WatchedMark(path, mark.settled_through).end(mark.clean)
    finally:
        lock.release()
