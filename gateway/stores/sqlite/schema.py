"""Opening a store's file: for the one writer, or for readers. Nothing here overwrites a file it does not understand."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from pathlib import Path

from gateway.core.errors import StoreError
from gateway.runtime.disk import PRIVATELY
from gateway.stores.files import beside, give_to_owner_of, keep_private, store_file
from gateway.stores.sqlite.booked_prices import WritingConnection
from gateway.stores.sqlite.loss import StoreLost, find_loss, lost_file
from gateway.stores.sqlite.mark import UNMARKED, Mark, file_state, read_mark

log = logging.getLogger("gateway.stores")

APPLICATION_ID = 0x50694777
"""Marks the file as ours, in SQLite's own header field; set by the first migration."""

_APPLICATION_ID_AT = 68
"""Where a database's head has it: four bytes, the highest first."""

BUSY_SECONDS = 5.0
"""How long a statement waits for a lock that another program holds."""

CHECKPOINT_PAGES = 4_000
"""Pages in the write-ahead log before it is copied into the main file (16 MiB): a pause, so not too often."""

CACHE_KIB = 16_384
"""The writer's page cache: the right-hand edges of all trees, and recent ids if they come in no order."""

LOG_SIZE_LIMIT = 64 * 1024 * 1024
"""Bytes; a log that grew beyond (because of a long reader) is cut back."""


_STEPS = 100_000
"""Instructions of SQLite's machine, a few milliseconds, between two questions whether to go on."""

_without_traces: ContextVar[bool] = ContextVar("without_traces", default=False)
"""Whether readers may not even make SQLite's own files beside a store; see ``without_traces``."""

CHECKED_AT_ONCE = 64 * 1024 * 1024
"""Bytes of a store that is checked page by page before it is used: a third of a second of an ordinary disk."""


