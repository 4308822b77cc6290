"""What gateways that share a store know of one another's work, and what such an engine does with it.

A store that belongs to one gateway alone has nothing of this: what that gateway has in memory is all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from gateway.core.jobs.job_state import JobState
from gateway.stores.delivery_records import Delivery, DeliveryRecords
from gateway.stores.job_records import JobRecords, StoredJob, Unfinished
from gateway.stores.response_records import ResponseRecords

ResponseWish = Literal["cancel", "forget"]


@dataclass(frozen=True, slots=True)
class KnownJob:
    """A job as all gateways know it. Implements ``core.jobs.joining.Joinable``.

    ``gateway``: the one whose it is; empty for none. ``taken``: a re-send waits for it somewhere, or had its answer.
    ``queued``: it runs, but nothing was sent for it yet.
    """

    job: StoredJob
    gateway: str
    taken: bool
    queued: bool = False

    @property
    def fingerprint(self) -> bytes:
        return self.job.fingerprint

    @property
    def idempotency(self) -> bytes | None:
        return self.job.idempotency

    @property
    def state(self) -> JobState:
        return self.job.state

    @property
    def created_ns(self) -> int:
        return self.job.created_ns

    @property
    def ended_ns(self) -> int | None:
        return self.job.ended_ns

    @property
    def purchased(self) -> bool:
        return self.job.purchased

    @property
    def told(self) -> bool:
        return self.job.told

    @property
    def left(self) -> bool:
        return self.job.left


Choose = Callable[[Sequence[KnownJob]], KnownJob | None]
"""Which of these jobs is joined, if any. May raise what its caller is to be told instead."""


@dataclass(frozen=True, slots=True)
class Resend:
    """A request that may join a job. ``key``: its virtual key. ``waiter``: its id. Of the jobs of an Idempotency-Key,
    if there is one, else of those with its fingerprint.
    """

    key: str
    fingerprint: bytes
    idempotency: bytes | None
    waiter: str


class SharedJobRecords(JobRecords, Protocol):
    """Jobs that several gateways have before them. What one of them writes (``keep``) is refused where the job has
    become another's meanwhile; a job that is forgotten is found no more, whichever gateway writes it.

    Reading raises StoreError, writing errors.ledger_unavailable().
    """

    async def begin(self, job: StoredJob) -> None:
        """Return once the job is there, as this gateway's."""
        ...

    async def join(self, resend: Resend, choose: Choose, job: StoredJob | None = None) -> KnownJob | None:
        """The job that ``choose`` takes for a re-send, which waits for it from now on. If it takes none, ``job`` has
        begun, if one is given. No two gateways decide of equal re-sends, or of one Idempotency-Key, at the same time.
        """
        ...

    async def admit(self, job: StoredJob) -> bool:
        """Return once the job is there as it is, before anything is bought for it or its next part; False if it is no
        longer this gateway's: then nothing may be.
        """
        ...

    async def leave(self, id: str, waiter: str, *, answered: bool) -> None:
        """A re-send waits no longer. ``answered``: it had the answer."""
        ...

    async def tell(self, id: str) -> None:
        """Its client was told that its outcome is not known."""
        ...

    async def known(self, ids: Collection[str]) -> Sequence[KnownJob]:
        """Those of these ids, forgotten ones too."""
        ...

    async def found(self, key: str, id: str) -> KnownJob | None:
        """The key's job of that id."""
        ...

    async def ask_to_cancel(self, key: str, id: str) -> None:
        """Whose it is is to cancel it, or to forget it if something was sent for it."""
        ...

    async def to_cancel(self) -> Sequence[str]:
        """The ids of this gateway's jobs that others were asked to cancel; each is told once."""
        ...

    async def wait_for_room(self, ids: Collection[str]) -> None:
        """Of this gateway's jobs, nothing was sent for these yet, though they run."""
        ...

    async def take_over(self, dead: str) -> Sequence[Unfinished]:
        """Those of a dead gateway that are under way are this one's from now on."""
        ...

    async def take_orphans(self) -> Sequence[Unfinished]:
        """Those that are under way and of no gateway that is there are this one's from now on."""
        ...

    async def reclaim(self, id: str) -> bool:
        """A job of unknown outcome runs again, as this gateway's; False if it is no longer unknown."""
        ...

    async def hand_over(self) -> None:
        """What is under way is no longer this gateway's, which ends."""
        ...

    async def charge(self, exchange: str, cost: str) -> None:
        """A job that was bought under this exchange turned out to cost so much, in US dollars."""
        ...


class SharedResponseRecords(ResponseRecords, Protocol):
    """Responses that several gateways have before them. Errors as above."""

    async def wish(self, key: str, id: str, wish: ResponseWish) -> None:
        """The gateway that makes the key's response is to do so; one that is to be forgotten is kept no more."""
        ...

    async def wishes(self, ids: Collection[str]) -> Mapping[str, ResponseWish]:
        """What is wished of these responses."""
        ...


class SharedDeliveryRecords(DeliveryRecords, Protocol):
    """Messages that one of several gateways sends: what ``to_send`` returns is this one's for a while. Errors as
    above.
    """

    async def awaited(self, job: str) -> bool:
        """Whether any webhook waits for the end of the job."""
        ...

    async def overdue(self) -> Sequence[Delivery]:
        """Those that wait for a job that has ended, or is gone."""
        ...


class Leases(Protocol):
    """Work that one gateway does for all."""

    async def hold(self, name: str, seconds: float) -> bool:
        """Whether it is this gateway's for so long from now on. False if it is another's, or the store is gone."""
        ...


class ImageFolders(Protocol):
    """The gateways that keep files in one folder. Raises StoreError."""

    async def enter(self, found: Callable[[Collection[str]], bool]) -> Collection[str]:
        """This gateway uses its folder from now on, if ``found`` says so of the ids of those that live and do so, while
        no other enters. Returns these if it does not.
        """
        ...

    async def leave(self) -> None:
        """It uses it no more."""
        ...


@dataclass(frozen=True, slots=True)
class FleetRecords:
    """All of it, of one gateway."""

    gateway: str
    jobs: SharedJobRecords
    responses: SharedResponseRecords
    deliveries: SharedDeliveryRecords
    leases: Leases
    folders: ImageFolders
