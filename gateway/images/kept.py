"""The images that are kept as files for a while, so that a client that wants a link gets one.

The name is the secret: 256 random bits, and nothing else guards the file. Files age by their modification time, which
survives a restart. Only files with such a name are ever read or removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from gateway.core.errors import ResultUnavailable
from gateway.images.kept_shares import Kept, most_files, owner_tag, to_remove
from gateway.runtime.disk import CAREFULLY, PRIVATELY, too_open
from gateway.runtime.ports import Clock, SystemClock
from gateway.wire.image_bytes import image_type

T = TypeVar("T")

_EXTENSIONS = {"png": "png", "jpeg": "jpg", "webp": "webp", "gif": "gif"}
_TYPES = {extension: f"image/{kind}" for kind, extension in _EXTENSIONS.items()}

_NAME = re.compile(r"[A-Za-z0-9_-]{43}\.(png|jpg|webp|gif)")
_UNFINISHED = re.compile(r"\.[A-Za-z0-9_-]{43}\.(png|jpg|webp|gif)\.part")

_MAGIC_BYTES = 16
"""Bytes by which a format is known."""

_ABANDONED_NS = 3600 * 1_000_000_000
"""Nanoseconds after which an unfinished file counts as left behind by a process that died."""

_ADVICE = {
    errno.ENOSPC: "free space there, or lower images.keep_max",
    errno.EDQUOT: "free space there, or lower images.keep_max",
}


class KeptFile:
    """A kept image that is being read; it stays readable even if it is removed meanwhile.

    ``size``: bytes.
    """

    def __init__(self, file: BinaryIO, size: int, content_type: str) -> None:
        self._file = file
        self.size = size
        self.content_type = content_type

    async def read(self, most: int) -> bytes:
        """The next bytes, at most ``most``; ``b""`` at the end."""
        return await asyncio.to_thread(self._file.read, most)

    def close(self) -> None:
        self._file.close()


class KeptImages:
    """The folder of kept images.

    ``folder``: created, for this user alone, when the first image is kept.
    ``keep``: seconds an image is kept.
    ``keep_max``: bytes that all images together may take. No key can crowd out the others' (kept_shares.py).
    ``clock``: None for the machine's.

    Several processes may share a folder. Changes are made one after the other, in a thread of their own. ``close`` it.
    """

    def __init__(self, folder: Path, keep: float, keep_max: int, clock: Clock | None = None) -> None:
        self._folder = folder
        self._keep_ns = int(keep * 1_000_000_000)
        self._keep_max = keep_max
        self._clock = SystemClock() if clock is None else clock
        self._changes = ThreadPoolExecutor(1, thread_name_prefix="kept-images")
        self._secret = secrets.token_bytes(32)

    async def keep(self, data: bytes, owner: str = "") -> str:
        """Write an image and return its name. If it would not fit, older ones are removed first, of the owner that has
        the most.

        ``owner``: the virtual key that it was made for.

        The file appears whole or not at all. Raises ResultUnavailable, with a message for the operator, for bytes that
        are no image, are larger than ``keep_max`` or cannot be written.
        """
        kind = image_type(data)
        if kind is None:
            raise ResultUnavailable("what was to be kept is not a PNG, JPEG, WebP or GIF")
        if len(data) > self._keep_max:
            raise ResultUnavailable(
                f"the image's {len(data)} bytes are more than images.keep_max allows ({self._keep_max})"
            )
        tag = owner_tag(self._secret, owner)
        name = f"{tag}{secrets.token_urlsafe(32)[len(tag) :]}.{_EXTENSIONS[kind]}"
        await self._change(partial(self._write, name, data, tag))
        return name

    async def open(self, name: str) -> KeptFile | None:
        """An image, to be read in pieces and closed; None if none is kept under this name."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        return await asyncio.to_thread(self._open, self._folder / name, match[1])

    async def sweep(self) -> int:
        """Remove images that are too old or exceed ``keep_max``. Returns how many.

        To be called at the start and regularly: without new images nothing else removes the old. Raises
        ResultUnavailable where the folder cannot be read or changed.
        """
        return await self._change(self._make_room)

    async def close_off(self) -> str:
        """Close the folder to other users, who could fetch the pictures by the names in it. To be called at the start.

        Returns what was done, or is to be done by its owner; empty if it was closed or is not there.
        """
        return await asyncio.to_thread(self._close_off)

    async def close(self) -> None:
        """Wait for the changes under way; no others may follow."""
        await asyncio.to_thread(self._changes.shutdown)

    async def _change(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._changes, work)
        except OSError as error:
            advice = _ADVICE.get(error.errno or 0, "make images.dir a folder that the gateway may write to")
            raise ResultUnavailable(f"{self._folder}: {error.strerror or error}; {advice}") from error

    def _close_off(self) -> str:
        with contextlib.suppress(OSError):
            status = os.stat(self._folder)
            mode = f"{stat.S_IMODE(status.st_mode):04o}"
            if not too_open(status):
                return ""
            ours = all(_NAME.fullmatch(entry) or _UNFINISHED.fullmatch(entry) for entry in os.listdir(self._folder))
            if not ours or status.st_mode & stat.S_ISVTX:  # shared with others, as /tmp is: not to be taken from them
                return (
                    f"{self._folder} is open to other users (mode {mode}) and holds other files as well; "
                    "give images.dir a folder of its own, mode 0700"
                )
            try:
                os.chmod(self._folder, 0o700)
            except OSError:
                return (
                    f"{self._folder} is open to other users (mode {mode}) and not ours to close; "
                    f"run: chmod 700 {self._folder}"
                )
            return f"{self._folder} was open to other users (mode {mode}); it is closed now (0700)"
        return ""

    def _write(self, name: str, data: bytes, tag: str) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._make_room(len(data), tag)
        unfinished = self._folder / f".{name}.part"
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | PRIVATELY, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                now = self._clock.wall_ns()
                os.utime(file.fileno(), ns=(now, now))
            unfinished.rename(self._folder / name)
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise

    def _open(self, path: Path, extension: str) -> KeptFile | None:
        try:
            file = open(path, "rb", opener=_open_carefully)  # noqa: SIM115  # the caller closes it
        except OSError:  # a name never given out, an image swept away meanwhile, a folder of that name
            return None
        status = os.fstat(file.fileno())
        # What another program put there is handed out as what it is or not at all: never under a name that lies.
        kind = image_type(file.read(_MAGIC_BYTES)) if stat.S_ISREG(status.st_mode) else None
        if kind is None or _EXTENSIONS[kind] != extension or self._is_old(status.st_mtime_ns):
            file.close()
            return None
        file.seek(0)
        return KeptFile(file, status.st_size, _TYPES[extension])

    def _make_room(self, room: int = 0, owner: str = "") -> int:
        """Remove old images, and then what is in the way of ``room`` bytes more of ``owner``. Returns how many."""
        kept = list(self._kept())
        going = [each for each in kept if self._is_old(each.written_ns)]
        old = {each.name for each in going}
        left = [each for each in kept if each.name not in old]
        going += to_remove(left, owner, room, self._keep_max, most_files(self._keep_max))
        for each in going:
            (self._folder / each.name).unlink(missing_ok=True)
        return len(going)

    def _kept(self) -> Iterator[Kept]:
        """All images here. Files that another process left unfinished are removed in passing."""
        try:
            entries = os.scandir(self._folder)
        except FileNotFoundError:
            return
        with entries:
            for entry in entries:
                unfinished = _UNFINISHED.fullmatch(entry.name)
                if unfinished is None and _NAME.fullmatch(entry.name) is None:
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # another process was faster
                    continue
                if not stat.S_ISREG(status.st_mode):
                    continue
                if unfinished is None:
                    yield Kept(entry.name, status.st_size, status.st_mtime_ns)
                elif self._clock.wall_ns() - status.st_mtime_ns > _ABANDONED_NS:
                    Path(entry.path).unlink(missing_ok=True)

    def _is_old(self, written_ns: int) -> bool:
        return self._clock.wall_ns() - written_ns >= self._keep_ns


def _open_carefully(path: str, flags: int) -> int:
    """Open a file without following a link and without blocking: under such a name there may be a pipe."""
    return os.open(path, flags | CAREFULLY)
