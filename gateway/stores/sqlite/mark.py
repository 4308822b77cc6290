"""The mark beside a store: how far its books had come, whether its last writer ended well, up to where nothing is open.

``gateway.db.mark`` holds the store's own count (``tally.py``), so that a start notices what was taken from the store
since: its log, rows, the whole file. It makes starts quick, too: a store whose writer ended well need not be checked
page by page, and only the youngest requests can be open. A mark that is missing or torn costs time and nothing else.

The mark may lag behind the store and never leads: the store is read for it after the commit. What was committed
survives the end of the process (``seen``) but, unless it was synced, not that of the system: so the mark also has the
position that was known to be on the disk (``synced``), and says in which run of the system it was written.

The file has two slots of one line each, written in turn: ``<CRC-32 of the JSON, 8 hex digits> <JSON>``. One that a
crash tore leaves the one before. Earlier versions wrote a JSON document alone.
"""

from __future__ import annotations

import logging
import os
import threading
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from gateway.runtime.boots import this_boot
from gateway.runtime.disk import CAREFULLY, PRIVATELY, sync_data, sync_folder, write_at
from gateway.stores.files import beside, give_to_owner_of
from gateway.stores.sqlite.tally import Count, Position

FEW = 100_000
"""Rows that are looked through in any case. A file that was emptied begins to count its rows anew, from 1."""

SLOT = 4096
"""Bytes: a line has some 2,000."""

log = logging.getLogger("gateway.stores")

FileState = tuple[int, int, int, int]


class Mark(NamedTuple):
    """What the mark says.

    ``clean``: whether its writer ended well. ``settled_through``: the row up to which every intent is settled.
    ``file``: inode, bytes and time of change (Unix nanoseconds) of the store, as that writer left it, and the bytes of
    its log. ``seen``, ``synced``: see above; None in the mark of an earlier version.
    """

    clean: bool
    settled_through: int
    file: FileState
    boot: str = ""
    seen: Position | None = None
    synced: Position | None = None

    @property
    def position(self) -> Position | None:
        """How far the store must have come at least."""
        return self.seen if self.boot and self.boot == this_boot() else self.synced


UNMARKED = Mark(False, 0, (0, 0, 0, 0))


def file_state(store: Path) -> FileState:
    """What a mark holds of the store's file; zeros if it is not there."""
    try:
        status = store.stat()
    except OSError:
        return UNMARKED.file
    log_bytes = 0
    with suppress(OSError):
        log_bytes = store.with_name(f"{store.name}-wal").stat().st_size
    return status.st_ino, status.st_size, status.st_mtime_ns, log_bytes


def read_mark(store: Path) -> Mark:
    """The mark of a store; one that says nothing if there is none that can be believed.

    Of a file that is not the one that was marked, only the position is told.
    """
    try:
        descriptor = os.open(beside(store, "mark"), os.O_RDONLY | CAREFULLY)
        with os.fdopen(descriptor, "rb") as stream:
            content = stream.read(2 * SLOT)
        mark = _parse(content)
    except (OSError, ValueError, TypeError, KeyError):
        return UNMARKED
    state = file_state(store)
    if mark.file[0] != state[0] or mark.settled_through < 0:
        return UNMARKED._replace(boot=mark.boot, seen=mark.seen, synced=mark.synced)
    return mark._replace(clean=mark.clean and mark.file == state)


def write_mark(store: Path, mark: Mark) -> None:
    """Write a mark as the only one, down to the disk. Raises OSError; the mark before it then stays."""
    MarkFile(store, mark).close()