def open_for_writing(
    path: Path,
    now_ns: int,
    *,
    check: bool = True,
    given_up: Callable[[], bool] | None = None,
    mark: Mark = UNMARKED,
    accepting: bool = False,
) -> sqlite3.Connection:
    """The writing connection, in autocommit; the file is made or migrated as needed. Mode 0600, WAL, NORMAL.

    ``check``: whether every page and row is looked at before. ``given_up``: is asked again and again, also by the
        connection's later statements, whether to stop with an error. ``mark``: what the store must hold at least.
        ``accepting``: whether it may hold less all the same.

    The caller holds the StoreLock. The connection may be handed to another thread, but used by one at a time.
    StoreError: not a database, damaged, another program's, or of a newer version; StoreLost if it has lost rows. The
    file is then as it was.
    """
    with told_plainly(path):
        look_at_file(path, mark, accepting=accepting)
        _make_file(path)
        if _looks_ours(path):
            _make_private(path)
        # Looked at through a read-only connection first: one that may write would fold the log into a damaged file.
        with closing(connect_reading(path)) as look:
            look.set_progress_handler(given_up, _STEPS)
            version = schema_version(look, path)
            findings = look.execute("PRAGMA quick_check(1)").fetchone()[0] if check else "ok"
            if findings != "ok":
                raise StoreError(_damaged(path, findings))
            if not accepting:
                _look_for_loss(look, path, mark, recount=check)
        _make_private(path)  # what only its log says to be ours
        connection = sqlite3.connect(
            path,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
            factory=WritingConnection,
        )
        connection.known_prices = {}
        connection.set_progress_handler(given_up, _STEPS)
        try:
            _prepare(connection, version, now_ns)
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection inside one transaction, so that all its answers are of one moment.

    It can neither write nor copy the log into the file, not even when it is the last to leave: see ``lock.py`` for why
    only one connection may. Works beside a running gateway and without one. StoreError: no such store, damaged, another
    program's, or of another version; also for any failure while the connection is in use.
    """
    path = store_file(path)
    if not file_state(path)[1]:  # SQLite would throw away the log beside an empty file
        look_at_file(path, read_mark(path), accepting=False)
    if not os.path.exists(path):  # unlike Path.exists, False where looking is forbidden
        raise StoreError(
            f"{path} does not exist or cannot be seen. A gateway makes it when it starts; is 'store' the right one?"
        )
    with told_plainly(path), closing(connect_reading(path)) as connection:
        version = schema_version(connection, path)
        if version < len(migrations()):
            raise StoreError(
                f"{path} holds no books of this version yet. Start the gateway once to bring it up to date."
            )
        connection.execute("PRAGMA cache_size = -65536")  # KiB: a month's rows are visited in two trees at once
        connection.execute("BEGIN")
        yield connection


@contextmanager
def without_traces() -> Iterator[None]:
    """Readers in this context leave nothing beside a store: SQLite makes a log and its index for the first of them.

    Without either a store is read as a file that never changes, which is only for a short look: a gateway that starts
    meanwhile is not seen.
    """
    token = _without_traces.set(True)
    try:
        yield
    finally:
        _without_traces.reset(token)


def look_at_file(path: Path, mark: Mark, *, accepting: bool) -> None:
    """Before SQLite sees it: it throws away the log beside an empty file, and would keep a log for each name of one."""
    if not accepting and not file_state(path)[1] and (loss := lost_file(mark)):
        raise StoreLost(path, loss)
    try:
        status = path.stat()
    except OSError:
        return
    if not status.st_size and path.with_name(f"{path.name}-wal").exists() and file_state(path)[3]:
        raise StoreError(
            f"{path} is empty, and its log is not: {path.name} was replaced or cut. Put it back, or a backup: "
            "piapi-gateway restore DIR. To begin with empty books, move the log away."
        )
    if status.st_nlink > 1 and stat.S_ISREG(status.st_mode):
        if mark.file[0] != status.st_ino:
            raise StoreError(
                f"{path} is another name of a file (a hard link; see: find -samefile {path}). What its own name has in "
                "its log would be missing here. Name that one as 'store', or copy the file by: piapi-gateway backup"
            )
        log.warning("%s has other names (hard links); no gateway is let in by them. Remove them", path)


def _look_for_loss(look: sqlite3.Connection, path: Path, mark: Mark, *, recount: bool) -> None:
    loss = find_loss(look, mark, recount=recount)
    if loss:
        raise StoreLost(path, loss)


def look_through(path: Path, told: Callable[[str, int, int], None], stopped: Callable[[], bool]) -> str:
    """What is wrong with the pages of a store, table by table; empty if nothing is. StoreError if it cannot be read.

    ``told``: is called before each table with its name, its number and how many there are. ``stopped``: whether to
    give up, which finds nothing.
    """
    with reading(path) as store:
        store.set_progress_handler(stopped, _STEPS)
        tables = [
            name for (name,) in store.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        ]
        for number, name in enumerate(tables, start=1):
            told(name, number, len(tables))
            try:
                (finding,) = store.execute(f"PRAGMA quick_check('{name}')").fetchone()
            except sqlite3.OperationalError:
                if stopped():
                    return ""
                raise
            if finding != "ok":
                return _damaged(path, finding)
        try:
            loss = find_loss(store, UNMARKED, recount=True)
        except sqlite3.OperationalError:
            if stopped():
                return ""
            raise
    return str(StoreLost(path, loss)) if loss else ""


def _make_file(path: Path) -> None:
    """Create the file if it is not there."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | PRIVATELY, 0o600)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be opened for writing: {error.strerror}. Check 'store' in the configuration."
        ) from None
    os.close(descriptor)


def _looks_ours(path: Path) -> bool:
    """Whether a file is empty or has our mark in its head. Another program's may be meant for others: it is let be."""
    with open(path, "rb") as stream:
        head = stream.read(_APPLICATION_ID_AT + 4)
    return not head or head[_APPLICATION_ID_AT:] == APPLICATION_ID.to_bytes(4, "big")


def _make_private(path: Path) -> None:
    """Take from a store what others may do with it. Its log inherits the mode and the owner."""
    for ending in ("", "-wal", "-shm"):
        keep_private(path.with_name(path.name + ending))
    keep_private(beside(path, "mark"))
    give_to_owner_of(path.parent, path)  # before SQLite makes its log, which it gives to the file's owner


