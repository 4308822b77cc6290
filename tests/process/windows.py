"""The command line on a system that lacks what Windows lacks. An EMULATION: it hides names, it is not Windows.

python -m tests.process.windows serve --config config.yaml
"""

from __future__ import annotations

import asyncio
import asyncio.unix_events
import errno
import fcntl
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import types
from typing import Any, NoReturn

# What the standard library has looked for when it was imported stays with it: on Windows it looks elsewhere.
_IMPORTED = (ssl, subprocess, tempfile)

MODULES = ("uvloop", "fcntl", "resource", "termios", "tty", "pty", "pwd", "grp", "syslog", "posix")
OF_OS = (
    *("fork", "forkpty", "getuid", "geteuid", "getgid", "getegid", "getgroups", "getpgrp", "getpgid", "setsid"),
    *("tcgetpgrp", "tcsetpgrp", "fchmod", "fchown", "chown", "lchown", "pread", "pwrite", "preadv", "pwritev"),
    *("posix_fallocate", "posix_fadvise", "fdatasync", "sched_getaffinity", "sched_setaffinity", "statvfs", "fstatvfs"),
    *("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_DIRECTORY", "O_SYNC", "O_DSYNC", "uname", "mkfifo", "ttyname"),
)
OF_SIGNAL = ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGKILL", "SIGCHLD", "SIGPIPE", "SIGWINCH", "SIGCONT")
OF_SOCKET = ("SO_REUSEPORT", "TCP_USER_TIMEOUT", "MSG_DONTWAIT", "sendmsg")


def hide() -> None:
    """Take away what Windows lacks, and put its way to lock files in the place of ours."""
    real_flock, exclusively = fcntl.flock, fcntl.LOCK_EX | fcntl.LOCK_NB

    def locking(descriptor: int, mode: int, count: int) -> None:
        assert (mode, count) == (2, 1)
        assert os.lseek(descriptor, 0, os.SEEK_CUR) > 1024, "a locked byte can be read by nobody else"
        try:
            real_flock(descriptor, exclusively)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None

    msvcrt: Any = types.ModuleType("msvcrt")
    msvcrt.locking, msvcrt.LK_NBLCK = locking, 2
    sys.modules["msvcrt"] = msvcrt
    for module in MODULES:
        sys.modules[module] = None  # type: ignore[assignment]
    for owner, names in ((os, OF_OS), (signal, OF_SIGNAL), (socket, OF_SOCKET)):
        for name in names:
            if hasattr(owner, name):
                delattr(owner, name)
    if sys.version_info >= (3, 13):
        os.process_cpu_count = os.cpu_count  # without sched_getaffinity it is that
    shutil.rmtree = _rmtree  # type: ignore[assignment]
    asyncio.unix_events._UnixSelectorEventLoop.add_signal_handler = _no_handler  # type: ignore[method-assign]
    real_open = os.open

    def open_no_folder(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real_open(path, flags, mode, **more)

    os.open = open_no_folder


def _no_handler(*_: object) -> NoReturn:
    raise NotImplementedError


def _rmtree(path: Any, ignore_errors: bool = False, **_: Any) -> None:
    """The standard library's opens folders, which it does not do on Windows."""
    for folder, folders, names in os.walk(path, topdown=False):
        for name in names:
            os.unlink(os.path.join(folder, name))
        for name in folders:
            os.rmdir(os.path.join(folder, name))
    if os.path.isdir(path) or not ignore_errors:
        os.rmdir(path)


if __name__ == "__main__":
    hide()
    from gateway.cli.main import main

    sys.exit(main(sys.argv[1:]))
