"""Writes lines to a stream or a file from a thread of its own, so that a slow or unread pipe stalls only that thread.

A line is never torn: what is written at once are whole lines, few enough for a pipe to take them in one piece even if
others write to it too (POSIX: PIPE_BUF); and where a full disk takes only a part, that part is taken back.
"""

from __future__ import annotations

import atexit
import io
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from gateway.telemetry.log_file import LogFile

HELD_AT_MOST = 64 * 1024 * 1024
"""Bytes of lines waiting to be written; lines beyond it are dropped and counted, and a line reports how many."""

PAUSE = 0.05
"""Seconds between batches, so that a busy gateway wakes the thread twenty times a second and not for every line."""

AT_ONCE = 4096
"""Bytes written at once, if that is not less than a line: Linux's PIPE_BUF."""

TRY_AGAIN = 1.0
"""Seconds between two attempts to say how much was dropped."""


class LineWriter:
    """A bounded buffer before a stream. ``write`` may be called from any thread and never waits for the stream.

    ``on_drop``: makes the line that reports a number of dropped lines.
    ``held_at_most``: bytes of lines waiting to be written.
    ``pause``: seconds between batches.
    """

    def __init__(
        self,
        stream: TextIO | LogFile,
        on_drop: Callable[[int], bytes],
        *,
        held_at_most: int = HELD_AT_MOST,
        pause: float = PAUSE,
    ) -> None:
        self._file = stream if isinstance(stream, LogFile) else None
        self._stream = None if isinstance(stream, LogFile) else stream
        self._fd = None if isinstance(stream, LogFile) else _own_descriptor(stream)
        self._torn = False
        self._on_drop = on_drop
        self._held_at_most = held_at_most
        self._pause = pause
        self._lock = threading.Lock()
        self._lines: list[bytes] = []
        self._held = 0
        self._said = 0
        self._thread: threading.Thread | None = None
        self._closing = False
        self._something = threading.Event()
        self._urgent = threading.Event()
        self._drained = threading.Event()
        self._drained.set()
        self.dropped = 0
        """Lines that were never written, since the start."""

    def write(self, line: bytes, *, urgent: bool = False) -> None:
        """Hand over one line, its line end included.

        ``urgent``: write it at once instead of with the next batch.
        """
        size = len(line)
        with self._lock:
            if self._closing or self._held + size > self._held_at_most:
                self.dropped += 1
                return
            if self._held == 0:
                self._drained.clear()
            self._held += size
            first = not self._lines
            self._lines.append(line)
            if self._thread is None:
                self._start()
        if urgent:
            self._urgent.set()
        if first:
            self._something.set()

    def wake(self) -> None:
        """Look at the file now, even if there is no line for it."""
        with self._lock:
            if not self._closing and self._thread is None:
                self._start()
        self._urgent.set()
        self._something.set()

    def flush(self, timeout: float = 2.0) -> bool:
        """Wait until all lines are written, at most ``timeout`` seconds; returns whether they were."""
        self._urgent.set()
        return self._drained.wait(timeout)

    def close(self, timeout: float = 2.0) -> None:
        """Write the remaining lines, for at most ``timeout`` seconds; lines handed over after that are dropped."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            thread = self._thread
        atexit.unregister(self.close)
        self._urgent.set()
        self._something.set()
        if thread is not None:
            thread.join(timeout)
        else:
            self._let_go()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def _run(self) -> None:
        while True:
            self._something.wait(TRY_AGAIN if self.dropped != self._said else None)
            self._urgent.wait(self._pause)
            self._something.clear()
            self._urgent.clear()
            with self._lock:
                lines, self._lines = self._lines, []
                closing = self._closing
            if self._file is not None:
                self._fd = self._file.descriptor()
            for some in _together(lines):
                self._put(some)
            self._say_what_was_dropped()
            if closing:
                self._let_go()
                return

    def _put(self, lines: list[bytes]) -> None:
        data = b"".join(lines)
        written = self._put_bytes(data)
        with self._lock:
            self._held -= len(data)
            self.dropped += len(lines) - written
            if self._held == 0:
                self._drained.set()

    def _say_what_was_dropped(self) -> None:
        missing = self.dropped - self._said
        if missing and self._put_bytes(self._on_drop(missing)):
            self._said += missing

    def _put_bytes(self, data: bytes) -> int:
        """Write lines; return how many were written whole: fewer than all if the stream is broken (its reader gone, the
        disk full).
        """
        if self._fd is None:
            return self._put_text(data)
        if self._torn:
            data = b"\n" + data  # what could not be taken back shall not spoil the next line, too
        done = 0
        try:
            while done < len(data):
                try:
                    done += os.write(self._fd, data[done:] if done else data)
                except BlockingIOError:  # another process made the shared terminal or pipe non-blocking
                    time.sleep(0.01)
        except OSError:
            whole = data.rfind(b"\n", 0, done) + 1
            self._torn = _torn_after(self._fd, done - whole) or (self._torn and not done)
            return max(0, data.count(b"\n", 0, done) - (data[:1] == b"\n"))
        self._torn = False
        return data.count(b"\n") - (data[:1] == b"\n")

    def _put_text(self, data: bytes) -> int:
        assert self._stream is not None
        try:
            self._stream.write(data.decode("utf-8", "replace"))
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream object was closed
            return 0
        return data.count(b"\n")

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
        elif self._fd is not None:
            os.close(self._fd)
        self._fd = None


def _together(lines: list[bytes]) -> Iterator[list[bytes]]:
    """Lines that are written at once."""
    some: list[bytes] = []
    size = 0
    for line in lines:
        if some and size + len(line) > AT_ONCE:
            yield some
            some, size = [], 0
        some.append(line)
        size += len(line)
    if some:
        yield some


def _torn_after(descriptor: int, torn: int) -> bool:
    """Take back the last ``torn`` bytes that were written, a part of a line; True if they stay."""
    if not torn:
        return False
    try:
        status, place = os.fstat(descriptor), os.lseek(descriptor, 0, os.SEEK_CUR)
        if not stat.S_ISREG(status.st_mode) or place != status.st_size:
            return True  # no file, or others have written since
        os.ftruncate(descriptor, place - torn)
        os.lseek(descriptor, place - torn, os.SEEK_SET)
    except OSError:
        return True
    return False


def _own_descriptor(stream: TextIO) -> int | None:
    """A duplicate of the stream's descriptor, so that writing never waits for a lock of the stream object; None for
    streams in memory.
    """
    try:
        return os.dup(stream.fileno())
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        return None
