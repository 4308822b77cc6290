"""The connections of a gateway to its PostgreSQL: they come back by themselves, and fail in our words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from gateway.core.errors import StoreError
from gateway.stores.postgres.place import store_name

if TYPE_CHECKING:
    import asyncpg

    Connection: TypeAlias = asyncpg.Connection[Any]

MOST_CONNECTIONS = 7
"""A gateway's, beside one for each writer and one for beats: ten in all, so that a fleet of nineteen stays below the
200 that a small server is given."""

REPORTS_AT_ONCE = 3
"""Of these, at most, for reports, which may take minutes: the others are for requests, keys and jobs."""

CONNECT_WITHIN = 5.0
ANSWER_WITHIN = 30.0
"""Seconds."""

WAIT_WITHIN = 5.0
"""Seconds until a connection must be free."""

REQUEST_WITHIN = 3.0
"""Seconds for what a client's request waits for, all of it: as for the ledger, a server that takes longer is gone."""


@cache
def driver_errors() -> tuple[type[Exception], ...]:
    """What asyncpg raises for a statement, a connection, or the lack of one; also for a connection that the server has
    just given up, which it takes for a mistake of its own.
    """
    import asyncpg

    return (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


class PostgresPool:
    """At most MOST_CONNECTIONS connections, made when they are needed. ``name``: the store's, without secrets."""

    def __init__(self, pool: Any, name: str, connect: Callable[..., Awaitable[Any]]) -> None:
        self._pool = pool
        self._connect = connect
        self.name = name

    @classmethod
    async def open(cls, url: str, application: str, most: int = MOST_CONNECTIONS) -> PostgresPool:
        """Connect once, so that a wrong URL is told of at once. ``application``: what the server lists us as.

        Raises StoreError, without the URL's secrets.
        """
        name = store_name(url)
        try:
            import asyncpg
        except ImportError:
            raise StoreError(
                f"store: {name} needs the driver asyncpg, which is not installed. "
                "Run: pip install 'piapi-gateway[postgres]'"
            ) from None
        settings = {"application_name": application, "timezone": "UTC"}
        failures: tuple[type[Exception], ...] = (*driver_errors(), ValueError)
        try:
            pool = await asyncpg.create_pool(
                url,
                min_size=0,  # kept up by the pool itself, with a traceback in the log a second while the server is gone
                max_size=most,
                timeout=CONNECT_WITHIN,
                command_timeout=ANSWER_WITHIN,
                max_inactive_connection_lifetime=300.0,
                server_settings=settings,
            )
            async with pool.acquire(timeout=CONNECT_WITHIN):
                pass
        except failures as error:
            raise StoreError(
                f"store: {name} cannot be reached: {plain(error)}. "
                "Check that the server runs, the address, the user, the password and that the database exists."
            ) from None  # what it was raised from may quote the URL

        async def connect(within: float, answer_within: float) -> Any:
            return await asyncpg.connect(url, timeout=within, command_timeout=answer_within, server_settings=settings)

        return cls(pool, name, connect)

    async def connect(self, within: float, answer_within: float) -> asyncpg.Connection[Any]:
        """A connection beside the pool, its user's own to close. ``within``: seconds until there must be one.
        ``answer_within``: seconds for a statement, after which the server ends it as well.

        Raises the errors of asyncpg, OSError, TimeoutError.
        """
        connection: asyncpg.Connection[Any] = await self._connect(within, answer_within)
        await connection.execute(f"SET statement_timeout = {int(answer_within * 1000):d}")
        return connection

    async def expire(self) -> None:
        """Have every connection made anew before it is used again: the server was gone."""
        await self._pool.expire_connections()

    @asynccontextmanager
    async def connection(self, within: float | None = None) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A connection, for a moment. Raises StoreError if there is none, and for what fails on it; what its user
        raises itself passes. ``within``: seconds for all of that; None for as long as its statements may take.

        A connection whose user was cancelled, or waited too long, is cut: to have the server end what it does there
        takes as long as the server hangs.
        """
        try:
            async with asyncio.timeout(within), self._pool.acquire(timeout=WAIT_WITHIN) as connection:
                try:
                    yield connection
                except (asyncio.CancelledError, TimeoutError):
                    connection.terminate()
                    raise
        except driver_errors() as error:
            raise StoreError(f"{self.name} cannot be used: {plain(error)}. Check the server and its log.") from error

    @asynccontextmanager
    async def transaction(self, within: float | None = None) -> AsyncIterator[asyncpg.Connection[Any]]:
        """``connection``, in a transaction that is committed at the end, and rolled back by an error."""
        async with self.connection(within) as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection
            except (asyncio.CancelledError, TimeoutError):
                raise  # it ends with its connection
            except BaseException:
                await transaction.rollback()
                raise
            await transaction.commit()

    async def close(self) -> None:
        """Let go of all connections; one that does not answer is cut."""
        try:
            await asyncio.wait_for(self._pool.close(), CONNECT_WITHIN)
        except TimeoutError:
            self._pool.terminate()


class FewConnections:
    """At most ``most`` connections of a pool at a time; who comes when these are taken waits. Implements
    ``rollup.Connections``.
    """

    def __init__(self, pool: PostgresPool, most: int) -> None:
        self.name = pool.name
        self._pool = pool
        self._free = asyncio.Semaphore(most)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """As of the pool."""
        async with self._free, self._pool.connection() as connection:
            yield connection


def plain(error: BaseException) -> str:
    """One line of what the server or the system said."""
    import asyncpg

    if isinstance(error, asyncpg.InternalClientError):  # about the driver's own state
        return "the server has closed the connection"
    if isinstance(error, TimeoutError) and not str(error):
        return "it does not answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
