"""One writer at a time: an exclusive lock on a file beside the store, held for as long as its owner lives.

SQLite before 3.51.3 can corrupt a write-ahead log when two connections write or checkpoint at the same moment
(https://sqlite.org/wal.html#walresetbug). So nobody opens a store for writing without this lock. The kernel drops it
when the process ends, however it ends; the file stays, and means nothing without the lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

from gateway.errors import StoreError


class StoreLock:
    """The right to write one store."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, store: Path) -> StoreLock:
        """Lock ``<store>.lock`` for this process. StoreError if another holds it or the file cannot be made.

        ``store`` must be a resolved path, so that two names of one file share one lock.
        """
        path = store.with_name(store.name + ".lock")
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            if not isinstance(error, BlockingIOError):
                raise StoreError(
                    f"{path} cannot be locked: {error.strerror}. Keep the store on a local disk."
                ) from None
            raise StoreError(
                f"{store} is being written by process {holder or '(unknown)'}. "
                "Stop that gateway, or give this one a 'store' of its own."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Let go; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _open(path: Path) -> int:
    """Open or make a lock file that is nothing else: it is written to, so what others put in its place could be lost.

    Nothing is written here, as the lock may be another's.
    """
    try:
        # O_NONBLOCK: a pipe must not keep us waiting for its other end.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StoreError(f"{path} is a symbolic link, not the lock of a store. Remove it.") from None
        raise StoreError(
            f"{path} cannot be opened: {error.strerror}. Give 'store' a place that can be written."
        ) from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise StoreError(f"{path} is not a file of its own, so it is not the lock of a store. Remove it.")
    return descriptor
