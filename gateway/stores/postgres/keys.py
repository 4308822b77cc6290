"""Virtual keys in PostgreSQL, changed by any gateway and by the command line at any time.

Implements ``stores.base.KeyReader`` and ``KeyRecords``. Each change holds the row of 'keys' in ``versions`` until it is
durable, so that one follows the other and none is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from gateway.core.errors import StoreError
from gateway.stores.key_columns import SETTINGS, active_keys, older_keys, settings_of, settings_row
from gateway.stores.key_records import MAX_PAGE, NAME, KeyExists, KeyMissing, KeyRevoked, KeySettings, StoredKey
from gateway.stores.postgres.audit import append
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.postgres.writing import as_storable, lock_subject, storable, writing
from gateway.stores.records import AuditEntry

if TYPE_CHECKING:
    import asyncpg

_READ = (
    "SELECT name, digest, created_at_ns, revoked_at_ns, old_digest, old_until_ns, "  # noqa: S608
    "(SELECT coalesce(json_agg(json_build_array(encode(o.digest, 'hex'), o.until_ns)), '[]') "
    f"FROM older_keys AS o WHERE o.name = keys.name), {SETTINGS} FROM keys "
)
_PAGE = _READ + "WHERE name > $1 AND ($2 OR revoked_at_ns IS NULL) ORDER BY name LIMIT $3"
_FIND = _READ + "WHERE name = $1"
_ACTIVE = _READ + "WHERE revoked_at_ns IS NULL ORDER BY name"
_CHANGED = _READ.replace("SELECT ", "SELECT version, ", 1) + "WHERE version > $1 ORDER BY version"
_MARK = "SELECT mark FROM pepper WHERE EXISTS (SELECT 1 FROM keys WHERE revoked_at_ns IS NULL)"
_CREATE = (
    f"INSERT INTO keys (name, digest, created_at_ns, {SETTINGS}) "  # noqa: S608
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
)
_UPDATE = (
    "UPDATE keys SET team = $2, models = $3, rpm = $4, tpm = $5, parallel = $6, budget_nano = $7, "
    "budget_period = $8, expires_at_ns = $9, note = $10, model_budgets = $11, alert = $12 WHERE name = $1"
)


class PostgresKeyReader:
    """The keys of a database. Implements ``stores.base.KeyReader``."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool

    async def page(self, after: str = "", limit: int = MAX_PAGE, *, include_revoked: bool = False) -> list[StoredKey]:
        async with self._pool.connection() as connection:
            rows = await connection.fetch(_PAGE, as_storable(after), include_revoked, max(1, min(limit, MAX_PAGE)))
        return _keys(rows)

    async def find(self, name: str) -> StoredKey:
        async with self._pool.connection() as connection:
            return await _get(connection, name)

    async def active(self, now_ns: int) -> list[StoredKey]:
        async with self._pool.connection() as connection:
            rows = await connection.fetch(_ACTIVE)
        return active_keys(_keys(rows), now_ns)

    async def pepper_mark(self) -> bytes | None:
        async with self._pool.connection() as connection:
            return await _mark_in_use(connection)

    async def version(self) -> int:
        async with self._pool.connection() as connection:
            return int(await connection.fetchval("SELECT value FROM versions WHERE subject = 'keys'"))

    async def changed_since(self, version: int) -> tuple[int, list[StoredKey]]:
        async with self._pool.connection() as connection:
            rows = await connection.fetch(_CHANGED, version)
        return (rows[-1][0] if rows else version), _keys(row[1:] for row in rows)


