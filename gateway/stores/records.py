"""What stores keep and tell, as values: the ledger's rows, sums of usage, snapshots of balances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gateway.core.errors import OperatorError, StoreError
from gateway.core.exchange_record import AttemptRecord as AttemptRecord
from gateway.core.exchange_record import BookedPrice as BookedPrice
from gateway.core.exchange_record import ExchangeRecord as ExchangeRecord
from gateway.core.types import Budget, Confidence
from gateway.core.types import CostReason as CostReason
from gateway.core.types import State as State

HOUR_NS = 3600 * 1_000_000_000


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


@dataclass(frozen=True, slots=True)
class Correction:
    """What became of an exchange whose outcome was unknown. One per exchange; the first one counts.

    ``charged``, ``upstream_cost``: nano-dollars; they and ``images`` take the place of the settlement's.
    ``upstream``, ``credential``: who was found to have done the work; None leaves it to what the settlement says.
    ``reason``: words for the operator, such as ``task completed``.
    ``confidence``: of ``charged``; ``unknown`` if it was done at no known price. ``price``: what it was booked at; None
    leaves it to what the settlement says.
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
    confidence: Confidence = "measured"
    price: BookedPrice | None = None


@dataclass(frozen=True, slots=True)
class UnknownExchange:
    """An exchange of unknown outcome that has no correction yet. ``at_ns``: when it came in.

    ``reserved``: nano-dollars. ``tasks``: those that were created for it and can be asked for; in order of creation.
    ``other_cost``: nano-dollars that its attempts without a task are booked at upstream, for any reason.
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
    """An exchange that holds ``reserved`` nano-dollars of its key's and team's budgets. ``at_ns``: when it came in.

    ``model``: as requested. ``running``: whether it has not ended, as far as the books know; else it has, and nobody
    knows how. ``route``, ``request_id``: of the client's request. ``cut``: whether it was cut short by the end of a
    process, so that nothing more is known of it. ``task_ids``: of the tasks it bought.
    """

    id: str
    at_ns: int
    key: str
    team: str | None
    reserved: int
    model: str = ""
    running: bool = False
    route: str = ""
    request_id: str = ""
    cut: bool = False
    task_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An operator's act, as the audit log keeps it for good. ``at_ns``: Unix time in nanoseconds.

    ``who``: as far as that is known, ``admin key`` or ``local user root``. ``act``: ``key.rotate``, ``hold.release``.
    ``subject``: the key's name, the exchange's id. ``reason``: in the words of who did it; may be empty.
    ``details``: what JSON can write, never a secret.
    """

    at_ns: int
    who: str
    act: str
    subject: str
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


AlertState = Literal["pending", "told", "failed"]


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """An alert of a budget. ``id``: the webhook-id. ``at_ns``: when it was raised, Unix nanoseconds.

    ``cause``: ``80`` for a percentage that was reached, or the reason of a refusal. ``body``: what is sent; empty where
    only the log was to be told.
    """

    id: str
    at_ns: int
    holder: tuple[str, ...]
    cause: str
    budget: Budget
    period_start_ns: int
    body: bytes
    state: AlertState = "pending"


@dataclass(frozen=True, slots=True)
class KnownAlerts:
    """The alerts of a store. ``told_before``: it served before alerts were kept, so that others were told as well."""

    alerts: tuple[StoredAlert, ...] = ()
    told_before: bool = False


class NotUnknown(OperatorError):
    """Only an exchange of unknown outcome can be corrected, and this one is not there or has another state."""


@dataclass(frozen=True, slots=True)
class PriceUse:
    """How often a price was booked. ``since_ns``: when it first was, by any request, Unix nanoseconds.

    ``unpriced``: those of the ``requests`` that it could not price, not at all or not wholly.
    """

    booked: BookedPrice
    since_ns: int
    requests: int
    unpriced: int = 0


@dataclass(frozen=True, slots=True)
class UsageRow:
    """``group``: the fields asked for, in their order; None where there is none (no team, no upstream settled it).

    ``cost_nano``: nano-dollars the keys are charged. ``input_tokens`` includes ``cached_input_tokens``.
    ``unpriced_…``: the part that was done at a price that is not known, and so is not (or not wholly) in the cost.
    ``estimated_…``: the part whose charge is an estimate. ``unknown_requests``: those of which it is not known whether
    anything was done; they cost nothing so far.
    ``prices``: what they were booked at, the most used first; what earlier versions booked is not in it.
    """

    group: Mapping[str, str | None]
    requests: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    images: int
    cost_nano: int
    unpriced_requests: int = 0
    unpriced_input_tokens: int = 0
    unpriced_output_tokens: int = 0
    unpriced_images: int = 0
    estimated_requests: int = 0
    estimated_cost_nano: int = 0
    unknown_requests: int = 0
    prices: tuple[PriceUse, ...] = ()


@dataclass(frozen=True, slots=True)
class Verification:
    """How many exchanges ended how, corrections applied. ``open``: intents not settled yet.

    ``problems``: one sentence each. ``pruned``: exchanges, counted nowhere else, of which only the sums are kept.
    ``corrected``: exchanges whose outcome was unknown at first, counted by what it turned out to be.
    """

    settled: int
    released: int
    unknown: int
    open: int
    problems: list[str]
    pruned: int = 0
    corrected: int = 0


@dataclass(frozen=True, slots=True)
class Balance:
    """What an upstream said was left on the account of one of its keys.

    ``at_ns``: Unix time in nanoseconds. ``nano``: nano-dollars, below 0 for a debt.
    """

    upstream: str
    credential: str
    at_ns: int
    nano: int


@dataclass(frozen=True, slots=True)
class BalancePeriod:
    """Two snapshots that follow one another.

    ``owed``: nano-dollars of upstream cost that the ledger has for what came in from the first moment until before the
    last one, at that upstream, with that key; None where its rows were pruned.
    """

    first: Balance
    last: Balance
    owed: int | None

    @property
    def drawn(self) -> int:
        """Nano-dollars the account went down by; below 0 if it was topped up."""
        return self.first.nano - self.last.nano

    @property
    def difference(self) -> int | None:
        """Nano-dollars the upstream took beyond what the ledger knows of."""
        return None if self.owed is None else self.drawn - self.owed


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many exchanges left. ``before_ns``: only sums are left of what came in earlier, Unix nanoseconds."""

    before_ns: int
    settled: int = 0
    released: int = 0


class StoreInUse(StoreError):
    """Another process holds the lock. ``holder``: its id, as text."""

    def __init__(self, store: str | Path, holder: str) -> None:
        super().__init__(
            f"{store} is being written by process {holder}. Stop that gateway, or give this one a 'store' of its own."
        )
        self.holder = holder


def prunable_before(before_ns: int, now_ns: int) -> int:
    """The full hour of UTC up to which ``before_ns`` allows to prune; never in the future."""
    moment = max(0, min(before_ns, now_ns))
    return moment - moment % HOUR_NS


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made, or looked at.

    ``made_at``: RFC 3339, UTC. ``files``: name → bytes. ``books``: what the copy's books hold.
    """

    folder: Path
    made_at: str
    files: dict[str, int]
    books: Verification
