"""An exclusive lock on an open file, which the system drops when its process ends, however it ends."""

from __future__ import annotations

import os
import struct
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

_FAR_BYTE = 1 << 62


def lock(descriptor: int) -> None:
    """Lock the file of ``descriptor`` for this process, until it is closed.

    Raises BlockingIOError if another process has the lock, another OSError if the file cannot be locked.
    """
    if _UNIX:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        _lock_byte(descriptor)


def lock_beyond(descriptor: int) -> None:
    """Lock the file of ``descriptor`` by a byte far behind its content, for as long as the descriptor is open.

    For a file on which another library has locks of its own: they are of other bytes, and this one is not the
    process's but the open file's, so neither is in the other's way. Raises BlockingIOError if another has the lock.
    Systems that know no such lock do nothing.
    """
    if not _UNIX or not hasattr(fcntl, "F_OFD_SETLK"):
        return
    request = struct.pack("@hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _FAR_BYTE, 1, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, request)
    except (BlockingIOError, PermissionError):  # POSIX allows either
        raise BlockingIOError("the file is locked") from None
    except OSError:  # a file system without it
        return


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
