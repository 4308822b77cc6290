"""A short look at a store's file: nothing is made, locked, brought up to date or changed."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from gateway.runtime.disk import CAREFULLY
from gateway.stores.files import beside, store_file
from gateway.stores.sqlite import schema
from gateway.stores.sqlite.loss import find_loss
from gateway.stores.sqlite.mark import Mark, file_state, read_mark
from gateway.stores.store_look import StoreLook

_STEPS = 100_000
"""Instructions of SQLite's machine between two looks at the time."""

_OPEN = "SELECT count(*) FROM intents AS i WHERE NOT EXISTS (SELECT 1 FROM settlements AS s WHERE s.id = i.id)"


def look_at_file(path: Path, within: float) -> StoreLook | None:
    """What is found in ``within`` seconds; None if there is no file, or one that was never used. Blocks.

    Raises StoreError, with words on what to do: damaged, another program's, of a newer version, without what was in it.
    """
    path = store_file(path)
    mark = read_mark(path)
    with schema.without_traces(), schema.told_plainly(path):
        schema.look_at_file(path, mark, accepting=False)
        if not os.path.exists(path):
            return None
        with closing(schema.connect_reading(path)) as store:
            version, known = schema.schema_version(store, path), len(schema.migrations())
            if not version:
                return None
            deadline = time.monotonic() + within
            store.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
            lost = _lost_in_time(store, mark) if version == known else ()
            still_open = _in_time(store, _OPEN)
            damage = _in_time(store, "PRAGMA quick_check(1)")
    return StoreLook(
        name=str(path),
        engine=f"SQLite {sqlite3.sqlite_version}",
        schema=version,
        known=known,
        damage="" if damage == "ok" else damage,
        lost=lost,
        open=still_open,
        log_bytes=file_state(path)[3],
        spilled=_spilled(beside(path, "spill")),
    )


def _lost_in_time(store: sqlite3.Connection, mark: Mark) -> tuple[str, ...] | None:
    try:
        return find_loss(store, mark, recount=False).sentences
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return None
        raise


def _in_time(store: sqlite3.Connection, question: str) -> Any:
    """The first value; None if there was no time for it."""
    try:
        return store.execute(question).fetchone()[0]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return None
        raise


def _spilled(path: Path) -> int:
    """The lines of a spill file; none if it cannot be read."""
    with suppress(OSError), os.fdopen(os.open(path, os.O_RDONLY | CAREFULLY), "rb") as stream:
        return sum(bool(line) for line in stream.read().partition(b"\0")[0].split(b"\n"))
    return 0
