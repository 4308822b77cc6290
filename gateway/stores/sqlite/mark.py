"""The mark beside a store: whether its last writer ended well, and up to which row nothing is open.

``gateway.db.mark`` makes a start quick: a store whose writer ended well need not be checked page by page, and only the
youngest requests can be open. A mark that is missing, torn or of another file costs time and nothing else.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import orjson

from gateway.runtime.disk import CAREFULLY
from gateway.stores.sqlite.files import beside, give_to_owner_of

FEW = 100_000
"""Rows that are looked through in any case. A file that was emptied begins to count its rows anew, from 1."""


class Mark(NamedTuple):
    """What the mark says.

    ``clean``: whether its writer ended well. ``settled_through``: the row up to which every intent is settled.
    ``file``: inode, bytes and time of change (Unix nanoseconds) of the store, as that writer left it.
    """

    clean: bool
    settled_through: int
    file: tuple[int, int, int]


UNMARKED = Mark(False, 0, (0, 0, 0))


def file_state(store: Path) -> tuple[int, int, int]:
    """What a mark holds of the store's file; zeros if it is not there."""
    try:
        status = store.stat()
    except OSError:
        return UNMARKED.file
    return status.st_ino, status.st_size, status.st_mtime_ns


def read_mark(store: Path) -> Mark:
    """The mark of a store; one that says nothing if there is none that can be believed."""
    try:
        fields = orjson.loads(beside(store, "mark").read_bytes())
        inode, size, changed = map(int, fields["file"])
        mark = Mark(fields["clean"] is True, int(fields["settled_through"]), (inode, size, changed))
    except (OSError, ValueError, TypeError, KeyError):
        return UNMARKED
    if inode != file_state(store)[0] or mark.settled_through < 0:
        return UNMARKED
    return mark._replace(clean=mark.clean and mark.file == file_state(store))


def write_mark(store: Path, *, clean: bool, settled_through: int) -> None:
    """Write the mark of a store as its file is now, down to the disk. Raises OSError; the mark before it then stays.

    The caller holds the StoreLock.
    """
    path, fresh = beside(store, "mark"), beside(store, "mark.new")
    content = orjson.dumps({"clean": clean, "settled_through": settled_through, "file": file_state(store)})
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | CAREFULLY, 0o600)
    try:
        os.write(descriptor, content + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    give_to_owner_of(path.parent, fresh)
    fresh.replace(path)
