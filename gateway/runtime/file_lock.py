"""An exclusive lock on an open file, which the system drops when its process ends, however it ends."""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    _UNIX = False
else:
    try:
        import fcntl
    except ImportError:
        _UNIX = False
    else:
        _UNIX = True

_LOCKED_BYTE = 1 << 30
"""Windows locks bytes, and no other process may then read them: one far behind what anybody writes."""


def lock(descriptor: int) -> None:
    """Lock the file of ``descriptor`` for this process, until it is closed.

    Raises BlockingIOError if another process has the lock, another OSError if the file cannot be locked.
    """
    if _UNIX:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        _lock_byte(descriptor)


def _lock_byte(descriptor: int) -> None:
    try:
        import msvcrt
    except ImportError:
        raise OSError("this system has no locks that Python knows") from None
    os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except PermissionError as error:  # EACCES: it is locked
        raise BlockingIOError(error.errno, error.strerror) from None
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
