"""The jobs that this gateway has in memory: found by their ids, and by what a re-send of them is known by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.core.jobs.joining import Marks
from gateway.jobs.job import Job

MOST_KNOWN = 100_000
"""Jobs that ended and are known; of more, the oldest are forgotten."""


class JobIndex:
    """All of them. ``running``: the ids of those that have not ended."""

    def __init__(self) -> None:
        self._known: dict[str, Job] = {}
        self._of_key: dict[str, dict[bytes, list[Job]]] = {}
        self.running: set[str] = set()

    def __iter__(self) -> Iterator[Job]:
        return iter([*self._known.values()])

    def add(self, job: Job) -> None:
        """It is known from now on."""
        self._known[job.id] = job
        if not job.over:
            self.running.add(job.id)
        mine = self._of_key.setdefault(job.key, {})
        for name in _names(job):
            mine.setdefault(name, []).append(job)
        if len(self._known) > MOST_KNOWN:
            oldest = next((one for one in self._known.values() if one.over), None)
            if oldest is not None:
                self.drop(oldest)

    def drop(self, job: Job) -> None:
        """It is known no longer."""
        self.running.discard(job.id)
        if self._known.pop(job.id, None) is None:
            return
        mine = self._of_key[job.key]
        for name in _names(job):
            jobs = mine[name]
            jobs.remove(job)
            if not jobs:
                del mine[name]
        if not mine:
            del self._of_key[job.key]

    def get(self, id: str) -> Job | None:
        """The job of that id."""
        return self._known.get(id)

    def of_key(self, key: str) -> list[Job]:
        """The key's, the newest first."""
        return sorted((job for job in self._known.values() if job.key == key), key=lambda job: -job.created_ns)

    def like(self, key: str, fingerprint: bytes, marks: Marks) -> list[Job]:
        """The key's that a request with these marks may join, as far as it is known by them."""
        name = fingerprint if marks.idempotency is None else marks.idempotency
        return self._of_key.get(key, {}).get(name, [])

    def of_exchange(self, exchange: str) -> list[Job]:
        """Those whose row in the books this is, or that of one of their pictures."""
        return [job for job in self._known.values() if exchange == job.exchange or exchange in job.pieces]


def _names(job: Job) -> Iterable[bytes]:
    """What it is found by: its fingerprint, and its Idempotency-Key's digest."""
    return (job.fingerprint,) if job.idempotency is None else (job.fingerprint, job.idempotency)
