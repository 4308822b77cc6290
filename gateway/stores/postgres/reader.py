"""A PostgreSQL store, read beside the gateways that serve from it, or without one: nothing is made or changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.core.errors import StoreError
from gateway.core.types import Budget
from gateway.stores.key_records import MAX_PAGE, StoredKey
from gateway.stores.postgres.keys import PostgresKeyReader
from gateway.stores.postgres.migrated_books import require_whole
from gateway.stores.postgres.migrating import migrations
from gateway.stores.postgres.place import store_name
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.postgres.teams import PostgresTeams
from gateway.stores.postgres.usage import PostgresUsage

if TYPE_CHECKING:
    import asyncpg

APPLICATION = "piapi-gateway command"
"""What the server lists a command as."""


class NotMade(StoreError):
    """The database holds no books yet."""


class PostgresVisits(PostgresPool):
    """A connection for each time that one is asked for, and none in between: a command has nothing to close.

    Raises StoreError for a URL of another form, and then for a store that is not there, or of another version.
    """

    def __init__(self, url: str) -> None:
        self.name = store_name(url)
        self._url = url

    @asynccontextmanager
    async def connection(self, within: float | None = None) -> AsyncIterator[asyncpg.Connection[Any]]:
        async with self.unchecked(within) as connection:
            await _require_books(connection, self.name)
            yield connection

    @asynccontextmanager
    async def unchecked(self, within: float | None = None) -> AsyncIterator[asyncpg.Connection[Any]]:
        """``connection``, whether the store was made or not."""
        pool = await PostgresPool.open(self._url, APPLICATION, 1)
        try:
            async with pool.connection(within) as connection:
                yield connection
        finally:
            await pool.close()

    async def exists(self) -> bool:
        """Whether the store was made."""
        async with self.unchecked() as connection:
            return bool(await applied_migrations(connection))

    async def close(self) -> None:
        """Nothing is open."""


class _Keys(PostgresKeyReader):
    """The keys of a database; one that is no store yet holds none."""

    async def page(self, after: str = "", limit: int = MAX_PAGE, *, include_revoked: bool = False) -> list[StoredKey]:
        try:
            return await super().page(after, limit, include_revoked=include_revoked)
        except NotMade:
            return []


class _Teams(PostgresTeams):
    """The teams of a database; one that is no store yet knows none."""

    async def seen(self) -> Mapping[str, Budget | None]:
        try:
            return await super().seen()
        except NotMade:
            return {}


class PostgresReader:
    """One database, read. Implements ``stores.base.StoreReader``."""

    pepper_file: Path | None = None

    def __init__(self, url: str) -> None:
        self._visits = PostgresVisits(url)
        self.name = self._visits.name
        self.keys = _Keys(self._visits)
        self.teams = _Teams(self._visits)
        self.usage = PostgresUsage(self._visits)

    async def exists(self) -> bool:
        return await self._visits.exists()

    async def check(self) -> None:
        """Raise StoreError, with words on what to do, if there is no store, or one of another version."""
        async with self._visits.connection():
            pass


async def applied_migrations(connection: asyncpg.Connection[Any]) -> set[int]:
    """The migrations that were applied; empty if there is no store."""
    if await connection.fetchval("SELECT to_regclass('schema_version')") is None:
        return set()
    return {row["version"] for row in await connection.fetch("SELECT version FROM schema_version")}


async def _require_books(connection: asyncpg.Connection[Any], name: str) -> None:
    applied, known = await applied_migrations(connection), migrations().keys()
    if not applied:
        raise NotMade(
            f"the store at {name} does not exist: the database holds no books. A gateway makes them when it starts; "
            "is 'store' the right one?"
        )
    if applied - known:
        raise StoreError(f"{name} was written by a newer version of piapi-gateway. Run that version, or a newer one.")
    if known - applied:
        raise StoreError(f"{name} holds no books of this version yet. Start the gateway once to bring it up to date.")
    await require_whole(connection, name)
