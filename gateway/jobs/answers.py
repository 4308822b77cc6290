"""Where the answers of jobs lie: a small one in the job's row, a large one in a file, for its owner alone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
from collections.abc import Collection
from pathlib import Path

import orjson

from gateway.core.errors import UpstreamFault
from gateway.core.headers import Headers
from gateway.runtime.disk import CAREFULLY, PRIVATELY, close_to_others
from gateway.stores.job_records import StoredResult

IN_THE_ROW = 64 * 1024
"""Bytes of an answer that lie in the store itself."""

_NAME = re.compile(r"job_[0-9a-f]{32}\.answer")
_UNFINISHED = re.compile(r"job_[0-9a-f]{32}\.answer\.part")

log = logging.getLogger("gateway.jobs")


class AnswerFiles:
    """A folder of answers. ``most``: bytes that they may take; of more, the oldest go first."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._most = most

    async def keep(self, id: str, status: int, headers: Headers, body: bytes) -> StoredResult:
        """Keep the answer of a job. Raises OSError if it cannot be written."""
        told = orjson.dumps([[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers])
        if len(body) <= IN_THE_ROW:
            return StoredResult(status, told, body, None, len(body))
        place = f"{id}.answer"
        await asyncio.to_thread(self._write, place, body)
        return StoredResult(status, told, None, place, len(body))

    async def read(self, result: StoredResult) -> bytes:
        """The bytes of an answer. Raises ``result_unavailable``."""
        if result.place is None:
            return result.body or b""
        try:
            return await asyncio.to_thread(self._read, result.place)
        except OSError as error:
            log.error("the answer of a job cannot be read: %s", error)
            raise answer_gone() from None

    async def remove(self, places: Collection[str]) -> None:
        """Remove these files, as far as they are there."""
        if places:
            await asyncio.to_thread(self._remove, places)

    async def tidy(self, known: Collection[str], before_ns: int) -> None:
        """Close the folder to other users, and remove what was written before and is of no job that is ``known``: other
        gateways may have answers in the same folder.
        """
        await asyncio.to_thread(self._tidy, known, before_ns)

    def _write(self, place: str, body: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._make_room(len(body))
        part = self._folder / f"{place}.part"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | PRIVATELY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self._folder / place)

    def _read(self, place: str) -> bytes:
        with os.fdopen(os.open(self._path(place), os.O_RDONLY | CAREFULLY), "rb") as file:
            return file.read()

    def _remove(self, places: Collection[str]) -> None:
        for place in places:
            with contextlib.suppress(OSError):
                self._path(place).unlink(missing_ok=True)

    def _path(self, place: str) -> Path:
        if _NAME.fullmatch(place) is None:
            raise FileNotFoundError(place)
        return self._folder / place

    def _files(self, *kinds: re.Pattern[str]) -> list[tuple[int, int, Path]]:
        """Time of writing, size and path of every file of these kinds that is here, the oldest first."""
        found = []
        try:
            entries = [*self._folder.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        for path in entries:
            if any(kind.fullmatch(path.name) for kind in kinds):
                with contextlib.suppress(OSError):
                    status = path.lstat()
                    found.append((status.st_mtime_ns, status.st_size, path))
        return sorted(found)

    def _make_room(self, size: int) -> None:
        files = self._files(_NAME)
        excess = sum(each for _, each, _ in files) + size - self._most
        for _, each, path in files:
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= each

    def _tidy(self, known: Collection[str], before_ns: int) -> None:
        with contextlib.suppress(OSError):
            close_to_others(self._folder)
        for written_ns, _, path in self._files(_NAME, _UNFINISHED):
            if path.name not in known and written_ns < before_ns:
                path.unlink(missing_ok=True)


def headers_of(result: StoredResult) -> Headers:
    """The headers that an answer was given with."""
    return tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in orjson.loads(result.headers))


def answer_gone() -> UpstreamFault:
    """502: the answer was bought and given, and is here no more."""
    return UpstreamFault(
        502,
        "upstream_error",
        "result_unavailable",
        "This request was answered before, and its answer is kept no longer. It was charged then; nothing was bought "
        "now.",
    )
