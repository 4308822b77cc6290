"""Virtual keys in the store: their names, what they may do, and keyed hashes of them; never a key itself.

Writing goes through the store's one writer; reading blocks, and works beside a running gateway or without one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, TypeVar

from gateway.core.errors import StoreError
from gateway.stores.key_columns import SETTINGS, active_keys, older_keys, settings_of, settings_row
from gateway.stores.key_records import MAX_PAGE, NAME, KeyExists, KeyMissing, KeyRevoked, KeySettings, StoredKey
from gateway.stores.records import AuditEntry
from gateway.stores.sqlite.audit import append
from gateway.stores.sqlite.schema import reading

T = TypeVar("T")

_OLDER = (
    "(SELECT json_group_array(json_array(hex(o.digest), o.until_ns)) FROM older_keys AS o WHERE o.name = keys.name)"
)
"""What earlier rotations promised, as JSON."""


def list_keys(path: Path, *, after: str = "", limit: int = MAX_PAGE, include_revoked: bool = False) -> list[StoredKey]:
    """At most ``limit`` keys, sorted by name, from the first one behind ``after``. Raises StoreError."""
    with reading(path) as store:
        return list(
            _select(
                store,
                "WHERE name > ? AND (? OR revoked_at_ns IS NULL) ORDER BY name LIMIT ?",
                (after, include_revoked, max(1, min(limit, MAX_PAGE))),
            )
        )


def find_key(path: Path, name: str) -> StoredKey:
    """The key of that name, revoked or not. Raises KeyMissing, StoreError."""
    with reading(path) as store:
        return _get(store, name)


def load_active(path: Path, now_ns: int) -> list[StoredKey]:
    """All keys that are neither revoked nor expired, sorted by name; of old digests those that still work.

    Raises StoreError.
    """
    with reading(path) as store:
        keys = list(_select(store, "WHERE revoked_at_ns IS NULL ORDER BY name", ()))
    return active_keys(keys, now_ns)


def pepper_mark(path: Path) -> bytes | None:
    """``Pepper.mark`` of the pepper that the keys in use were hashed with; None if no key is. Raises StoreError."""
    with reading(path) as store:
        return _mark_in_use(store)


class Writes(Protocol):
    """The store's one writer, such as SQLiteLedger."""

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in a transaction; raise what it raises, or errors.ledger_unavailable()."""
        ...


class KeyStore:
    """Changes of keys. Each is on the disk when its method returns, and gives back the key as it is then.

    All methods raise errors.ledger_unavailable() if the store cannot be written.
    """

    def __init__(self, writer: Writes) -> None:
        self._writer = writer

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
        """A new key. ``mark``: the pepper's. Raises KeyExists; ValueError for a bad name; StoreError for a pepper
        that is not the one of the other keys.
        """
        if not NAME.fullmatch(name):
            raise ValueError("name: expected 1 to 64 letters, digits, dots, dashes or underscores")
        key = StoredKey(name, digest, settings, now_ns)

        def work(store: sqlite3.Connection) -> StoredKey:
            _agree_on_pepper(store, mark)
            if store.execute("SELECT 1 FROM keys WHERE name = ?", (name,)).fetchone():
                raise KeyExists(f"There is or was a key named '{name}'; names are given once. Choose another.")
            row = _row(key)
            store.execute(f"INSERT INTO keys VALUES ({','.join('?' * len(row))})", row)  # noqa: S608
            append(store, audit)
            return key

        return await self._writer.write(work)

    async def update(
        self, name: str, change: Callable[[KeySettings], KeySettings], *, audit: AuditEntry | None = None
    ) -> StoredKey:
        """New settings. ``change`` is given those of the moment; it runs in the writer's thread, so it must be quick.

        Raises KeyMissing, KeyRevoked, and ValueError for settings that make no sense.
        """

        def work(store: sqlite3.Connection) -> StoredKey:
            settings = settings_row(change(_get_in_use(store, name).settings))
            store.execute(
                "UPDATE keys SET team = ?, models = ?, rpm = ?, tpm = ?, parallel = ?, budget_nano = ?, "
                "budget_period = ?, expires_at_ns = ?, note = ?, model_budgets = ?, alert = ? WHERE name = ?",
                (*settings, name),
            )
            append(store, audit)
            return _get(store, name)

        return await self._writer.write(work)

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
        """Another key under the same name; the one before works until ``old_until_ns``, and older ones as long as they
        were promised to.

        Raises KeyMissing, KeyRevoked; StoreError for a pepper that is not the one of the other keys.
        """

        def work(store: sqlite3.Connection) -> StoredKey:
            _agree_on_pepper(store, mark)
            key = _get_in_use(store, name)
            old = (key.digest, old_until_ns) if old_until_ns > now_ns else (None, None)
            store.execute("DELETE FROM older_keys WHERE name = ?", (name,))
            store.executemany(
                "INSERT INTO older_keys VALUES (?, ?, ?)",
                [(digest_before, name, until_ns) for digest_before, until_ns in key.old(now_ns)],
            )
            store.execute(
                "UPDATE keys SET digest = ?, old_digest = ?, old_until_ns = ? WHERE name = ?", (digest, *old, name)
            )
            append(store, audit)
            return _get(store, name)

        return await self._writer.write(work)

    async def revoke(self, name: str, now_ns: int, *, audit: AuditEntry | None = None) -> StoredKey:
        """The key, and those before it, never work again. A second time changes nothing. Raises KeyMissing."""

        def work(store: sqlite3.Connection) -> StoredKey:
            if _get(store, name).revoked_at_ns is None:
                append(store, audit)
            store.execute("UPDATE keys SET revoked_at_ns = ? WHERE name = ? AND revoked_at_ns IS NULL", (now_ns, name))
            return _get(store, name)

        return await self._writer.write(work)


def _agree_on_pepper(store: sqlite3.Connection, mark: bytes) -> None:
    """The first key in use decides which pepper it is."""
    known = _mark_in_use(store)
    if known is None:
        store.execute("DELETE FROM pepper")
        store.execute("INSERT INTO pepper VALUES (?)", (mark,))
    elif known != mark:
        raise StoreError("The keys in the store were made with another pepper. Start with that one.")


def _mark_in_use(store: sqlite3.Connection) -> bytes | None:
    row = store.execute(
        "SELECT mark FROM pepper WHERE EXISTS (SELECT 1 FROM keys WHERE revoked_at_ns IS NULL)"
    ).fetchone()
    return None if row is None else row[0]


def _get(store: sqlite3.Connection, name: str) -> StoredKey:
    try:
        key = next(_select(store, "WHERE name = ?", (name,)), None)
    except UnicodeEncodeError:  # a lone surrogate: no such name was ever stored
        key = None
    if key is None:
        raise KeyMissing(f"There is no key named '{name}' in the store.")
    return key


def _get_in_use(store: sqlite3.Connection, name: str) -> StoredKey:
    key = _get(store, name)
    if key.revoked_at_ns is not None:
        raise KeyRevoked(f"The key '{name}' was revoked and cannot be changed. Create another.")
    return key


def _select(store: sqlite3.Connection, rest: str, values: tuple[Any, ...]) -> Iterator[StoredKey]:
    with closing(
        store.execute(
            f"SELECT name, digest, created_at_ns, revoked_at_ns, old_digest, old_until_ns, {_OLDER}, "  # noqa: S608
            f"{SETTINGS} FROM keys {rest}",
            values,
        )
    ) as rows:
        for name, digest, created, revoked, old_digest, old_until, older, *chosen in rows:
            settings = settings_of(*chosen)
            yield StoredKey(name, digest, settings, created, revoked, old_digest, old_until, older_keys(older))


def _row(key: StoredKey) -> tuple[Any, ...]:
    return (
        key.name,
        key.digest,
        *settings_row(key.settings),
        key.created_at_ns,
        key.revoked_at_ns,
        key.old_digest,
        key.old_until_ns,
    )
