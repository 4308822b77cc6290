"""One writer at a time: an exclusive lock on a file beside the store, held for as long as its owner lives.

SQLite 3.7.0 to 3.51.2, save 3.50.7 and 3.44.6, can corrupt a write-ahead log when two connections write or checkpoint
at the same moment (https://sqlite.org/wal.html#walresetbug), and Python often comes with one of these. So no process
opens a store for writing without this lock, the process that holds it has one writing connection, and all others
(``schema.reading``) are read-only: they can neither write nor checkpoint. The kernel drops the lock when the process
ends, however it ends; the file stays, and means nothing without the lock.
"""

from __future__ import annotations

import os
from pathlib import Path

from gateway.core.errors import StoreError
from gateway.runtime.disk import read_at, write_at
from gateway.runtime.file_lock import lock
from gateway.stores.records import StoreInUse
from gateway.stores.sqlite.files import beside, open_own


class StoreLock:
    """The right to write one store."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, store: Path) -> StoreLock:
        """Lock ``<store>.lock`` for this process. StoreInUse if another holds it, StoreError if it cannot be made.

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
        os.ftruncate(descriptor, 0)
        write_at(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Let go; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
