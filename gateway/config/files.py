"""The reading of a file's text, within bounds, with a problem at the right place where that fails."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from pathlib import Path
from typing import BinaryIO

from gateway.config.problems import Location, Position, Problems

MAX_FILE_BYTES = 4 * 1024**2

PIPE_SECONDS = 5.0
"""How long a pipe or a device may say nothing: one without a writer would hold a start up for ever."""

PIPE_LONGEST = 20.0
"""How long one may take altogether: a writer may trickle for ever."""

QUIET_SECONDS = 0.25
"""How long a file must have been left alone before it is read again: an editor may still be writing it."""

SETTLE_SECONDS = 3.0
"""How long a file that keeps changing is waited for."""

_NO_WAITING = getattr(os, "O_NONBLOCK", 0)


def read_text(
    path: Path, problems: Problems, named_at: Position | None = None, location: Location = (), *, again: bool = False
) -> str | None:
    """The file's text; None if it has none that can be used, and then ``problems`` says why.

    ``named_at``, ``location``: the setting that names the file, where it is told that it cannot be read; without one it
    is told of the file itself.
    ``again``: whether it was read before. Then it must be a file that can be read twice, which a pipe cannot, and it is
    read until it has not changed meanwhile.
    """
    file = str(path)
    at = named_at or Position(file)
    subject = f"{file} " if named_at else ""
    try:
        data = _read_settled(path) if again else _read(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a usable path"
        problems.add(at, location, f"{subject}cannot be read: {reason}")
        return None
    if len(data) > MAX_FILE_BYTES:
        problems.add(at, location, f"{subject}is larger than {MAX_FILE_BYTES} bytes")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        problems.add(Position(file, line, column), (), "not UTF-8 text; save the file as UTF-8")
        return None


def _read(path: Path) -> bytes:
    """The file's first bytes, one more than are allowed. Raises OSError, also for a pipe that says nothing."""
    with _opened(path) as stream:
        if stat.S_ISREG(os.fstat(stream.fileno()).st_mode) or not _NO_WAITING:
            return _up_to_the_end(stream)
        data = bytearray()
        deadline = time.monotonic() + PIPE_LONGEST
        while len(data) <= MAX_FILE_BYTES:
            if time.monotonic() > deadline:
                raise OSError(0, f"it is no file, and its end did not come within {PIPE_LONGEST:g} s")
            if not select.select([stream.fileno()], [], [], PIPE_SECONDS)[0]:
                raise OSError(
                    0, f"nothing came out of it for {PIPE_SECONDS:g} s; it is no file, and nobody writes to it"
                )
            piece = stream.read(MAX_FILE_BYTES + 1 - len(data))
            if piece == b"":
                break
            data += piece or b""
        return bytes(data)


def _read_settled(path: Path) -> bytes:
    """The bytes of a file at rest. Raises OSError for what cannot be read twice, or keeps changing."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        before = os.stat(path)
        if stat.S_ISDIR(before.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(before.st_mode):
            raise OSError(0, "it is a pipe or a device, which gives its content once; name a file to be able to reload")
        with _opened(path) as stream:
            data = _up_to_the_end(stream)
        after = os.stat(path)
        same = _state(before) == _state(after)
        if same and not 0 <= time.time() - after.st_mtime < QUIET_SECONDS:
            return data
        if time.monotonic() >= deadline:
            raise OSError(0, "it is being written to all the time; reload once it is whole")
        time.sleep(QUIET_SECONDS / 5)


def _opened(path: Path) -> BinaryIO:
    """Opened without waiting for a writer, if it is a pipe."""
    return open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | _NO_WAITING))


def _up_to_the_end(stream: BinaryIO) -> bytes:
    pieces = []
    room = MAX_FILE_BYTES + 1
    while room > 0 and (piece := stream.read(room)):
        pieces.append(piece)
        room -= len(piece)
    return b"".join(pieces)


def _state(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
