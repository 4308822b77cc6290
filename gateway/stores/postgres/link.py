"""A connection of the writer's own, made again when it was lost, and whether the store takes what is written."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING

from gateway.core.errors import StoreError
from gateway.stores.postgres.pool import PostgresPool, driver_errors, plain

if TYPE_CHECKING:
    from gateway.stores.postgres.pool import Connection

INTENTS, SETTLEMENTS = "intents", "settlements"
"""The writers."""

RETRY_SECONDS = 0.25
"""Between two tries of a store that failed."""

CONNECT_SECONDS = 1.5
"""For one try to connect: what a server that is back would answer within, and no more than its users wait for it."""

ANSWER_SECONDS = 3.0
"""For a statement. A server that takes longer counts as gone."""

_SYNCED = "SET synchronous_commit = on"
_DEFERRED = "SET synchronous_commit = off"

log = logging.getLogger("gateway.stores")


@cache
def engine_errors() -> tuple[type[Exception], ...]:
    """What writing may raise where the store is at fault, or the way to it."""
    return (*driver_errors(), StoreError)


@cache
def doubtful_errors() -> tuple[type[Exception], ...]:
    """After which of a commit it is not known whether it was done: the server has not answered."""
    import asyncpg

    return (asyncpg.PostgresConnectionError, OSError, TimeoutError)


@cache
def passing_errors() -> tuple[type[Exception], ...]:
    """What a transaction is tried again for, at once: another one was in its way."""
    import asyncpg

    return (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


@asynccontextmanager
async def whole(connection: Connection) -> AsyncIterator[None]:
    """A transaction, committed at the end. One that took too long, or was cancelled, ends with its connection: to roll
    back would wait for the same server.
    """
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    except (TimeoutError, CancelledError):
        connection.terminate()
        raise
    except BaseException:
        await transaction.rollback()
        raise
    await transaction.commit()


class Health:
    """Whether intents are being committed at present. Each change is logged once.

    It is by what each writer met last: a store that takes one's rows and not the other's is not well.
    ``changed``: is called with each change.
    """

    def __init__(self, name: str, changed: Callable[[bool], None] = lambda _: None) -> None:
        self.finding = ""
        self._name = name
        self._changed = changed
        self._failing: set[str] = set()

    @property
    def usable(self) -> bool:
        return not self._failing

    def failed(self, writer: str, error: BaseException) -> None:
        """A statement of this writer failed for want of the store."""
        was_usable = self.usable
        self._failing.add(writer)
        self.finding = f"{self._name} cannot be used: {plain(error)}. Check the server and its log."
        if was_usable:
            log.error("the ledger cannot be written, requests are refused until it can: %s", self.finding)
            self._changed(False)

    def worked(self, writer: str) -> None:
        """A statement of this writer was committed."""
        if writer in self._failing:
            self._failing.discard(writer)
            if self.usable:
                self.finding = ""
                log.warning("the ledger is written again: %s", self._name)
                self._changed(True)


class Link:
    """One connection, of one user at a time. ``lost``: is called when it is closed by the other side, at once."""

    def __init__(self, pool: PostgresPool, lost: Callable[[], None] = lambda: None) -> None:
        self._pool = pool
        self._lost = lost
        self._connection: Connection | None = None
        self._deferred: bool | None = None

    async def connection(self) -> Connection:
        """The connection; raises ``engine_errors`` if there is none to be had."""
        if self._connection is None or self._connection.is_closed():
            self._deferred = None
            self._connection = await self._pool.connect(CONNECT_SECONDS, ANSWER_SECONDS)
            self._connection.add_termination_listener(self._terminated)
        return self._connection

    async def synced(self, synced: bool) -> Connection:
        """The connection, whose commits are on the server's disk when they return, or, if not ``synced``, within the
        second after: they survive this process then, not a crash of the server.
        """
        connection = await self.connection()
        if self._deferred is not (not synced):
            await connection.execute(_SYNCED if synced else _DEFERRED, timeout=ANSWER_SECONDS)
            self._deferred = not synced
        return connection

    def drop(self) -> None:
        """Forget the connection, in any state."""
        dropped, self._connection = self._connection, None
        if dropped is not None:
            dropped.terminate()

    def _terminated(self, connection: Connection) -> None:
        if connection is self._connection:
            self._lost()

    async def close(self) -> None:
        """Say goodbye, if that is quick."""
        closing, self._connection = self._connection, None
        if closing is not None:
            with suppress(*engine_errors()):
                await closing.close(timeout=CONNECT_SECONDS)
