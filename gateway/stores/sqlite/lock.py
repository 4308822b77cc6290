"""One writer at a time: an exclusive lock on a file beside the store, held for as long as its owner lives.

SQLite 3.7.0 to 3.51.2, save 3.50.7 and 3.44.6, can corrupt a write-ahead log when two connections write or checkpoint
at the same moment (https://sqlite.org/wal.html#walresetbug), and Python often comes with one of these. So no process
opens a store for writing without this lock, the process that holds it has one writing connection, and all others
(``schema.reading``) are read-only: they can neither write nor checkpoint. The kernel drops the lock when the process
ends, however it ends; the file stays, and means nothing without the lock.

A file may have names that lead to other locks: hard links, other mounts. So the store's own file is locked as well, by
a byte that SQLite does not know of (Linux only). Closing any descriptor of a file gives up SQLite's locks on it in the
same process: this one is closed last, after all connections.
"""

from __future__ import annotations

import os
from pathlib import Path

from gateway.core.errors import StoreError
from gateway.runtime.disk import CAREFULLY, read_at, write_at
from gateway.runtime.file_lock import lock, lock_beyond
from gateway.stores.files import beside, open_own
from gateway.stores.records import StoreInUse


class StoreLock:
    """The right to write one store."""

    def __init__(self, store: Path, descriptor: int) -> None:
        self._store = store
        self._descriptors = [descriptor]

    @classmethod
    def take(cls, store: Path) -> StoreLock:
        """Lock ``<store>.lock``, and the store if there is one, for this process. StoreInUse if another holds either,
        StoreError if the lock cannot be made.

        ``store`` must be a resolved path, so that two names of one file share one lock.
        """
        path = beside(store, "lock")
        descriptor = open_own(path, "lock")  # nothing is written to it yet: the lock may be another's
        try:
            lock(descriptor)
        except OSError as error:
            holder = read_at(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            if not isinstance(error, BlockingIOError):
                raise StoreError(
                    f"{path} cannot be locked: {error.strerror or error}. Keep the store on a local disk."
                ) from None
            raise StoreInUse(store, holder or "(unknown)") from None
        taken = cls(store, descriptor)
        try:
            taken.hold()
        except StoreInUse:
            taken.release()
            raise
        os.ftruncate(descriptor, 0)
        write_at(descriptor, f"{os.getpid()}\n".encode(), 0)
        return taken

    def hold(self) -> None:
        """Lock the store's own file; for one that was made since the lock was taken. StoreInUse if another has it."""
        if len(self._descriptors) > 1:
            return
        try:
            descriptor = os.open(self._store, os.O_RDWR | CAREFULLY)
        except OSError:  # not there, or what it is opening it for SQLite will tell
            return
        self._descriptors.append(descriptor)
        try:
            lock_beyond(descriptor)
        except BlockingIOError:
            raise StoreInUse(self._store, "(unknown), by another name of the file") from None

    def release(self) -> None:
        """Let go, once no connection to the store is open any more; a second call does nothing."""
        while self._descriptors:
            os.close(self._descriptors.pop())
