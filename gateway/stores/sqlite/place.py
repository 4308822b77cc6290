"""Whether an open store is still in its place: the file, and its log, that the writer has open and no others."""

from __future__ import annotations

import os
from pathlib import Path

_File = tuple[int, int]
"""Device and inode."""


class Place:
    """The place of a store whose writer has just opened it. Its methods block for as long as the disk takes."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._log = store.with_name(f"{store.name}-wal")
        self._files = (_file(store), _file(self._log))

    def finding(self, *, closed: bool = False) -> str:
        """What is wrong, and what to do; empty for nothing. ``closed``: whether the writer has left, with its log."""
        store, its_log = self._files
        if _file(self._store) != store:
            return (
                f"{self._store} was moved, removed or replaced while it was being written. Put the file back in its "
                "place, and this gateway goes on; or stop it, restore a backup (piapi-gateway restore DIR) and start it"
            )
        if not closed and its_log is not None and _file(self._log) != its_log:
            return (
                f"{self._log} was moved, removed or replaced while it was being written. Restart this gateway: what "
                f"had been committed was written to {self._store.name} itself"
            )
        return ""


def _file(path: Path) -> _File | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
