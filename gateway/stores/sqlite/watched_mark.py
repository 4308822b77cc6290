"""The mark of a store that is being written, kept up to date by the writer, and brought to the disk beside it."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import suppress
from pathlib import Path

from gateway.core.errors import StoreError
from gateway.runtime.boots import this_boot
from gateway.stores.sqlite import inserts, schema
from gateway.stores.sqlite.mark import Mark, MarkFile, file_state, sync_log, unmarked
from gateway.stores.sqlite.tally import read_position

log = logging.getLogger("gateway.stores")


class WatchedMark:
    """Its caller holds the StoreLock. A mark that cannot be written is warned about, and the store served without."""

    def __init__(self, store: Path, settled_through: int) -> None:
        self._store = store
        self._settled_through = settled_through
        self._file: MarkFile | None = None
        self._warned = False

    @classmethod
    def begin(cls, store: Path, connection: sqlite3.Connection, settled_through: int) -> WatchedMark:
        """The mark from now on; until its end it is that of a writer which did not end well."""
        kept = cls(store, settled_through)
        kept._write_whole(connection, clean=False)
        return kept

    @property
    def lags(self) -> bool:
        """Whether ``secure`` has something to do."""
        return self._file is None or self._file.lags

    def note(self, connection: sqlite3.Connection) -> None:
        """In the writer's thread, outside of a transaction: note how far the store has come. Raises sqlite3.Error."""
        if self._file is not None and (position := read_position(connection)) is not None:
            self._file.note(position)

    def secure(self) -> None:
        """Bring what was noted down to the disk; where there is no mark yet, try to make one."""
        if self._file is not None:
            self._file.secure()
            return
        with suppress(StoreError), schema.reading(self._store) as store:
            self._write_whole(store, clean=False)

    def settle(self) -> None:
        """Note up to which row nothing is open. Raises StoreError."""
        with schema.reading(self._store) as store:
            self._settled_through = inserts.settled_through(store, self._settled_through)
        if self._file is not None:
            self._file.change(self._file.mark._replace(settled_through=self._settled_through))

    def end(self, clean: bool) -> None:
        """After the writer's end: note where it was."""
        with suppress(StoreError):  # the next start takes longer
            with schema.reading(self._store) as store:
                self._settled_through = inserts.settled_through(store, self._settled_through)
            with schema.reading(self._store) as store:
                self._write_whole(store, clean=clean)
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write_whole(self, connection: sqlite3.Connection, *, clean: bool) -> None:
        try:
            position = read_position(connection)
            sync_log(self._store)
            mark = Mark(clean, self._settled_through, file_state(self._store), this_boot(), position, position)
            fresh = MarkFile(self._store, mark)
        except OSError as error:
            if not self._warned:
                log.warning("%s", unmarked(self._store, error))
            self._warned = True
            return
        if self._file is not None:
            self._file.close()
        self._file = fresh
