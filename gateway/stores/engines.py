"""Which engine a ``store`` of the configuration names. The only file outside an engine's own that knows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.core.errors import StoreError
from gateway.runtime.ports import Clock
from gateway.stores.base import KeyRecords, Store, StoreReader
from gateway.stores.postgres.place import is_postgres, store_name
from gateway.stores.records import Backup
from gateway.stores.sqlite import accept
from gateway.stores.sqlite.backup import Progress, make_backup, read_backup, restore_backup
from gateway.stores.sqlite.look import look_at_file
from gateway.stores.sqlite.schema import without_traces as without_traces
from gateway.stores.sqlite.store import SQLiteReader, SQLiteStore, keys_for_writing, pepper_file, store_path
from gateway.stores.store_look import StoreLook

if TYPE_CHECKING:
    from gateway.stores.migration import Migrated


async def open_store(url: str, clock: Clock, gateway_id: str = "", spill: Path | None = None) -> Store:
    """Open the store of ``url`` to serve: checked, brought up to date, recovered. ``sqlite:///file.db`` is locked for
    this process; ``postgresql://…`` is shared with other gateways.

    ``gateway_id``: the gateway that opens it. ``spill``: the folder of what waits while a server is gone; that of the
    process if it is None. Raises StoreInUse, StoreError, with words on how to recover.
    """
    if is_postgres(url):
        from gateway.stores.postgres.store import PostgresStore

        return await PostgresStore.open(url, clock, gateway_id, spill or Path("spill"))
    return await SQLiteStore.open(store_path(url), clock)


def read_store(url: str) -> StoreReader:
    """The store of ``url``, to be read beside a running gateway or without one. Raises StoreError for a bad form."""
    if is_postgres(url):
        from gateway.stores.postgres.reader import PostgresReader

        return PostgresReader(url)
    return SQLiteReader(store_path(url))


async def look_at_store(url: str, within: float) -> StoreLook | None:
    """What can be seen of the store of ``url`` in ``within`` seconds, without making or changing anything; None if
    there is none yet. Raises StoreError, with words on what to do, for one that no gateway could serve from.
    """
    if is_postgres(url):
        from gateway.stores.postgres.look import look_at_database

        return await look_at_database(url, within)
    return await asyncio.to_thread(look_at_file, store_path(url), within)


async def require_store(url: str) -> None:
    """Raise StoreError, with words on what to do, if there is no store at ``url`` yet, or none that can be read."""
    if is_postgres(url):
        from gateway.stores.postgres.reader import PostgresReader

        await PostgresReader(url).check()
    else:
        SQLiteReader(store_path(url)).check()


@asynccontextmanager
async def change_keys(
    url: str, now_ns: int, making: Callable[[str], None]
) -> AsyncIterator[tuple[KeyRecords, Path | None]]:
    """The keys of a store, and the file of their pepper; None if it has none. Those of a file that no gateway serves
    from, under the store's lock; those of a PostgreSQL beside its gateways, which obey within a second.

    ``making``: is told of a store that was not there and is made.
    Raises StoreInUse if another process has the lock, StoreError.
    """
    if is_postgres(url):
        from gateway.stores.postgres.key_changes import keys_beside_gateways

        async with keys_beside_gateways(url, now_ns, making) as shared:
            yield shared, None
        return
    path = store_path(url)
    with keys_for_writing(path, now_ns, lambda made: making(str(made))) as records:
        yield records, pepper_file(path)


async def bring_up_to_date(url: str, now_ns: int) -> tuple[str, int]:
    """Bring the schema of a PostgreSQL up to date. Returns its name, without secrets, and the schema's version.

    Raises StoreError.
    """
    from gateway.stores.postgres.store import bring_up_to_date as update

    return await update(url, now_ns)


def migrate_store(
    source: str, target: str, now_ns: int, told: Callable[[str, int, int], None]
) -> Coroutine[Any, Any, Migrated]:
    """Carry the SQLite store of one URL over to the PostgreSQL of another, or go on with that; compare both at the end.

    ``told``: is called with what is under way, how many rows are there, and how many there are to be.
    Raises StoreError, with words on what to do.
    """
    if not is_postgres(target):
        raise StoreError("--to is not of the form postgresql://USER:PASSWORD@HOST:5432/DATABASE.")
    from gateway.stores.migration import migrate_store as migrate

    return migrate(store_path(source).resolve(), target, now_ns, told)


def accept_loss(url: str, now_ns: int, who: str, reason: str) -> Sequence[str]:
    """Let a store that has lost rows be served again; what was missing, one sentence each, is written into its audit
    log. With nothing missing, nothing is changed.

    Raises StoreInUse if a gateway serves from it, StoreError.
    """
    _require_file(url, "What it has lost is for its server to tell and to put back.")
    return accept.accept_loss(store_path(url), now_ns, who, reason).sentences


def back_up(url: str, folder: Path, wall_ns: int, progress: Progress | None = None) -> Backup:
    """Copy the store of ``url`` into ``folder``, beside a running gateway or without one. Raises StoreError."""
    _require_file(url, "Back it up with its own tools (pg_dump, pg_basebackup).")
    return make_backup(store_path(url), folder, wall_ns, progress)


def look_at_backup(folder: Path) -> Backup:
    """The backup in ``folder``, once it has proven whole and right. Raises StoreError."""
    return read_backup(folder)


def put_back(folder: Path, url: str, wall_ns: int) -> tuple[Backup, list[Path]]:
    """Put the backup in ``folder`` in the place of the store of ``url``; returns also where what stood there went.

    Raises StoreInUse, StoreError.
    """
    _require_file(url, "Put it back with its own tools (pg_restore).")
    return restore_backup(folder, store_path(url), wall_ns)


def _require_file(url: str, instead: str) -> None:
    """Raise StoreError for a store that is no file of this machine. ``instead``: what to do with it."""
    if is_postgres(url):
        raise StoreError(f"{store_name(url)} is a PostgreSQL database, not a file. {instead}")
