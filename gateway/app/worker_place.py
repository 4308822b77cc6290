"""What a gateway is told that is one of several workers of a machine, by the process that started it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.telemetry.exposition import CONTENT_TYPE_TEXT
from gateway.telemetry.series_memory import SeriesMemory


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """``admin_socket``: where it takes what comes to the admin listener, which is one process's for all workers, at
    ``admin_host`` and ``admin_port``. ``memory``: where it counts.
    """

    admin_socket: Path
    admin_host: str
    admin_port: int
    memory: SeriesMemory


def nothing_of_its_own(accept: str) -> tuple[Iterator[bytes], str]:
    """A worker's scrape: whether it may be made is all that it says. The text is made of what all workers count."""
    return iter(()), CONTENT_TYPE_TEXT
