"""What webhooks are told of jobs, as stores keep it, and what every engine does with it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

DeliveryState = Literal["waiting", "pending", "told", "failed"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one webhook about one job. Times are Unix nanoseconds.

    ``id``: the ``webhook-id``. ``webhook``: its name in the configuration. ``key``: the virtual key whose job it is.
    ``at_ns``: when it was asked for. ``state``: ``waiting`` until the job ends, ``pending`` until it was delivered.
    ``type``, ``body``: the message; empty while it waits. ``next_ns``: when it is to be tried next.
    ``status``, ``reason``: of the last try; 0 without an answer, empty without a fault.
    """

    id: str
    webhook: str
    job: str
    key: str
    at_ns: int
    state: DeliveryState = "waiting"
    type: str = ""
    body: bytes = b""
    tries: int = 0
    next_ns: int = 0
    status: int = 0
    reason: str = ""


class DeliveryRecords(Protocol):
    """Messages about jobs, each kept before the job begins and for a while after it was delivered.

    Reading raises StoreError, writing errors.ledger_unavailable().
    """

    async def expect(self, delivery: Delivery) -> None:
        """Return once it is durable that a webhook waits for the end of a job; a second time changes nothing."""
        ...

    async def post(self, job: str, type: str, body: bytes, now_ns: int) -> int:
        """The job has ended: who waits for that is to be told from now on. Return how many, once it is durable."""
        ...

    async def to_send(self, limit: int, but: Collection[str], without: Collection[str]) -> Sequence[Delivery]:
        """At most ``limit`` of those that are pending, the next due first. ``but``: ids, and ``without``: webhooks,
        that are left out.
        """
        ...

    async def tried(self, delivery: Delivery, now_ns: int) -> None:
        """Return once it is durable what a try came to: the delivery as it is since."""
        ...

    async def waiting(self) -> Sequence[Delivery]:
        """Those whose job has not ended, as far as is known here."""
        ...

    async def page(
        self, limit: int, after: str = "", *, webhook: str = "", state: str = "", job: str = ""
    ) -> Sequence[Delivery]:
        """At most ``limit``, the newest first, behind the one whose id is ``after``; of one webhook, in one state, of
        one job if these are given. A delivery that is not there has none behind it.
        """
        ...

    async def sweep(self, over_ns: int, asked_ns: int, most: int) -> int:
        """Remove what is over since before ``over_ns`` or beyond the newest ``most``, and all that was asked for before
        ``asked_ns``. Return how many.
        """
        ...
