"""Backups of a store: a folder with a consistent copy, its pepper, what was not booked yet, and a list of them.

A backup is made beside a running gateway: reading, in one transaction. The spill file is copied first: what is read in
between the two copies is in both, and reading it in twice changes nothing.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from gateway.core.errors import StoreError
from gateway.runtime.disk import PRIVATELY, close_to_others, sync_folder
from gateway.stores.files import beside, give_to_owner_of
from gateway.stores.records import Backup
from gateway.stores.sqlite.lock import StoreLock
from gateway.stores.sqlite.loss import StoreLost, find_loss
from gateway.stores.sqlite.mark import UNMARKED, Mark, read_mark, write_mark
from gateway.stores.sqlite.queries import verify
from gateway.stores.sqlite.schema import reading
from gateway.stores.sqlite.tally import read_position

MANIFEST = "backup.json"
COPY = "gateway.db"
"""What the store is called in a backup, also if its own name is another."""

_COMPANIONS = ("pepper", "spill")
_OF_A_STORE = ("", "-wal", "-shm", ".pepper", ".spill", ".mark")
_FILES = (COPY, *(f"{COPY}.{ending}" for ending in (*_COMPANIONS, "mark")), MANIFEST)
_PAGES = 4096
_FORMAT = 1

log = logging.getLogger("gateway.stores")

Progress = Callable[[int, int], None]
"""Is told how many pages are done, of how many."""


def make_backup(store: Path, folder: Path, wall_ns: int, progress: Progress | None = None) -> Backup:
    """Copy the store into ``folder``, which is made, and check the copy.

    A folder with a whole backup in it is replaced once the new one is well; any other content is refused. StoreError
    for that, for a store that cannot be read, for a disk that is full, and for a copy whose books are wrong; StoreLost
    for one that lacks what the store's mark knows of.
    """
    store, folder = store.resolve(), folder.absolute()
    _check_place(folder)
    unfinished = folder.with_name(f".{folder.name}.unfinished-{os.getpid()}")
    try:
        with _told_plainly(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(mode=0o700)
            for ending in _COMPANIONS:
                if (companion := beside(store, ending)).exists():
                    _copy_private(companion, beside(unfinished / COPY, ending))
            mark = read_mark(store)  # before the copy, which is then the younger one
            _copy_store(store, unfinished / COPY, progress)
            _mark_copy(store, mark, unfinished / COPY)
            books = verify(unfinished / COPY)
            if books.problems:
                raise StoreError(f"the copy's books are wrong, so there is no backup: {books.problems[0]}")
            made_at = datetime.fromtimestamp(wall_ns // 1_000_000_000, UTC).isoformat().replace("+00:00", "Z")
            backup = Backup(folder, made_at, _sizes(unfinished), books)
            _write_manifest(unfinished, backup)
            for path in (unfinished, *unfinished.iterdir()):
                give_to_owner_of(folder.parent, path)
            _swap(unfinished, folder)
        return backup
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def read_backup(folder: Path) -> Backup:
    """The backup in ``folder``, once every file proved to be as it was made and the books to be right.

    Raises StoreError.
    """
    folder = folder.absolute()
    manifest = _manifest(folder)
    _close_to_others(folder)
    for name, digest in manifest["sha256"].items():
        if not (folder / name).is_file() or _digest(folder / name) != digest:
            raise StoreError(f"{folder / name} is not the file that was backed up: it was changed, cut or taken away.")
    books = verify(folder / COPY)
    if books.problems:
        raise StoreError(f"the books in {folder} are wrong: {books.problems[0]}")
    return Backup(folder, manifest["made_at"], _sizes(folder), books)


def restore_backup(folder: Path, store: Path, wall_ns: int) -> tuple[Backup, list[Path]]:
    """Put the backup in ``folder`` in the place of the store, which no gateway may be using.

    What stood there is moved aside, never removed: returns where to. StoreInUse, and StoreError as ``read_backup``;
    then the store is as it was.
    """
    backup, store = read_backup(folder), store.resolve()
    with _told_plainly(store.parent):
        store.parent.mkdir(parents=True, exist_ok=True)
        lock = StoreLock.take(store)
        try:
            aside = _move_aside(store, wall_ns)
            for name in backup.files:
                target = store.with_name(store.name + name.removeprefix(COPY))
                _copy_private(backup.folder / name, target)
                give_to_owner_of(store.parent, target)
            sync_folder(store.parent)
        finally:
            lock.release()
    return backup, aside


def _close_to_others(folder: Path) -> None:
    """A backup holds the keys' pepper. One that is not ours to close, or lies where nothing can be changed, is used as
    it is, or nothing could be restored from it.
    """
    for path in (folder, *(folder / name for name in _FILES)):
        try:
            mode = close_to_others(path)
        except OSError:
            log.warning("%s is open to other users and not ours to close. Run: chmod go-rwx %s", path, path)
        else:
            if mode is not None:
                log.warning("%s was open to other users (mode %04o); it is closed now", path, mode)


def _check_place(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / MANIFEST).is_file()):
        raise StoreError(f"{folder} holds something else than a backup. Name a folder of its own; it is made.")


def _copy_store(store: Path, target: Path, progress: Progress | None) -> None:
    _make_private(target)
    with reading(store) as source, closing(sqlite3.connect(target, isolation_level=None)) as copy:
        # The first row read begins the snapshot: the copy is of that moment, however long it takes.
        source.execute("SELECT count(*) FROM schema_version").fetchone()

        def told(_: int, remaining: int, total: int) -> None:
            if progress is not None:
                progress(total - remaining, total)

        source.backup(copy, pages=_PAGES, progress=told, sleep=0)
        # A copy that is read from a medium that cannot be written needs no log beside it.
        copy.execute("PRAGMA journal_mode = DELETE")
    with target.open("rb") as stream:
        os.fsync(stream.fileno())


def _mark_copy(store: Path, mark: Mark, copy: Path) -> None:
    """Give the copy a mark of its own, once it holds what the store's says. Raises StoreLost, OSError."""
    with reading(copy) as books:
        loss, position = find_loss(books, mark, recount=False), read_position(books)
    if loss:
        raise StoreLost(store, loss)
    write_mark(copy, UNMARKED._replace(seen=position, synced=position))