class MarkFile:
    """The mark of a store that is being written, kept open; may be used by several threads.

    The caller holds the StoreLock. A mark that cannot be written is warned about once and otherwise left as it is.
    """

    def __init__(self, store: Path, mark: Mark) -> None:
        """Put a new file in the place of the mark, down to the disk. Raises OSError; what was there then stays."""
        self.mark = mark
        self._store = store
        self._number = 0
        self._failing = False
        self._lock = threading.Lock()
        self._descriptor = self._make()

    @property
    def lags(self) -> bool:
        """Whether more was seen than is known to be on the disk."""
        return self.mark.seen != self.mark.synced

    def note(self, seen: Position) -> None:
        """Write how far the store has come, as it was read after the commit; within the system's memory, so quick."""
        with self._lock:
            self.mark = self.mark._replace(seen=seen)
            self._write()

    def change(self, mark: Mark) -> None:
        """Write what else is to be said."""
        with self._lock:
            self.mark = mark._replace(seen=self.mark.seen)
            self._write()

    def secure(self) -> None:
        """Bring the store's log down to the disk, then say so. Blocks for as long as the disk takes."""
        with self._lock:
            seen = self.mark.seen
        try:
            sync_log(self._store)
        except OSError as error:
            self._failed(error)
            return
        with self._lock:
            self.mark = self.mark._replace(synced=seen)
            if self._gone():
                self._replace()
            self._write()
            with suppress(OSError):  # then the slot before it counts after a power cut
                sync_data(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def _write(self) -> None:
        self._number += 1
        try:
            write_at(self._descriptor, _line(self.mark, self._number), SLOT * (self._number % 2))
        except OSError as error:
            self._failed(error)
        else:
            self._failing = False

    def _make(self) -> int:
        path, fresh = beside(self._store, "mark"), beside(self._store, "mark.new")
        with suppress(FileNotFoundError):
            fresh.unlink()
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | PRIVATELY, 0o600)
        try:
            # Both slots at once: the room is there then, even if the disk fills up.
            line = _line(self.mark, self._number)
            if write_at(descriptor, line.ljust(SLOT) + line.ljust(SLOT), 0) < 2 * SLOT:
                raise OSError("no room")
            sync_data(descriptor)
        except BaseException:
            with suppress(OSError):
                fresh.unlink()
            raise
        finally:
            os.close(descriptor)
        give_to_owner_of(path.parent, fresh)
        fresh.replace(path)
        sync_folder(path.parent)
        return os.open(path, os.O_RDWR | CAREFULLY)

    def _gone(self) -> bool:
        try:
            return not os.path.samestat(os.stat(beside(self._store, "mark")), os.fstat(self._descriptor))
        except OSError:
            return True

    def _replace(self) -> None:
        try:
            descriptor = self._make()
        except OSError as error:
            self._failed(error)
        else:
            os.close(self._descriptor)
            self._descriptor = descriptor

    def _failed(self, error: OSError) -> None:
        if not self._failing:
            log.warning("%s", unmarked(self._store, error))
        self._failing = True


def unmarked(store: Path, error: OSError) -> str:
    """What to say of a mark that cannot be written."""
    return (
        f"{beside(store, 'mark')} cannot be written ({error.strerror or error}), so the next start would not notice a "
        "loss. Check its disk and its permissions."
    )


def sync_log(store: Path) -> None:
    """Bring what was committed to a store down to the disk. Raises OSError.

    What is no longer in the log was synced by SQLite before it took it out. SQLite's locks are on other files, so
    this one may be opened and closed beside it.
    """
    try:
        descriptor = os.open(store.with_name(f"{store.name}-wal"), os.O_RDWR | CAREFULLY)
    except FileNotFoundError:
        return
    try:
        sync_data(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(store.parent)


def _line(mark: Mark, number: int) -> bytes:
    fields = {**mark._asdict(), "number": number, "seen": _fields(mark.seen), "synced": _fields(mark.synced)}
    text = orjson.dumps(fields)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _fields(position: Position | None) -> dict[str, Any] | None:
    if position is None:
        return None
    counts = {name: list(count) for name, count in position.counts.items()}
    return {"store": position.store, "counts": counts, "newest": list(position.newest)}


def _parse(content: bytes) -> Mark:
    """Raises ValueError, TypeError or KeyError for what is no mark."""
    if content.startswith(b"{"):  # of an earlier version
        fields = orjson.loads(content)
        return Mark(fields["clean"] is True, int(fields["settled_through"]), _state(*map(int, fields["file"])))
    slots = [_slot(content[start : start + SLOT]) for start in (0, SLOT)]
    fields = max(filter(None, slots), key=lambda slot: slot["number"])
    return Mark(
        fields["clean"] is True,
        int(fields["settled_through"]),
        _state(*map(int, fields["file"])),
        str(fields["boot"]),
        _position(fields["seen"]),
        _position(fields["synced"]),
    )


def _slot(content: bytes) -> dict[str, Any] | None:
    checksum, _, text = content.partition(b"\n")[0].partition(b" ")
    if not text or checksum != b"%08x" % zlib.crc32(text):
        return None
    fields: dict[str, Any] = orjson.loads(text)
    return fields


def _state(inode: int, size: int, changed: int, log_bytes: int = 0) -> FileState:
    return inode, size, changed, log_bytes


def _position(fields: dict[str, Any] | None) -> Position | None:
    if fields is None:
        return None
    counts = {name: Count(*map(int, figures)) for name, figures in fields["counts"].items()}
    intent, settlement = fields["newest"]
    return Position(str(fields["store"]), counts, (str(intent), str(settlement)))
