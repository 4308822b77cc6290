"""Signals to child processes whose end asyncio waits for."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress


def send_signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal to a child, unless it has ended. Its exit code stays for ``process.wait()``.

    ``Process.send_signal``, ``terminate`` and ``kill`` of Python before 3.12.8 ask first whether the child has ended,
    and with that take the exit code from asyncio's own watcher: ``wait()`` then returns 255
    (https://github.com/python/cpython/issues/127049).
    """
    if process.returncode is None:
        with suppress(ProcessLookupError):  # it has ended, and asyncio has not heard of it yet
            os.kill(process.pid, number)
