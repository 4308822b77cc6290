"""Looks at folders: whether they can be written, and how much room their disks have."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gateway.cli.looks.finding import Finding, Seen, ok, size, warning, wrong

SCARCE, TOO_LITTLE = 1 << 30, 32 << 20
"""Bytes: less than the first is a warning; with less than the second there soon is no store that takes a row."""

STORE_FILES = ("", "-wal", "-shm", ".lock", ".mark", ".spill")
"""Endings of the files that a gateway has open."""

MOST_COUNTED = 100_000
"""Files of a folder that are added up."""


class Folder(NamedTuple):
    """A folder as it is found. ``there``: whether it is, else it is to be made. ``writable``: it, or where it is to be
    made. ``free``, ``used``: bytes, of its disk and by its files. ``open_to_others``: whether other users can read it.
    """

    path: Path
    there: bool
    writable: bool
    free: int
    used: int = 0
    open_to_others: bool = False


def see_folder(path: Path, *, add_up: bool = False) -> Folder:
    """A folder, without making anything. ``add_up``: whether its files are. Raises OSError. Blocks."""
    from gateway.runtime.disk import too_open

    path = Path(os.path.abspath(path))
    near = next(one for one in (path, *path.parents) if os.path.exists(one))  # False where looking is forbidden
    there = near == path
    writable = near.is_dir() and os.access(near, os.W_OK | os.X_OK)
    used = _used(path) if there and add_up else 0
    is_open = there and too_open(path.stat())
    return Folder(path, there, writable, shutil.disk_usage(near).free, used, is_open)


def _used(folder: Path) -> int:
    found = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for _, entry in zip(range(MOST_COUNTED), entries, strict=False):
            with suppress(OSError):
                found += entry.stat(follow_symlinks=False).st_size
    return found


async def look_at_store_folder(seen: Seen) -> Sequence[Finding]:
    """Where a store that is a file lies."""
    if seen.config is None or (path := seen.config.sqlite_path) is None:
        return []
    return await asyncio.to_thread(_see_store, path)


def _see_store(path: Path) -> list[Finding]:
    path = Path(os.path.realpath(path))
    files = [path.with_name(f"{path.name}{ending}") for ending in STORE_FILES]
    return [judge_store_folder(see_folder(path.parent)), *filter(None, map(see_file, files))]


def see_file(path: Path) -> Finding | None:
    """What keeps a gateway from a file of its store; None for nothing, or if there is no such file. Blocks."""
    name = "store's files"
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        return wrong(name, f"{path}: {error.strerror}", "mend that, or change 'store'")
    if not stat.S_ISREG(mode):
        return wrong(name, f"{path} is not a file", "move it away, or change 'store'")
    if not os.access(path, os.R_OK | os.W_OK):
        return wrong(name, f"{path} cannot be read and written by this user", "give it to the gateway's user")
    return None


def judge_store_folder(folder: Folder) -> Finding:
    """The store's folder must be there: a gateway makes the file, not the folder."""
    name, path = "store's folder", folder.path
    if not folder.there:
        return wrong(name, f"{path} is not there", f"run: mkdir -p -m 700 {path}; or change 'store'")
    if not folder.writable:
        return wrong(name, f"{path} cannot be written by this user", "give it to the gateway's user, or change 'store'")
    found = f"{path}, {size(folder.free)} free"
    if folder.free < TOO_LITTLE:
        return wrong(name, found, "make room: without it nothing can be booked, so nothing is bought")
    if folder.free < SCARCE:
        return warning(
            name, found, "make room: piapi-gateway ledger prune keeps the file from growing (docs/sizing.md)"
        )
    return ok(name, f"{found}, can be written")


async def look_at_images(seen: Seen) -> Sequence[Finding]:
    """The folder of kept pictures, against ``images.keep_max``."""
    if seen.config is None:
        return []
    images = seen.config.images
    folder = await asyncio.to_thread(see_folder, images.dir, add_up=True)
    return [judge_images(folder, images.keep_max)]


def judge_images(folder: Folder, keep_max: int) -> Finding:
    """``keep_max``: bytes that its files may take."""
    name, path = "images folder", folder.path
    if not folder.writable:
        return wrong(
            name, f"{path} cannot be written by this user", "give it to the gateway's user, or change images.dir"
        )
    room = max(0, keep_max - folder.used)
    if folder.free < room:
        return warning(
            name,
            f"{path} may grow by {size(room)}, and its disk has {size(folder.free)} left",
            "make room, or set a lower images.keep_max",
        )
    if folder.open_to_others:
        return warning(name, f"{path} can be read by other users", f"run: chmod 700 {path}")
    there = f"{size(folder.used)} of {size(keep_max)} used" if folder.there else "made with the first picture"
    return ok(name, f"{path}, {there}, {size(folder.free)} free")
