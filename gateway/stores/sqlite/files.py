"""Files of our own beside the store: opened so that nothing else can stand in their place."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from gateway.core.errors import StoreError
from gateway.runtime.ownership import give_to_owner_of as give_to_owner_of


def beside(store: Path, ending: str) -> Path:
    """``gateway.db`` → ``gateway.db.lock`` and the like, in the same folder."""
    return store.with_name(f"{store.name}.{ending}")


def open_own(path: Path, what: str) -> int:
    """A descriptor, for reading and writing, of a file that is made for this user alone if need be. ``what`` names it.

    It is written to, so what others put in its place could be lost: StoreError for a link, a pipe, a file with
    several names, and for a place that cannot be written.
    """
    try:
        # O_NONBLOCK: a pipe must not keep us waiting for its other end.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StoreError(f"{path} is a symbolic link, not the {what} of a store. Remove it.") from None
        raise StoreError(
            f"{path} cannot be opened: {error.strerror}. Give 'store' a place that can be written."
        ) from None
    give_to_owner_of(path.parent, path)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise StoreError(f"{path} is not a file of its own, so it is not the {what} of a store. Remove it.")
    return descriptor
