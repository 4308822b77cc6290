"""What every store of the books offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gateway.core.types import Confidence
from gateway.core.types import CostReason as CostReason
from gateway.core.types import State as State


@dataclass(slots=True)
class Intent:
    """Written and committed before an upstream is called. ``id`` is the exchange's; ``reserved`` is nano-dollars.

    ``at_ns``: Unix time in nanoseconds. ``paid``: pictures and tasks; their intent is synced to disk (FULL).
    """

    id: str
    at_ns: int
    key: str
    team: str | None
    route: str
    model: str
    request_id: str
    reserved: int = 0
    paid: bool = False


@dataclass(slots=True)
class AttemptRecord:
    """One attempt as the books keep it. ``cost``: nano-dollars owed upstream for it, for ``reason``.

    ``task_id``: the upstream's id of the paid task it created, if it created one.
    """

    upstream: str
    endpoint: str
    credential: str
    outcome: str
    phase: int
    cost: int = 0
    reason: CostReason = "billed"
    task_id: str | None = None


@dataclass(slots=True)
class TaskRecord:
    """A paid task that exists upstream. Written and committed before it is asked about for the first time.

    ``upstream`` and ``credential``: where it was made, and the name of the upstream's key that made it, the only one
    that can read it. ``exchange``: the id of the intent it was bought under. ``key``: the virtual key whose task it is.
    ``model``: as requested. ``at_ns``: Unix time in nanoseconds.
    """

    task_id: str
    upstream: str
    credential: str
    exchange: str
    key: str
    model: str
    at_ns: int


@dataclass(slots=True)
class Settlement:
    """How an exchange ended. One per intent; a second one with the same id changes nothing.

    ``charged``: nano-dollars the key pays. ``status``: the HTTP status the client was (or would have been) given.
    """

    id: str
    at_ns: int
    state: State
    upstream: str | None
    endpoint: str | None
    credential: str | None
    attempts: tuple[AttemptRecord, ...]
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    images: int
    charged: int
    upstream_cost: int
    confidence: Confidence
    status: int
    task_id: str | None = None


class Ledger(Protocol):
    """Append-only books. Writing is group-committed by one writer."""

    @property
    def pending(self) -> int:
        """Rows handed over and not yet committed."""
        ...

    async def reserve(self, intent: Intent) -> None:
        """Return once the intent is committed. Raise errors.ledger_unavailable() if it cannot be."""
        ...

    def settle(self, settlement: Settlement) -> None:
        """Hand over a settlement; never blocks, never raises, committed with the next batch."""
        ...

    async def record_task(self, record: TaskRecord) -> None:
        """Return once the record is on the disk. Raise errors.ledger_unavailable() if it cannot be.

        A task that is known already stays whose it was.
        """
        ...

    async def find_task(self, task_id: str) -> TaskRecord | None:
        """The task of that id, the newest if several upstreams have one; sees every record that was acknowledged.

        Raise errors.ledger_unavailable() if the books cannot be read.
        """
        ...

    def usable(self) -> bool:
        """Whether intents are being committed at present (for /readyz)."""
        ...

    async def close(self) -> None:
        """Commit what is pending and let go of the store."""
        ...