class PostgresKeys(PostgresKeyReader):
    """The same keys, changed. Implements ``stores.base.KeyRecords``."""

    async def create(
        self,
        name: str,
        digest: bytes,
        mark: bytes,
        settings: KeySettings,
        now_ns: int,
        *,
        audit: AuditEntry | None = None,
    ) -> StoredKey:
        if not NAME.fullmatch(name):
            raise ValueError("name: expected 1 to 64 letters, digits, dots, dashes or underscores")
        async with writing(self._pool) as connection:
            await lock_subject(connection, "keys")
            await _agree_on_pepper(connection, mark)
            if await connection.fetchval("SELECT 1 FROM keys WHERE name = $1", name):
                raise KeyExists(f"There is or was a key named '{name}'; names are given once. Choose another.")
            await connection.execute(_CREATE, name, digest, now_ns, *settings_row(settings))
            await append(connection, audit)
            return await _get(connection, name)

    async def update(
        self, name: str, change: Callable[[KeySettings], KeySettings], *, audit: AuditEntry | None = None
    ) -> StoredKey:
        async with writing(self._pool) as connection:
            await lock_subject(connection, "keys")
            settings = change((await _get_in_use(connection, name)).settings)
            await connection.execute(_UPDATE, name, *settings_row(settings))
            await append(connection, audit)
            return await _get(connection, name)

    async def rotate(
        self,
        name: str,
        digest: bytes,
        mark: bytes,
        now_ns: int,
        old_until_ns: int,
        *,
        audit: AuditEntry | None = None,
    ) -> StoredKey:
        async with writing(self._pool) as connection:
            await lock_subject(connection, "keys")
            await _agree_on_pepper(connection, mark)
            key = await _get_in_use(connection, name)
            old = (key.digest, old_until_ns) if old_until_ns > now_ns else (None, None)
            await connection.execute("DELETE FROM older_keys WHERE name = $1", name)
            await connection.executemany(
                "INSERT INTO older_keys (digest, name, until_ns) VALUES ($1, $2, $3)",
                [(before, name, until_ns) for before, until_ns in key.old(now_ns)],
            )
            await connection.execute(
                "UPDATE keys SET digest = $2, old_digest = $3, old_until_ns = $4 WHERE name = $1", name, digest, *old
            )
            await append(connection, audit)
            return await _get(connection, name)

    async def revoke(self, name: str, now_ns: int, *, audit: AuditEntry | None = None) -> StoredKey:
        async with writing(self._pool) as connection:
            await lock_subject(connection, "keys")
            if (await _get(connection, name)).revoked_at_ns is None:
                await connection.execute("UPDATE keys SET revoked_at_ns = $2 WHERE name = $1", name, now_ns)
                await append(connection, audit)
            return await _get(connection, name)


async def _agree_on_pepper(connection: asyncpg.Connection[Any], mark: bytes) -> None:
    """The first key in use decides which pepper it is."""
    known = await _mark_in_use(connection)
    if known is None:
        await connection.execute("DELETE FROM pepper")
        await connection.execute("INSERT INTO pepper (mark) VALUES ($1)", mark)
    elif known != mark:
        raise StoreError("The keys in the store were made with another pepper. Start with that one.")


async def _mark_in_use(connection: asyncpg.Connection[Any]) -> bytes | None:
    mark: bytes | None = await connection.fetchval(_MARK)
    return mark


async def _get(connection: asyncpg.Connection[Any], name: str) -> StoredKey:
    row = await connection.fetchrow(_FIND, name) if storable(name) else None
    if row is None:
        raise KeyMissing(f"There is no key named '{name}' in the store.")
    return _keys([row])[0]


async def _get_in_use(connection: asyncpg.Connection[Any], name: str) -> StoredKey:
    key = await _get(connection, name)
    if key.revoked_at_ns is not None:
        raise KeyRevoked(f"The key '{name}' was revoked and cannot be changed. Create another.")
    return key


def _keys(rows: Iterable[Any]) -> list[StoredKey]:
    """From the columns of ``_READ``."""
    found = []
    for name, digest, created, revoked, old_digest, old_until, older, *chosen in rows:
        settings = settings_of(*chosen)
        found.append(StoredKey(name, digest, settings, created, revoked, old_digest, old_until, older_keys(older)))
    return found
