"""What can be seen of a store without opening it to serve."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreLook:
    """A store as it is found.

    ``name``: without secrets. ``engine``: with its version. ``schema``: the version of its tables, 0 for none;
    ``known``: the one that this program has. ``damage``: what is wrong with its pages, empty for nothing; None if there
    was no time to look at all of them. ``lost``: what it held once and has no more; None as for ``damage``. ``open``:
    requests that have begun and not ended; None if they were not counted. ``log_bytes``: of its log, which is copied
    into the file by and by. ``spilled``: settlements in its spill file, which the next start books.
    """

    name: str
    engine: str
    schema: int
    known: int
    damage: str | None = ""
    lost: tuple[str, ...] | None = ()
    open: int | None = None
    log_bytes: int = 0
    spilled: int = 0
