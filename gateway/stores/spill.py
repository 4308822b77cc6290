"""Where settlements go that the store will not take at present: a file of lines, with its room reserved.

A line is ``1 <CRC-32 of the JSON, 8 hex digits> <JSON of its fields>``, and empty lines mean nothing; the first NUL
ends the file's content, what follows is reserved room. So a full disk does not keep settlements from being written, and
a line that a crash tore is told from a whole one. What a line says was settled already changes nothing, so a file may
be read in any number of times.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import orjson

from gateway.core.errors import StoreError
from gateway.runtime.disk import read_at, reserve_room, sync_data, write_at
from gateway.runtime.file_lock import lock
from gateway.stores.files import beside, open_own
from gateway.stores.records import ExchangeRecord
from gateway.stores.settled_fields import settled_fields, settled_record

ROOM = 4 * 1024 * 1024
"""Bytes reserved: some 7,000 settlements. More are written if the disk allows."""

log = logging.getLogger("gateway.stores")


class Lines(NamedTuple):
    """What a line holds: ``fields`` of a record, as JSON writes them; ``record`` of such fields, which raises
    ValueError, TypeError or KeyError for others.
    """

    fields: Callable[[ExchangeRecord], dict[str, Any]] = settled_fields
    record: Callable[[Mapping[str, Any]], ExchangeRecord] = settled_record


SETTLEMENTS = Lines()


class Spill:
    """The file ``<store>.spill``, of one holder. ``filled``: whether there is anything in it."""

    def __init__(self, path: Path, descriptor: int, lines: Lines = SETTLEMENTS) -> None:
        self.path = path
        self._descriptor = descriptor
        self._lines = lines
        self._end = 0
        self._failing = False

    @classmethod
    def open(cls, store: Path, lines: Lines = SETTLEMENTS) -> Self:
        """Make the file if need be and reserve its room, as far as the disk has it. StoreError as ``open_own``."""
        path = beside(store, "spill")
        spill = cls(path, open_own(path, "spill file"), lines)
        spill._reserve()
        return spill

    @property
    def filled(self) -> bool:
        return self._end > 0

    def read(self) -> list[ExchangeRecord]:
        """All settlements in the file, in the order they were written. Lines that make no sense are logged and left
        out. StoreError if the file cannot be read.
        """
        try:
            size = os.fstat(self._descriptor).st_size
            data = bytearray()
            while len(data) < size and (more := read_at(self._descriptor, size - len(data), len(data))):
                data += more
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be read: {error.strerror}. It may hold what requests cost; save a copy, then "
                "remove it to start without."
            ) from None
        content = bytes(data.partition(b"\0")[0])
        self._end = len(content)
        return list(self._parse(content))

    def append(self, settlements: Sequence[ExchangeRecord]) -> bool:
        """Add settlements and sync them to the disk, all together. False if that failed; they may be tried again.

        One that JSON cannot hold is logged and left out: it would fit no row either.
        """
        # The empty line ahead keeps them apart from what a failed try may have left.
        lines = b"\n" + b"".join(filter(None, (_line(one, self._lines) for one in settlements)))
        try:
            written = 0
            while written < len(lines):
                written += write_at(self._descriptor, lines[written:], self._end + written)
            sync_data(self._descriptor)
        except OSError as error:
            if not self._failing:
                log.error("%s cannot be written either: %s", self.path, error.strerror)
            self._failing = True
            return False
        self._failing = False
        self._end += len(lines)
        return True

    def empty(self) -> None:
        """Forget the content, which is settled and on the disk, and keep the room.

        Should that fail, or a crash come first, the lines are read in once more, which changes nothing.
        """
        try:
            write_at(self._descriptor, bytes(min(self._end, ROOM)), 0)
            os.ftruncate(self._descriptor, min(os.fstat(self._descriptor).st_size, ROOM))
            sync_data(self._descriptor)
        except OSError as error:
            log.warning("%s could not be emptied and will be read in again: %s", self.path, error.strerror)
        else:
            self._end = 0

    def lock(self) -> None:
        """Have it for this process alone, until it is closed, where the file system can do that. Raises StoreError if
        another process has it.
        """
        try:
            lock(self._descriptor)
        except BlockingIOError:
            raise StoreError(f"{self.path} is in use by another process.") from None
        except OSError as error:
            log.warning("%s cannot be locked: %s", self.path, error.strerror)

    def close(self) -> None:
        os.close(self._descriptor)

    def _reserve(self) -> None:
        try:
            size = os.fstat(self._descriptor).st_size
            if size < ROOM:
                reserve_room(self._descriptor, size, ROOM)
                sync_data(self._descriptor)
        except OSError as error:
            log.warning("no room could be reserved for %s: %s", self.path, error.strerror)

    def _parse(self, content: bytes) -> Iterator[ExchangeRecord]:
        *lines, torn = content.split(b"\n")
        for line in filter(None, lines):
            settlement = _settlement(line, self._lines)
            if settlement is None:
                log.error("%s: a line makes no sense and is left out", self.path)
            else:
                yield settlement
        if torn:
            log.warning("%s ends with a line that a crash tore; nobody was promised what it said", self.path)


def _line(settlement: ExchangeRecord, lines: Lines = SETTLEMENTS) -> bytes | None:
    try:
        text = orjson.dumps(lines.fields(settlement))
    except TypeError:
        log.error("a settlement fits no line of the spill file: %r", settlement)
        return None
    return b"1 %08x %s\n" % (zlib.crc32(text), text)


def _settlement(line: bytes, lines: Lines = SETTLEMENTS) -> ExchangeRecord | None:
    version, _, rest = line.partition(b" ")
    checksum, _, text = rest.partition(b" ")
    if version != b"1" or checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        return lines.record(orjson.loads(text))
    except (ValueError, TypeError, KeyError):  # a version that knew other fields
        return None
