"""A short look at a database: nothing is made or changed."""

from __future__ import annotations

from gateway.stores.postgres.migrated_books import require_whole
from gateway.stores.postgres.migrating import migrations
from gateway.stores.postgres.reader import PostgresVisits, applied_migrations
from gateway.stores.store_look import StoreLook


async def look_at_database(url: str, within: float) -> StoreLook | None:
    """What is found in ``within`` seconds; None if the database holds no books yet.

    Raises StoreError, with words on what to do: not reached, refused, carried over in part.
    """
    visits = PostgresVisits(url)
    async with visits.unchecked(within) as connection:
        applied, known = await applied_migrations(connection), migrations().keys()
        if not applied:
            return None
        if applied == set(known):
            await require_whole(connection, visits.name)
        version = await connection.fetchval("SHOW server_version")
        still_open = await connection.fetchval("SELECT count(*) FROM open_intents")
    return StoreLook(
        name=visits.name,
        engine=f"PostgreSQL {str(version).partition(' ')[0]}",
        schema=max(applied),
        known=max(known),
        open=still_open,
    )