def _make_private(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | PRIVATELY, 0o600))


def _copy_private(source: Path, target: Path) -> None:
    """Copy a file to one that is made for this user alone, down to the disk."""
    _make_private(target)
    with source.open("rb") as given, target.open("wb") as taken:
        shutil.copyfileobj(given, taken)
        taken.flush()
        os.fsync(taken.fileno())


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != MANIFEST}


def _write_manifest(folder: Path, backup: Backup) -> None:
    books = backup.books
    content = {
        "format": _FORMAT,
        "made_at": backup.made_at,
        "books": {"settled": books.settled, "released": books.released, "unknown": books.unknown, "open": books.open},
        "sha256": {name: _digest(folder / name) for name in backup.files},
    }
    _make_private(folder / MANIFEST)
    (folder / MANIFEST).write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        content = orjson.loads((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise StoreError(f"{folder} holds no backup: {MANIFEST} cannot be read ({error.strerror}).") from None
    except ValueError:
        content = None
    names = content.get("sha256") if isinstance(content, dict) else None
    known = {*_FILES} - {MANIFEST}
    if not isinstance(content, dict) or not isinstance(names, dict) or content.get("format") != _FORMAT:
        raise StoreError(f"{folder / MANIFEST} is not the list of a backup of this version.")
    if COPY not in names or not names.keys() <= known or not isinstance(content.get("made_at"), str):
        raise StoreError(f"{folder / MANIFEST} names files that no backup has.")
    return content


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _swap(unfinished: Path, folder: Path) -> None:
    """Put the finished folder in its place; an earlier backup goes only once it is there."""
    earlier = folder.with_name(f".{folder.name}.earlier-{os.getpid()}")
    if folder.exists():
        folder.rename(earlier)
    unfinished.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(earlier, ignore_errors=True)


def _move_aside(store: Path, wall_ns: int) -> list[Path]:
    """Rename what stands in the store's place. Returns the new names."""
    moment = datetime.fromtimestamp(wall_ns // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    found: Sequence[Path] = [path for ending in _OF_A_STORE if (path := store.with_name(store.name + ending)).exists()]
    aside = []
    for path in found:
        target = path.with_name(f"{store.name}.before-{moment}{path.name.removeprefix(store.name)}")
        if target.exists():
            raise StoreError(f"{target} is there already. Wait a second and try again.")
        path.rename(target)
        aside.append(target)
    return aside


@contextmanager
def _told_plainly(place: Path) -> Iterator[None]:
    """Turn the system's errors into a StoreError that says what to do."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise StoreError(f"{place} cannot be written: {reason}. Check its permissions and its disk.") from error