def connect_reading(path: Path) -> sqlite3.Connection:
    """A read-only connection. A file whose log cannot be opened because its medium cannot be written (a snapshot, a
    mounted copy) is read as one that never changes; what a log beside it holds would be missing, so there must be none.
    """
    if _without_traces.get() and not path.with_name(f"{path.name}-shm").exists():
        return _connect_still(path, "with rows in its log that the next start reads in: look again after it.")
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise
        return _connect_still(
            path,
            "where nothing can be written, with rows in its log that can only be read where it can: "
            "copy it and its -wal to another folder.",
        )
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_still(path: Path, otherwise: str) -> sqlite3.Connection:
    """A connection to a file that does not change meanwhile. StoreError, with how it lies ``otherwise``, if a log
    beside it holds rows, which would be missing.
    """
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise StoreError(f"{path} lies {otherwise}")
    return sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)


def schema_version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version of the file, 0 for an empty one. StoreError if it is not ours or too new."""
    if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
        if (
            connection.execute("PRAGMA page_count").fetchone()[0] > 1
            or connection.execute("PRAGMA application_id").fetchone()[0]
        ):
            raise StoreError(_damaged(path, "it has pages, and no table"))
        return 0
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StoreError(f"{path} is a database of another program. Give 'store' another path; the file is untouched.")
    version: int = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()[0]
    known = len(migrations())
    if version > known:
        raise StoreError(
            f"{path} was written by a newer piapi-gateway (schema {version}, this one knows {known}). "
            "Run that version, or restore the copy made before the upgrade; the file is untouched."
        )
    return version


def _prepare(connection: sqlite3.Connection, version: int, now_ns: int) -> None:
    """Set the pragmas and run the migrations that are missing, each in its own transaction."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA fullfsync = ON")  # macOS alone knows a sync that stops short of the disk
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_SIZE_LIMIT}")
    scripts = migrations()
    pages, size = (connection.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "page_size"))
    large = pages * size > CHECKED_AT_ONCE  # then a step may last seconds
    for number, script in enumerate(scripts, start=1):
        if number > version:
            if large:
                log.warning("bringing the store up to date: step %d of %d", number - version, len(scripts) - version)
            stamp = f"INSERT INTO schema_version VALUES ({number}, {now_ns:d});"  # noqa: S608
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\n{stamp}\nCOMMIT;")
    if version < len(scripts):  # so that no store is without its tables when it is without its log
        how = "PASSIVE" if version else "TRUNCATE"  # there may be readers, for which the other would wait
        connection.execute(f"PRAGMA wal_checkpoint({how})").fetchall()


@cache
def migrations() -> tuple[str, ...]:
    """The scripts ``0001_….sql``, ``0002_….sql`` … in order: the number of a script is the version it leads to.

    Read once: every reading of the books asks how many there are.
    """
    folder = files("gateway.stores.sqlite") / "migrations"
    scripts = sorted((entry.name, entry) for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple(entry.read_text("utf-8") for _, entry in scripts)


_NOT_WHOLE = ("no such table", "no such column", "malformed")
"""What SQLite says of a file that lacks a part of itself."""


@contextmanager
def told_plainly(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into a StoreError that says what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:  # locked, no permission, disk full: the file itself may be well
        if str(error).startswith(_NOT_WHOLE):
            raise StoreError(_damaged(path, str(error))) from error
        raise StoreError(
            f"{path} cannot be used: {error}. Check its permissions, its disk and who else has it open."
        ) from error
    except sqlite3.DatabaseError as error:
        raise StoreError(_damaged(path, str(error))) from error


def _damaged(path: Path, finding: str) -> str:
    return (
        f"{path} is damaged or not a database ({finding}). It was left as it is. Restore a backup, or save what can be "
        f"read with: sqlite3 {path} .recover. To begin with empty books, move the file and its -wal away, and say why: "
        "piapi-gateway ledger verify --accept-loss REASON"
    )
