"""Counters and histograms in memory that another process reads too, also after the one that counts was killed.

A worker counts in a file without a name that it shares with its supervisor: what it had counted when it was killed is
there still, so that sums of all workers never go back. A series is a record of this file, which is only ever added to:

    8 bytes     where the last whole record ends
    record      4 bytes: size of the text; 4 bytes: number of cells; the text, JSON, filled up to 8; 8 bytes a cell

The text of a family is an object (name, meaning, labels, bounds of a histogram's buckets, whether its values are
nano-dollars); that of a series is an array: the number of its family, and its labels as a scrape has them. Cells are
64-bit integers; a histogram's last one is a double, the sum. One process writes, and a cell is written at once.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.telemetry.exposition import Buckets, Exposed

SIZE = 64 << 20
"""Bytes of the file. Only what is written takes memory: a megabyte for some thousand series."""

_HEAD = struct.Struct("=II")
_CELL = 8


class NoRoom(Exception):
    """The memory is full: what would be counted in it is counted in the process alone."""


@dataclass(frozen=True, slots=True)
class FamilyFacts:
    """What is told of a family beside its series. ``bounds``: of a histogram, without the infinite one."""

    name: str
    help: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] | None = None
    nano: bool = False


def new_memory() -> int:
    """A descriptor of memory for one process's series, zeroed; to be inherited by that process. Raises OSError."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("series")
    else:
        made, name = tempfile.mkstemp(prefix="piapi-gateway-")
        os.unlink(name)
        descriptor = made
    os.ftruncate(descriptor, SIZE)
    return descriptor


class SeriesMemory:
    """The writer's side. ``descriptor``: of ``new_memory``."""

    def __init__(self, descriptor: int) -> None:
        self._view = memoryview(mmap.mmap(descriptor, SIZE))
        self._used = self._view[:_CELL].cast("Q")
        self._used[0] = _CELL
        self._families: dict[str, int] = {}

    def count(self, family: FamilyFacts, labels: str) -> memoryview[int]:
        """The cell of a new counter. Raises NoRoom."""
        return self._series(family, labels, 1).cast("q")

    def distribution(self, family: FamilyFacts, labels: str) -> tuple[memoryview[int], memoryview[float]]:
        """The buckets of a new histogram, the infinite one last, and its sum's cell. Raises NoRoom."""
        assert family.bounds is not None
        cells = self._series(family, labels, len(family.bounds) + 2)
        return cells[:-_CELL].cast("q"), cells[-_CELL:].cast("d")

    def declare(self, family: FamilyFacts) -> None:
        """Say what a family is, before its first series. Raises NoRoom."""
        bounds = None if family.bounds is None else list(family.bounds)
        facts = {"name": family.name, "help": family.help, "labels": list(family.labels)}
        self._record({**facts, "bounds": bounds, "nano": family.nano}, 0)
        self._families[family.name] = len(self._families)

    def _series(self, family: FamilyFacts, labels: str, cells: int) -> memoryview:
        return self._record([self._families[family.name], labels], cells)

    def _record(self, value: object, cells: int) -> memoryview:
        text = orjson.dumps(value)
        begin = self._used[0]
        first = begin + _HEAD.size + _filled(len(text))
        end = first + cells * _CELL
        if end > SIZE:
            raise NoRoom
        _HEAD.pack_into(self._view, begin, len(text), cells)
        self._view[begin + _HEAD.size : begin + _HEAD.size + len(text)] = text
        self._used[0] = end  # last, so that a reader sees whole records only
        return self._view[first:end]


class SeriesReader:
    """The reader's side. Records that were read are remembered: only their cells change."""

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, SIZE, access=mmap.ACCESS_READ)
        self._read = _CELL
        self._families: list[tuple[FamilyFacts, list[tuple[str, int]]]] = []

    def exposed(self) -> Iterator[Exposed]:
        """Every family, with the values that its series have at this moment."""
        self._read_new()
        for family, series in self._families:
            if family.bounds is None:
                name = family.name.removesuffix("_total")
                values: Sequence[Any] = [(labels, *self._cells("=q", place)) for labels, place in series]
                yield Exposed(name, family.help, "counter", family.labels, values, nano=family.nano)
            else:
                form = f"={len(family.bounds) + 1}qd"
                values = [(labels, _buckets(self._cells(form, place))) for labels, place in series]
                yield Exposed(family.name, family.help, "histogram", family.labels, values, family.bounds)

    def close(self) -> None:
        self._map.close()

    def _cells(self, form: str, place: int) -> tuple[Any, ...]:
        return struct.unpack_from(form, self._map, place)

    def _read_new(self) -> None:
        (used,) = struct.unpack_from("=Q", self._map, 0)
        while self._read < used:
            size, cells = _HEAD.unpack_from(self._map, self._read)
            begin = self._read + _HEAD.size
            value = orjson.loads(self._map[begin : begin + size])
            first = begin + _filled(size)
            if isinstance(value, dict):
                bounds = value["bounds"]
                self._families.append(
                    (
                        FamilyFacts(
                            value["name"],
                            value["help"],
                            tuple(value["labels"]),
                            None if bounds is None else tuple(bounds),
                            value["nano"],
                        ),
                        [],
                    )
                )
            else:
                number, labels = value
                self._families[number][1].append((labels, first))
            self._read = first + cells * _CELL


def _filled(size: int) -> int:
    return -(-size // _CELL) * _CELL


def _buckets(cells: tuple[Any, ...]) -> Buckets:
    return Buckets(cells[:-1], cells[-1])
