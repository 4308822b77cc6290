"""What every store of the books offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from gateway.core.errors import OperatorError
from gateway.core.types import Confidence
from gateway.core.types import CostReason as CostReason
from gateway.core.types import State as State


@dataclass(slots=True)
class Intent:
    """Written and committed before an upstream is called. ``id`` is the exchange's; ``reserved`` is nano-dollars.

    ``at_ns``: Unix time in nanoseconds. ``paid``: images and tasks; their intent is synced to disk (FULL).
    ``pieces``: how many are bought each by itself.
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
    pieces: int = 1


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


@dataclass(frozen=True, slots=True)
class Correction:
    """What became of an exchange whose outcome was unknown. One per exchange; the first one counts.

    ``charged``, ``upstream_cost``: nano-dollars; they and ``images`` take the place of the settlement's.
    ``upstream``, ``credential``: who was found to have done the work; None leaves it to what the settlement says.
    ``reason``: words for the operator, such as ``task completed``.
    """

    id: str
    at_ns: int
    state: Literal["settled", "released"]
    charged: int
    upstream_cost: int
    images: int
    reason: str
    upstream: str | None = None
    credential: str | None = None


@dataclass(frozen=True, slots=True)
class UnknownExchange:
    """An exchange of unknown outcome that nobody has corrected yet. ``at_ns``: when it came in.

    ``reserved``: nano-dollars. ``tasks``: those that were created for it and can be asked for; in order of creation.
    ``other_cost``: nano-dollars that its attempts without a task are booked at upstream, for whatever reason.
    ``untold``: pieces that may have been bought without leaving a task, as the process was killed meanwhile.
    """

    id: str
    at_ns: int
    key: str
    team: str | None
    model: str
    reserved: int
    tasks: tuple[TaskRecord, ...]
    other_cost: int = 0
    untold: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """An exchange that holds ``reserved`` nano-dollars of its key's and team's budgets. ``at_ns``: when it came in."""

    id: str
    at_ns: int
    key: str
    team: str | None
    reserved: int


class NotUnknown(OperatorError):
    """Only an exchange of unknown outcome can be corrected, and this one is not there or has another state."""


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

    async def correct(self, correction: Correction) -> bool:
        """Write down what became of an exchange of unknown outcome; False if that was known already.

        Raise NotUnknown if it has another state, errors.ledger_unavailable() if it cannot be written.
        """
        ...

    async def unknown_exchanges(self, since_ns: int) -> list[UnknownExchange]:
        """The exchanges that came in at ``since_ns`` or later, are of unknown outcome and not corrected; oldest first.

        Raise errors.ledger_unavailable() if the books cannot be read.
        """
        ...

    async def held(self, now_ns: int) -> list[Held]:
        """The exchanges that are open, or unknown and not corrected, and came in less than a day ago; oldest first.

        Raise errors.ledger_unavailable() if the books cannot be read.
        """
        ...

    async def charged_since(self, start_ns: int) -> Mapping[tuple[str, str | None], int]:
        """Nano-dollars charged for what came in at ``start_ns`` or later, by key and team; those of 0 may be missing.

        Raise errors.ledger_unavailable() if the books cannot be read.
        """
        ...

    def usable(self) -> bool:
        """Whether intents are being committed at present (for /readyz)."""
        ...

    async def close(self) -> None:
        """Commit what is pending and let go of the store."""
        ...
