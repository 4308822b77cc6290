"""Opening a file to write it: locked, checked, brought up to date, with what an earlier process left behind. Blocks."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from sqlite3 import Connection
from typing import NamedTuple

from gateway.core.errors import StoreError
from gateway.runtime.ports import Clock
from gateway.stores.files import store_file
from gateway.stores.spill import Spill
from gateway.stores.sqlite import inserts, schema
from gateway.stores.sqlite.lock import StoreLock
from gateway.stores.sqlite.mark import file_state, read_mark
from gateway.stores.sqlite.watched_mark import WatchedMark

MANY = 1_000_000
"""Rows that take a second or more to be looked through."""

log = logging.getLogger("gateway.stores")


class Prepared(NamedTuple):
    """A store that is ready to be written, before its writer runs."""

    path: Path
    connection: Connection
    lock: StoreLock
    spill: Spill
    booked_late: int
    recovered: int
    unchecked: bool
    mark: WatchedMark
    made: bool


def prepare(path: Path, clock: Clock, given_up: Callable[[], bool]) -> Prepared:
    """Lock first, so that of two gateways started at once only one checks and migrates.

    ``given_up``: whether nothing is to come of it; StoreError then, soon.
    """
    path = store_file(path)
    with ExitStack() as undo:
        lock = StoreLock.take(path)
        undo.callback(lock.release)
        now_ns = clock.wall_ns()
        mark = read_mark(path)
        bytes_before = file_state(path)[1]
        unchecked = not mark.clean and bytes_before > schema.CHECKED_AT_ONCE
        check = not mark.clean and not unchecked
        connection = schema.open_for_writing(path, now_ns, check=check, given_up=given_up, mark=mark)
        undo.callback(connection.close)
        lock.hold()
        spill = Spill.open(path)
        undo.callback(spill.close)
        try:
            booked_late = inserts.book_late(connection, spill.read())
            if spill.filled:
                spill.empty()
            recovered, through = _settle_open(connection, now_ns, mark.settled_through)
            kept = WatchedMark.begin(path, connection, through)
            store = Prepared(path, connection, lock, spill, booked_late, recovered, unchecked, kept, not bytes_before)
        except sqlite3.Error as error:
            raise StoreError(f"{path} cannot be written: {error}. Check its disk and who else has it open.") from error
        connection.set_progress_handler(None, 0)
        undo.pop_all()
    return store


def _settle_open(connection: Connection, now_ns: int, settled_through: int) -> tuple[int, int]:
    """Settle what is open as unknown. Returns how many there were, and the row up to which all is settled then."""
    newest = inserts.newest_intent(connection)
    if newest < settled_through:  # the rows were counted anew: the mark is of others
        settled_through = 0
    if newest - settled_through > MANY:
        log.warning("looking through %d requests for those that were left open", newest - settled_through)
    recovered = inserts.close_open_intents(connection, now_ns, settled_through)
    return recovered, inserts.all_settled(connection)


def close_unused(opening: asyncio.Future[Prepared]) -> None:
    """The task that wanted the store was cancelled while it was being opened."""
    if not opening.cancelled() and opening.exception() is None:
        store = opening.result()
        store.connection.close()
        store.spill.close()
        store.lock.release()
