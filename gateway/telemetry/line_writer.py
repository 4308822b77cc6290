"""Writes lines to a stream from a thread of its own, so that a slow or unread pipe stalls only that thread."""

from __future__ import annotations

import atexit
import io
import os
import threading
import time
from collections.abc import Callable
from typing import TextIO

HELD_AT_MOST = 64 * 1024 * 1024
"""Bytes of lines waiting to be written; lines beyond it are dropped and counted, and a line reports how many."""

PAUSE = 0.05
"""Seconds between batches, so that a busy gateway wakes the thread twenty times a second and not for every line."""

_BATCH = 256
"""Lines written at once."""


class LineWriter:
    """A bounded buffer before a stream. ``write`` may be called from any thread and never waits for the stream.

    ``on_drop``: makes the line that reports a number of dropped lines.
    ``held_at_most``: bytes of lines waiting to be written.
    ``pause``: seconds between batches.
    """

    def __init__(
        self,
        stream: TextIO,
        on_drop: Callable[[int], bytes],
        *,
        held_at_most: int = HELD_AT_MOST,
        pause: float = PAUSE,
    ) -> None:
        self._stream = stream
        self._fd = _own_descriptor(stream)
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
        with self._lock:
            if self._closing or self._held + len(line) > self._held_at_most:
                self.dropped += 1
                return
            if self._held == 0:
                self._drained.clear()
            self._held += len(line)
            first = not self._lines
            self._lines.append(line)
            if self._thread is None:
                self._start()
        if urgent:
            self._urgent.set()
        if first:
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
            self._something.wait()
            self._urgent.wait(self._pause)
            self._something.clear()
            self._urgent.clear()
            with self._lock:
                lines, self._lines = self._lines, []
                closing = self._closing
            for start in range(0, len(lines), _BATCH):
                self._put(lines[start : start + _BATCH])
            self._say_what_was_dropped()
            if closing:
                self._let_go()
                return

    def _put(self, lines: list[bytes]) -> None:
        data = b"".join(lines)
        written = self._put_bytes(data)
        with self._lock:
            self._held -= len(data)
            if not written:
                self.dropped += len(lines)
            if self._held == 0:
                self._drained.set()

    def _say_what_was_dropped(self) -> None:
        missing = self.dropped - self._said
        if missing and self._put_bytes(self._on_drop(missing)):
            self._said += missing

    def _put_bytes(self, data: bytes) -> bool:
        """Write everything; False if the stream is broken (its reader gone, the disk full)."""
        try:
            if self._fd is None:
                self._stream.write(data.decode("utf-8", "replace"))
                self._stream.flush()
                return True
            rest = memoryview(data)
            while rest:
                try:
                    rest = rest[os.write(self._fd, rest) :]
                except BlockingIOError:  # another process made the shared terminal or pipe non-blocking
                    time.sleep(0.01)
        except (OSError, ValueError):  # ValueError: the stream object was closed
            return False
        return True

    def _let_go(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _own_descriptor(stream: TextIO) -> int | None:
    """A duplicate of the stream's descriptor, so that writing never waits for a lock of the stream object; None for
    streams in memory.
    """
    try:
        return os.dup(stream.fileno())
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        return None
