"""Jobs as stores keep them, and what every engine does with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.core.jobs.job_state import JobState
from gateway.stores.records import TaskRecord

MAX_JOBS = 100
"""Jobs that one page has at most."""


@dataclass(frozen=True, slots=True)
class StoredJob:
    """One job, without its answer. ``key``: the virtual key that it belongs to.

    ``fingerprint``: of its request. ``idempotency``: the digest of its Idempotency-Key; None without one.
    ``exchange``: the id of the intent it was bought under. ``request_id``: of the request that began it.
    ``created_ns``, ``ended_ns``: Unix time; None as long as it has not ended.
    ``left``, ``told``, ``purchased``: see core/jobs/joining.py.
    ``cost``: what the key pays, in US dollars; None if that is not known.
    ``order``: JSON, what an answer needs that is made after a restart; no bytes of pictures.
    ``error``: JSON, what its clients are answered with; None for an answer.
    """

    id: str
    key: str
    team: str | None
    route: str
    model: str
    fingerprint: bytes
    idempotency: bytes | None
    exchange: str
    request_id: str
    stream: bool
    created_ns: int
    state: JobState = "reserved"
    ended_ns: int | None = None
    left: bool = False
    told: bool = False
    purchased: bool = False
    cost: str | None = None
    order: bytes = b"{}"
    error: bytes | None = None


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A job's answer. ``headers``: JSON, pairs of texts. ``body``: of a small one; ``place``: the name of the file of a
    large one, None if it has none. ``size``: bytes of the answer.
    """

    status: int
    headers: bytes
    body: bytes | None
    place: str | None
    size: int


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A job that an earlier process left under way. ``tasks``: what was made for it upstream, as far as is known.
    ``state``: how its exchange stands in the books: ``released`` if nothing was bought; empty if there is no row.
    """

    job: StoredJob
    tasks: tuple[TaskRecord, ...]
    state: str


@dataclass(frozen=True, slots=True)
class Traces:
    """What the books know of an exchange: the ``tasks`` that were made for it, and its ``state``, as in Unfinished."""

    tasks: tuple[TaskRecord, ...]
    state: str


class JobRecords(Protocol):
    """Jobs, each of the virtual key that it was made for.

    Reading raises StoreError, writing errors.ledger_unavailable().
    """

    async def keep(self, job: StoredJob, result: StoredResult | None = None) -> None:
        """Return once it is durable; one that is there already is written anew, its answer only if there is one."""
        ...

    async def since(self, ended_ns: int) -> Sequence[StoredJob]:
        """Those that have not ended, or ended at this time or later; the oldest first."""
        ...

    async def unfinished(self) -> Sequence[Unfinished]:
        """Those that have not ended, the oldest first."""
        ...

    async def traces(self, exchanges: Sequence[str]) -> Sequence[Traces]:
        """What the books know of each of these exchanges, in their order."""
        ...

    async def find(self, key: str, id: str) -> StoredJob | None:
        """The key's job of that id."""
        ...

    async def page(self, key: str, limit: int, after: str | None = None) -> Sequence[StoredJob]:
        """At most ``limit`` of the key's jobs, the newest first, from the first one older than ``after`` on.

        ``limit``: 1 to MAX_JOBS + 1, so that it can be told whether there are more than a page has. ``after``: the id
        of a job of the key's; of one that is gone, nothing is older.
        """
        ...

    async def latest(self, limit: int, after: str | None = None, key: str | None = None) -> Sequence[StoredJob]:
        """At most ``limit`` jobs of all keys, or of one, the newest first, from the first one older than ``after`` on.

        ``limit``: as of ``page``. ``after``: the same, but of any key.
        """
        ...

    async def result(self, id: str) -> StoredResult | None:
        """The answer of a job; None if it has none."""
        ...

    async def forget(self, key: str, id: str) -> str | None:
        """Return once it is gone. Returns the name of the file of its answer; None if it had none."""
        ...

    async def sweep(self, ended_before_ns: int) -> Sequence[str]:
        """Remove what ended before. Returns the names of the files of their answers."""
        ...

    async def places(self) -> frozenset[str]:
        """The names of the files of all answers."""
        ...
