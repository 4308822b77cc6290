"""The write-ahead log of a store that is being written: how much is in it, and when it is folded into the file.

SQLite would do it within a commit, whose caller then waits for the disk.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from gateway.stores.sqlite import inserts, schema

PAGES_A_COMMIT = 4
ROWS_A_PAGE = 16
"""How much the log grows, roughly: SQLite tells it only to those who fold it."""


class WrittenLog:
    """For the thread that has the connection. ``commits``: since the log was folded last; counted by who commits."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._changes = connection.total_changes
        self.commits = 0
        connection.execute("PRAGMA wal_autocheckpoint = 0")

    def fold_in_time(self) -> None:
        """Copy the log into the file, if there are about CHECKPOINT_PAGES in it, and begin it anew."""
        rows = self._connection.total_changes - self._changes
        if self.commits * PAGES_A_COMMIT + rows // ROWS_A_PAGE < schema.CHECKPOINT_PAGES:
            return
        with suppress(sqlite3.Error):  # the next one will do
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            inserts.beat(self._connection)  # the first commit of a new log waits for the disk
        self._changes = self._connection.total_changes
        self.commits = 0
