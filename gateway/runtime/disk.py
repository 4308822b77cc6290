"""Files as every system has them: what Linux, macOS and Windows each lack is made up for here, and nowhere else.

Only Linux was seen; the others are emulated in tests (docs/operating.md, "Platforms").
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    _FULL_SYNC = None
else:
    _FULL_SYNC = getattr(fcntl, "F_FULLFSYNC", None)

PRIVATELY = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
"""Flags of every file of ours: no child inherits it, and no system translates its line ends."""

CAREFULLY = PRIVATELY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Flags for a name under which others may have put something: a link is not followed, a pipe not waited for."""

_CANNOT_RESERVE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""Of a file system that cannot give room away: it takes zeros."""

_BLOCK = bytes(64 * 1024)


def has_modes() -> bool:
    """Whether files have modes that keep other users out. Windows has lists of rights instead, which folders hand on
    to the files in them.
    """
    return hasattr(os, "geteuid")


def too_open(status: os.stat_result) -> bool:
    """Whether others than the owner may read or change a file or folder."""
    return has_modes() and bool(status.st_mode & 0o077)


def close_to_others(path: Path) -> int | None:
    """Take from a file or folder what others than its owner may do with it.

    Returns the mode it had; None if it is closed, or not there. Raises PermissionError if it is not ours to change.
    """
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)) or not too_open(status):
        return None  # a link is not what it leads to, and a device is everyone's
    os.chmod(path, stat.S_IMODE(status.st_mode) & 0o700)
    return stat.S_IMODE(status.st_mode)


def read_at(descriptor: int, length: int, offset: int) -> bytes:
    """``os.pread``; without it the descriptor's place moves, which only its one owner may see."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, length, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, length)


def write_at(descriptor: int, data: bytes, offset: int) -> int:
    """``os.pwrite``; see ``read_at``."""
    if hasattr(os, "pwrite"):
        return os.pwrite(descriptor, data, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.write(descriptor, data)


def sync_data(descriptor: int) -> None:
    """Bring what was written down to the disk itself. macOS does so only where it is asked for by a call of its own."""
    if _FULL_SYNC is not None:
        try:
            fcntl.fcntl(descriptor, _FULL_SYNC)
        except OSError:  # a file system that knows no such call
            os.fsync(descriptor)
    elif hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder down to the disk, where folders can be opened at all."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | PRIVATELY)
    except PermissionError:  # Windows
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reserve_room(descriptor: int, size: int, wanted: int) -> None:
    """Make a file of ``size`` bytes ``wanted`` bytes long, so that the disk has the room. Raises OSError if not."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, size, wanted - size)
        except OSError as error:
            if error.errno not in _CANNOT_RESERVE:
                raise
        else:
            return
    while size < wanted:
        size += write_at(descriptor, _BLOCK[: wanted - size], size)
