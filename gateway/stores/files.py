"""Files of our own beside the store: opened so that nothing else can stand in their place."""

from __future__ import annotations

import errno
import logging
import os
import stat
from pathlib import Path

from gateway.core.errors import StoreError
from gateway.runtime.disk import CAREFULLY, close_to_others
from gateway.runtime.ownership import give_to_owner_of as give_to_owner_of

log = logging.getLogger("gateway.stores")


def beside(store: Path, ending: str) -> Path:
    """``gateway.db`` → ``gateway.db.lock`` and the like, in the same folder."""
    return store.with_name(f"{store.name}.{ending}")


def store_file(path: Path) -> Path:
    """The file that a store's path leads to, links followed; it need not be there yet.

    Raises StoreError if it leads nowhere, or to what is no file: SQLite would wait for ever for a pipe, and a device's
    mode is not ours to change. Raises FileNotFoundError if the working directory, which a relative path begins in, is
    gone.
    """
    try:
        real = path.resolve()  # OSError of its own: the working directory is gone
    except RuntimeError:  # of Python before 3.13
        raise StoreError(f"{path} is a link that leads back to itself. Name another place for the store.") from None
    try:
        mode = os.stat(real).st_mode
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
            raise StoreError(f"{path} cannot be: {error.strerror}. Name another place for the store.") from None
        return real  # what else keeps it from being seen is told where it is opened
    if not stat.S_ISREG(mode):
        raise StoreError(f"{path} is not a file. Name another place for the store.")
    return real


def open_own(path: Path, what: str) -> int:
    """A descriptor, for reading and writing, of a file that is made for this user alone if need be. ``what`` names it.

    It is written to, so what others put in its place could be lost: StoreError for a link, a pipe, a file with
    several names, and for a place that cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | CAREFULLY, 0o600)
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
    try:
        keep_private(path)
    except StoreError:
        os.close(descriptor)
        raise
    return descriptor


def keep_private(path: Path) -> None:
    """Close a file of a store to other users, and say so, if it is open to them; what is not there is left so.

    StoreError if it is not ours to close.
    """
    try:
        mode = close_to_others(path)
    except PermissionError:
        raise StoreError(f"{path} is open to other users and not ours to close. Run: chmod 600 {path}") from None
    if mode is not None:
        log.warning("%s was open to other users (mode %04o); it is closed now (0600)", path, mode)
