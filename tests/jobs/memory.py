"""Jobs in memory, and what lets connections wait for them, for tests without a store."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.jobs.answers import AnswerFiles
from gateway.jobs.deliveries import Deliveries
from gateway.jobs.jobs import Jobs
from gateway.jobs.telling import JobTelling
from gateway.jobs.waiting import Waiting
from gateway.stores.job_records import StoredJob, StoredResult, Traces, Unfinished


class MemoryRecords:
    """Implements ``stores.base.JobRecords``."""

    def __init__(self) -> None:
        self.jobs: dict[str, StoredJob] = {}
        self.results: dict[str, StoredResult] = {}

    async def keep(self, job: StoredJob, result: StoredResult | None = None) -> None:
        self.jobs[job.id] = job
        if result is not None:
            self.results[job.id] = result

    async def since(self, ended_ns: int) -> Sequence[StoredJob]:
        return [job for job in self.jobs.values() if job.ended_ns is None or job.ended_ns >= ended_ns]

    async def unfinished(self) -> Sequence[Unfinished]:
        return [Unfinished(job, (), "") for job in self.jobs.values() if job.ended_ns is None]

    async def traces(self, exchanges: Sequence[str]) -> Sequence[Traces]:
        return [Traces((), "") for _ in exchanges]

    async def find(self, key: str, id: str) -> StoredJob | None:
        job = self.jobs.get(id)
        return job if job is not None and job.key == key else None

    async def page(self, key: str, limit: int, after: str | None = None) -> Sequence[StoredJob]:
        return [job for job in reversed(self.jobs.values()) if job.key == key][:limit]

    async def latest(self, limit: int, after: str | None = None, key: str | None = None) -> Sequence[StoredJob]:
        return [job for job in reversed(self.jobs.values()) if key in (None, job.key)][:limit]

    async def result(self, id: str) -> StoredResult | None:
        return self.results.get(id)

    async def forget(self, key: str, id: str) -> str | None:
        self.jobs.pop(id, None)
        result = self.results.pop(id, None)
        return None if result is None else result.place

    async def sweep(self, ended_before_ns: int) -> Sequence[str]:
        gone = [job for job in self.jobs.values() if job.ended_ns is not None and job.ended_ns < ended_before_ns]
        return [place for job in gone if (place := await self.forget(job.key, job.id)) is not None]

    async def places(self) -> frozenset[str]:
        return frozenset(result.place for result in self.results.values() if result.place is not None)


def waiting_on(services: Any) -> Waiting:
    """Jobs of these services; large answers would lie in a folder of their own."""
    folder = Path(tempfile.gettempdir()) / "no-large-answers"
    jobs = Jobs(services, MemoryRecords(), AnswerFiles(folder, 1 << 30))
    deliveries = Deliveries(
        None,  # type: ignore[arg-type]  # no test here tells a webhook
        services.pool,
        services.clock,
        services.randomness,
        services.log,
        services.tasks,
    )
    return Waiting(services, jobs, JobTelling(jobs, deliveries, services.clock))
