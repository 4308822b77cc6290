"""Rarer work for the writer's thread than rows of requests: changes of keys, corrections, pruning, snapshots.

A job runs in a transaction of its own, which is on the disk before the job is done.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from gateway.core import errors
from gateway.core.errors import OperatorError
from gateway.stores.sqlite import inserts

WriterWork = Callable[[sqlite3.Connection], Any]


class WriterJob:
    """``work(connection)`` is called once, in the writer's thread; what it returns or raises is what ``done`` gives.

    It may raise OperatorError, ValueError or one of inserts.UNFIT; then nothing is changed. Where the store fails, or
    there is no writer any more, ``done`` raises errors.ledger_unavailable().
    """

    def __init__(self, work: WriterWork) -> None:
        self.done: Future[Any] = Future()
        self._work = work

    def run(self, connection: sqlite3.Connection) -> None:
        """Do it, unless its caller has left. Raises sqlite3.Error if the store failed; then ``refuse`` is due."""
        if not self.done.set_running_or_notify_cancel():
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = self._work(connection)
            connection.execute("COMMIT")
        except (OperatorError, ValueError, *inserts.UNFIT) as error:
            _undo(connection)
            self.done.set_exception(error)
        except sqlite3.Error:
            _undo(connection)
            raise
        else:
            self.done.set_result(result)

    def refuse(self) -> None:
        """It did not run, or not to its end, and never will: tell the caller, if it still waits."""
        if not self.done.done() and (self.done.running() or self.done.set_running_or_notify_cancel()):
            self.done.set_exception(errors.ledger_unavailable())


def _undo(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:  # a disk that is full has ended it already
        connection.execute("ROLLBACK")
