"""The schema of a PostgreSQL store: numbered migrations, each applied once, by one gateway at a time."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from gateway.core.errors import StoreError

if TYPE_CHECKING:
    import asyncpg

LOCK = 0x7069617069  # "piapi"
"""The advisory lock of the one that migrates."""


def migrations() -> dict[int, str]:
    """Every migration of this version of the program: number → SQL."""
    folder = files("gateway.stores.postgres") / "migrations"
    found = {int(file.name[:4]): file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".sql")}
    return dict(sorted(found.items()))


async def migrate(connection: asyncpg.Connection[Any], now_ns: int, name: str) -> bool:
    """Bring the schema up to date, while others wait. Returns whether there was none before.

    Raises StoreError if the store was written by a newer version, or is not for us alone; the errors of asyncpg.
    """
    import asyncpg

    try:
        return await _migrate(connection, now_ns, name)
    except (asyncpg.DuplicateTableError, asyncpg.DuplicateFunctionError, asyncpg.DuplicateObjectError) as error:
        raise StoreError(
            f"{name} holds something else already ({error}). Give the gateway a database of its own."
        ) from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise StoreError(
            f"{name} cannot be set up: {error}. Its user must own the database: "
            "ALTER DATABASE … OWNER TO … (docs/postgresql.md)."
        ) from None


async def _migrate(connection: asyncpg.Connection[Any], now_ns: int, name: str) -> bool:
    known = migrations()
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise StoreError(
            f"{name} has the encoding {encoding}, which cannot hold every name. Make it with: "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0."
        )
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, at_ns BIGINT NOT NULL)"
        )
        applied = {row["version"] for row in await connection.fetch("SELECT version FROM schema_version")}
        if applied - known.keys():
            raise StoreError(
                f"{name} was written by a newer version of piapi-gateway (schema {max(applied)}, this one knows "
                f"{max(known)}). Run that version, or a newer one."
            )
        for version in sorted(known.keys() - applied):
            await connection.execute(known[version])
            await connection.execute("INSERT INTO schema_version VALUES ($1, $2)", version, now_ns)
    return not applied
